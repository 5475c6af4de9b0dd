defmodule K8sConnect.JSONTest do
  use ExUnit.Case, async: true

  defp encode(term), do: term |> K8sConnect.JSON.encode() |> IO.iodata_to_binary()

  test "plain data" do
    for {term, text} <- [
          {nil, "null"},
          {true, "true"},
          {:ok, ~s("ok")},
          {-12, "-12"},
          {1.5, "1.5"},
          {1.0e30, "1.0e30"},
          {[], "[]"},
          {%{}, "{}"},
          {[1, [2, "x"]], ~s([1,[2,"x"]])},
          {%{"b" => nil, a: %{c: []}}, ~s({"a":{"c":[]},"b":null})},
          {:"app@10.0.0.1", ~s("app@10.0.0.1")}
        ],
        do: assert(encode(term) == text)
  end

  test "strings" do
    assert encode(~s(a"b\\c\n)) == ~S("a\"b\\c\n")
    assert encode("\e[0m\0\t") == ~S("\u001B[0m\u0000\u0009")
    assert encode("bücher 🙂 \u2028") == ~s("bücher 🙂 \u2028")
    assert encode(<<"a", 0xFF, "b", 0xC3>>) == ~s("a\uFFFDb\uFFFD")
  end

  test "no control character is left as it is, not those of one byte in Latin-1 either" do
    text = for code <- Enum.concat([0..0x1F, 0x7F..0x9F]), into: "", do: <<code::utf8>>
    encoded = encode(text)
    assert encoded =~ ~r/\A[\x20-\x7e]*\z/
    assert encoded =~ "\\u009B" and encoded =~ "\\u001B"
  end
end
