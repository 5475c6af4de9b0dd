defmodule Mix.K8sConnect.Observer.KeysTest do
  use ExUnit.Case, async: true

  import Mix.K8sConnect.Observer.Keys

  test "keys, and sequences of several bytes" do
    assert parse("rq") == {[{:char, ?r}, {:char, ?q}], ""}
    assert parse("\e[A\eOB\e[5~\e[6~") == {[:up, :down, :page_up, :page_down], ""}
    assert parse("\e[H\e[4~") == {[:home, :end], ""}
    assert parse("\r\n\x7F\x03") == {[:enter, :enter, :escape, :interrupt], ""}
  end

  test "the beginning of a sequence waits for its end, and is Escape without one" do
    assert parse("\e") == {[], "\e"}
    assert parse("m\e[") == {[{:char, ?m}], "\e["}
    assert parse("\e[5") == {[], "\e[5"}
    assert parse("\e" <> "[B") == {[:down], ""}
    assert pending("\e") == [:escape]
    assert pending("\e[") == [:escape]
  end

  test "what no key means is left out" do
    assert parse("\e[1;5Cx") == {[{:char, ?x}], ""}
    assert parse(<<0, 200, ?r>>) == {[{:char, ?r}], ""}
    assert parse("\e\er") == {[:escape, :escape, {:char, ?r}], ""}
  end
end
