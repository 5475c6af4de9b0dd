defmodule K8sConnect.TracePatternTest do
  use ExUnit.Case, async: true

  alias K8sConnect.Trace.Pattern

  for {text, parsed} <- [
        {"MyApp.Cart.add/2", {"Elixir.MyApp.Cart", "add", 2}},
        {"Elixir.MyApp.Cart.add/2", {"Elixir.MyApp.Cart", "add", 2}},
        {"MyApp.Cart.add/_", {"Elixir.MyApp.Cart", "add", :any}},
        {"MyApp.Cart.add", {"Elixir.MyApp.Cart", "add", :any}},
        {"MyApp.Cart", {"Elixir.MyApp.Cart", :any, :any}},
        {"MyApp.Cart.*", {"Elixir.MyApp.Cart", :any, :any}},
        {"MyApp.Cart._/2", {"Elixir.MyApp.Cart", :any, 2}},
        {"MyApp.empty?/1", {"Elixir.MyApp", "empty?", 1}},
        {"Kernel.+/2", {"Elixir.Kernel", "+", 2}},
        {":lists.map/2", {"lists", "map", 2}},
        {"lists:map/2", {"lists", "map", 2}},
        {":lists", {"lists", :any, :any}},
        {"lists", {"lists", :any, :any}},
        {"lists:-map/2-lc$^0/1-0-/2", {"lists", "-map/2-lc$^0/1-0-", 2}},
        {"", nil},
        {"/2", nil},
        {"9", nil},
        {"lists:map/256", nil},
        {"two words", nil},
        {"lists:", nil}
      ] do
    test "pattern #{inspect(text)}" do
      assert Pattern.parse(unquote(text)) == unquote(Macro.escape(parsed))
    end
  end

  test "patterns as terms" do
    assert Pattern.parse({:lists, :map, 2}) == {"lists", "map", 2}
    assert Pattern.parse({Enum, :_, :_}) == {"Elixir.Enum", :any, :any}
    assert Pattern.parse(Enum) == {"Elixir.Enum", :any, :any}
    assert Pattern.parse(nil) == nil
    assert Pattern.parse({:lists, :map, 256}) == nil
  end

  test "processes" do
    assert Pattern.process("<0.12.0>") == {:pid, ~c"<0.12.0>"}
    assert Pattern.process("0.12.0") == {:pid, ~c"<0.12.0>"}
    assert Pattern.process("MyApp.Server") == {:name, "Elixir.MyApp.Server"}
    assert Pattern.process("Elixir.MyApp.Server") == {:name, "Elixir.MyApp.Server"}
    assert Pattern.process(":kernel_sup") == {:name, "kernel_sup"}
  end

  test "names as Elixir writes them" do
    assert Pattern.format("Elixir.MyApp.Cart", "add") == "MyApp.Cart.add"
    assert Pattern.format("lists", "map") == ":lists.map"
    assert Pattern.format("lists", "-map/2-lc") == ~s(:lists."-map/2-lc")
  end
end
