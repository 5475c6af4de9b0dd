defmodule Mix.K8sConnect.RpcTest do
  # In this VM, which is a node like another.
  use ExUnit.Case, async: true

  import ExUnit.CaptureIO

  alias K8sConnect.Error
  alias Mix.K8sConnect.Rpc

  defp evaluate(expressions, options \\ []) do
    expressions = for text <- List.wrap(expressions), do: {"--rpc", text}
    rpc = %{expressions: expressions, erlang: false, timeout: :infinity, quiet: false}
    rpc = Map.merge(rpc, Map.new(options))
    {result, events} = Rpc.evaluate(rpc, node(), [], &[&1 | &2])
    results = for {:result, text} <- Enum.reverse(events), do: text
    if result == :ok, do: results, else: {result, results}
  end

  defp failed(expressions, options \\ []) do
    {{:error, error}, results} = evaluate(expressions, options)
    {Error.message(error, :cli), results}
  end

  test "expressions share variables, imports and aliases" do
    assert evaluate(["x = 1", "import Enum, only: [map: 2]", "alias String, as: S"]) |> length() ==
             3

    assert ["1", _module, _alias, "[2, 3]", ~s("A")] =
             evaluate(
               ["x = 1", "import Enum, only: [map: 2]", "alias String, as: S"] ++
                 ["map([x, 2], &(&1 + 1))", ~s|S.upcase("a")|]
             )
  end

  test "the first that fails is the last, and the results before it stay" do
    assert {message, ["1"]} = failed(["1", ~s|raise("boom")|, "2"])
    assert message =~ "could not evaluate the expression on #{node()}: ** (RuntimeError) boom"
    refute message =~ "gen_server"

    assert {message, ["1"]} = failed(["1", "throw(:boom)"])
    assert message =~ "** (throw) :boom"
    assert {message, []} = failed("exit(:boom)")
    assert message =~ "** (exit) :boom"
    assert {message, []} = failed("Process.exit(self(), :kill)")
    assert message =~ "** (exit) :killed"
    assert {message, []} = failed("spawn_link(fn -> exit(:linked) end); Process.sleep(:infinity)")
    assert message =~ "** (exit) :linked"
  end

  test "a syntax error has its file and line" do
    expressions = [{"a.exs", "1\n\n2 +"}]
    assert {message, []} = failed([], expressions: expressions)
    assert message =~ ~r/\(TokenMissingError\).* a\.exs:3:/s

    expressions = [{"a.erl", "1,\n2 +"}]
    assert {message, []} = failed([], expressions: expressions, erlang: true)
    assert message =~ "a.erl:2: syntax error before: "
    assert {message, []} = failed([], expressions: [{"b.erl", "\n\"open"}], erlang: true)
    assert message =~ "b.erl:2: unterminated string"
  end

  test "what the compiler says is part of the error" do
    expressions = [{"a.exs", "x = 1\nno_such_variable + x"}]

    # Before Elixir 1.15 it also warns there.
    capture_io(:stderr, fn ->
      assert {message, []} = failed([], expressions: expressions)
      assert message =~ "no_such_variable"
      assert message =~ "a.exs:2"
    end)
  end

  test "what an expression prints is printed here, and nothing can be read where the input has ended" do
    assert capture_io("", fn ->
             assert evaluate(~s|IO.puts("printed"); IO.gets("")|) == [":eof"]
           end) == "printed\n"
  end

  test "Erlang" do
    expressions = [
      "X = 1",
      "X + 1.",
      "Y = 2. %% comment\n Z = Y + X.",
      "Z",
      "\"\\x{fc}\"",
      "self() ! a, receive A -> A end"
    ]

    assert evaluate(expressions, erlang: true) == ["1", "2", "3", "3", ~s("ü"), "a"]

    assert {message, ["1"]} = failed(["1", "erlang:error(boom)"], erlang: true)
    assert message =~ "** exception error: boom"
    refute message =~ "has no Elixir"
    assert {message, []} = failed("throw({x, y})", erlang: true)
    assert message =~ "** exception throw: {x,y}"
    assert {message, []} = failed("%% nothing", erlang: true)
    assert message =~ "--rpc:1: syntax error"
  end

  test "a value that is too large is not printed" do
    assert {message, ["1"]} = failed(["1", "list = Enum.to_list(1..500_000)", "2"])
    assert message =~ ~r/could not print the result .* it has \d+ bytes, and the limit is 1048576/
    assert {message, []} = failed("lists:seq(1, 500000)", erlang: true)
    assert message =~ "could not print the result"
    assert {message, []} = failed("Enum.reduce(1..6_000, [], fn _, list -> [list] end)")
    assert message =~ "could not print the result"
    assert [shown] = evaluate("Enum.to_list(1..20_000)")
    assert shown =~ ~r/\A\[1, 2, .* 20000\]\z/s
    assert {message, []} = failed(~s|raise String.duplicate("ü", 2_000_000)|)
    assert byte_size(message) < 3_000_000
  end

  defp name, do: :"rpc_test_#{System.unique_integer([:positive])}"

  defp await_end(pid) do
    monitor = Process.monitor(pid)
    assert_receive {:DOWN, ^monitor, :process, ^pid, _reason}, 5_000
  end

  test "after the timeout the process has ended, whatever it traps" do
    code =
      "Process.flag(:trap_exit, true); send(:RPC_TEST, {:pid, self()}); Process.sleep(:infinity)"

    name = name()
    Process.register(self(), name)
    code = String.replace(code, "RPC_TEST", Atom.to_string(name))
    assert {message, ["1"]} = failed(["1", code, "2"], timeout: 300)
    assert message =~ "timed out after 300 ms evaluating the expression on #{node()}"
    assert message =~ "--rpc-timeout"
    assert_receive {:pid, pid}
    refute Process.alive?(pid)
  end

  test "the timeout is for each expression" do
    sleep = "Process.sleep(200)"
    assert evaluate(List.duplicate(sleep, 3), timeout: 500) == [":ok", ":ok", ":ok"]
  end

  test "the process ends with the one that evaluates, whatever it traps" do
    name = name()
    Process.register(self(), name)

    code =
      "Process.flag(:trap_exit, true); send(#{inspect(name)}, {:pid, self()}); Process.sleep(:infinity)"

    caller = spawn(fn -> evaluate(code) end)
    assert_receive {:pid, pid}, 5_000
    Process.exit(caller, :kill)
    await_end(pid)
  end

  test "the process ends after the last expression" do
    assert [shown] = evaluate("self() |> :erlang.pid_to_list()")
    {charlist, []} = Code.eval_string(shown)
    await_end(:erlang.list_to_pid(charlist))
  end

  test "a node that is lost" do
    rpc = %{expressions: [{"--rpc", "1"}], erlang: false, timeout: :infinity, quiet: false}
    assert {{:error, error}, []} = Rpc.evaluate(rpc, :nobody@nowhere, [], &[&1 | &2])
    assert {:lost, %{node: :nobody@nowhere}} = error.reason
    erlang = %{rpc | erlang: true}
    assert {{:error, error}, []} = Rpc.evaluate(erlang, :nobody@nowhere, [], &[&1 | &2])
    assert {:lost, %{node: :nobody@nowhere}} = error.reason
  end

  test "escape sequences are removed from what a node sends" do
    assert {message, []} = failed(~S|raise "a\e]0;title\ab"|)
    assert message =~ "(RuntimeError) ab"
  end
end
