defmodule K8sConnect.TraceErrorTest do
  # What is told of a trace that does not begin, and of an answer that no tracer sends.
  # Not async: this VM becomes a node.
  use ExUnit.Case, async: false

  import K8sConnect.TracedNode

  alias K8sConnect.{Error, Trace}

  setup_all :start_node

  test "what cannot be traced", %{node: node} do
    reason = fn patterns, options ->
      assert {:error, %Error{stage: :remote, reason: {kind, details}}} =
               Trace.calls(node, patterns, options)

      assert details.node == node
      {kind, Map.delete(details, :node)}
    end

    assert reason.("NoSuch.fun/1", []) == {:no_such_module, %{module: "NoSuch"}}
    assert reason.("no_such", []) == {:no_such_module, %{module: ":no_such"}}
    assert reason.("zip:foldl/3", []) == {:module_not_loaded, %{module: ":zip"}}
    assert {:no_such_function, details} = reason.("lists:mapp/2", [])
    assert %{function: ":lists.mapp/2", module: ":lists", private: false} = details
    assert "map/2" in details.available
    assert {:no_such_function, %{function: ":lists.map/7"}} = reason.("lists:map/7", [])
    assert reason.(["lists:map/2"], process: "no_such") == {:no_such_process, %{}}
    assert reason.("lists:map/2", process: "<0.999999.0>") == {:no_such_process, %{}}

    modules = [
      :lists,
      :erlang,
      :maps,
      :file,
      :inet,
      :gen_server,
      :erl_parse,
      :erl_scan,
      :code,
      :io_lib,
      :string,
      :unicode_util
    ]

    for module <- modules, do: :erpc.call(node, :code, :ensure_loaded, [module])
    assert {:too_many_functions, %{count: count, max: 1000}} = reason.(modules, local: true)
    assert count > 1000
    assert clean?(node)
  end

  test "a node that answers something else" do
    assert {:error, %Error{reason: {:not_traced, _details}}} =
             K8sConnect.Trace.Event.error(:boo, :a@b, %{})

    assert K8sConnect.Trace.Event.parse(%{event: :call, pid: "x"}) == nil
    assert K8sConnect.Trace.Event.parse(:boo) == nil

    hostile = "\e[2Jx\e]0;y\a\n" <> <<255>> <> String.duplicate("z", 5000)

    event = %{
      event: :return,
      pid: hostile,
      module: hostile,
      function: hostile,
      arity: 1,
      at: 0,
      took: 1,
      result: hostile
    }

    line = event |> K8sConnect.Trace.Event.parse() |> Trace.format()
    refute line =~ ~r/[\e\a\n]/
    assert String.valid?(line)
    assert byte_size(line) < 6000
  end

  test "nothing that the node sends is called, and no code of it is suggested" do
    alias K8sConnect.Trace.Event

    test = self()
    stream = Stream.map([1], fn _element -> send(test, :called) end)
    event = %{event: :call, pid: "<0.1.0>", module: "m", function: "f", arity: 1, at: 0}
    assert %{arguments: ["1"]} = Event.parse(Map.put(event, :arguments, ["1"]))

    for changed <- [
          Map.put(event, :arguments, stream),
          Map.put(event, :name, stream),
          Map.merge(event, %{arguments: [], __struct__: Date}),
          Map.merge(event, %{arguments: [], arity: Bitwise.bsl(1, 1_000_000)})
        ],
        do: assert(Event.parse(changed) == nil)

    details = %{module: "lists", function: "f", arity: 1, private: false, others: stream}

    for {kind, details} <- [
          no_such_function: details,
          module_not_loaded: %{module: "Elixir.X]); :os.cmd(~c\"id\"); (["},
          no_such_module: %{module: "a b"}
        ] do
      assert {:error, %Error{reason: {:not_traced, _problem}} = error} =
               Event.error(kind, :a@b, details)

      assert Error.message(error, :cli) =~ "could not trace"
    end

    refute_received :called
  end

  test "a node that cannot be reached" do
    assert {:error, %Error{stage: :connect, reason: {:lost, _details}}} =
             Trace.calls(:"none@127.0.0.1", :lists)
  end

  test "invalid patterns and options" do
    for {pattern, options, problem} <- [
          {"", [], "invalid pattern"},
          {"lists:map/256", [], "invalid pattern"},
          {[], [], "missing argument PATTERN"},
          {:lists, [limit: 0], "limit"},
          {:lists, [time: 3_600_001], "time"},
          {:lists, [frob: 1], "unknown option :frob"},
          {:lists, [local: 1], "local"}
        ] do
      assert_raise ArgumentError, ~r/#{problem}/, fn -> Trace.calls(:a@b, pattern, options) end
    end
  end
end
