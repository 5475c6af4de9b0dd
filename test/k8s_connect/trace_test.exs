defmodule K8sConnect.TraceTest do
  # Not async: this VM becomes a node.
  use ExUnit.Case, async: false

  import K8sConnect.Laptop, only: [await: 1]
  import K8sConnect.TracedNode

  alias K8sConnect.{Error, Trace}
  alias K8sConnect.Trace.Relay

  setup_all :start_node

  # Calls that go on until the trace has stopped.
  defp calling(node, {module, function, arguments}, pause \\ 1) do
    code =
      "Loop = fun Loop() -> #{module}:#{function}(#{arguments}), timer:sleep(#{pause}), Loop() end, Loop()."

    evaluate(node, code)
  end

  # Traces in a process of its own.
  defp trace(node, patterns, options) do
    test = self()

    pid =
      spawn(fn -> send(test, {:result, Trace.each(node, patterns, options, &send(test, &1))}) end)

    on_exit(fn -> Process.exit(pid, :kill) end)
    pid
  end

  # With another limit of the tracer than the second that users wait after the last call.
  defp trace_briefly(node, patterns, options) do
    {:ok, options} = Trace.check(patterns, options)
    Relay.run(node, Map.put(options, :grace, 200), &send(self(), &1))
  end

  # A trace that has begun, and goes on.
  defp running_trace(node) do
    calling(node, {:lists, :seq, "1, 3"}, 100)
    pid = trace(node, "lists:seq/2", time: 60_000)
    assert_receive %{event: :call}, 10_000
    refute clean?(node)
    pid
  end

  defp guardian(node), do: Enum.find(running(node), &(elem(&1, 1) == :guardian))
  defp tracer(node), do: Enum.find(running(node), &(elem(&1, 1) == :tracer))

  test "stops at the limit, with the calls and their results in order", %{node: node} do
    calling(node, {:lists, :seq, "1, 3"})
    assert {:ok, trace} = Trace.calls(node, "lists:seq/2", limit: 5, time: 20_000)
    assert %{stopped: :limit, calls: 5, functions: 1} = trace
    assert length(trace.events) == 10
    assert Enum.map(trace.events, & &1.event) == List.flatten(List.duplicate([:call, :return], 5))
    assert trace.events == Enum.sort_by(trace.events, & &1.time, DateTime)
    [call, return | _more] = trace.events
    assert %{module: "lists", function: "seq", arity: 2, arguments: ["1", "3"], name: nil} = call
    assert return.result == "[1,2,3]"
    assert Trace.format(call) =~ ~r/\A\d\d:\d\d:\d\d\.\d{6} <0\.\d+\.0> :lists\.seq\(1, 3\)\z/
    assert Trace.format(return) =~ ~r/:lists\.seq\/2 -> \[1,2,3\] \(\d+ µs\)\z/
    await(fn -> clean?(node) end)
  end

  test "stops when the time is over", %{node: node} do
    assert {:ok, %{stopped: :time, calls: 0, events: []}} = Trace.calls(node, :lists, time: 50)
    await(fn -> clean?(node) end)
  end

  test "does not wait for a result that does not come", %{node: node} do
    {:module, :timer} = :erpc.call(node, :code, :ensure_loaded, [:timer])

    evaluate(
      node,
      "F = fun F() -> spawn(fun() -> timer:sleep(60000) end), receive after 1 -> F() end end, F()."
    )

    assert {:ok, trace} = trace_briefly(node, "timer:sleep/1", limit: 1, time: 20_000)
    assert %{stopped: :limit, calls: 1} = trace
    assert_received %{event: :call}
    refute_received %{event: :return}
    await(fn -> clean?(node) end)
  end

  test "exceptions", %{node: node} do
    evaluate(node, "F = fun F() -> (catch lists:nth(0, [])), timer:sleep(1), F() end, F().")
    assert {:ok, trace} = Trace.calls(node, "lists:nth/2", limit: 1, time: 20_000)
    assert [%{event: :call}, %{event: :exception, class: "error", reason: reason}] = trace.events
    assert reason == "function_clause"
    assert Trace.format(List.last(trace.events)) =~ "-> ** (error) function_clause"
  end

  test "without returns and arguments", %{node: node} do
    calling(node, {:lists, :seq, "1, 3"})
    options = [limit: 2, time: 20_000, returns: false, arguments: false]
    assert {:ok, %{events: [call, %{event: :call}]}} = Trace.calls(node, "lists:seq/2", options)
    refute Map.has_key?(call, :arguments)
    assert Trace.format(call) =~ ~r":lists\.seq/2\z"
  end

  test "private functions, and calls within the module", %{node: node} do
    # lists:seq/2 calls seq_loop/3.
    calling(node, {:lists, :seq, "1, 3"})
    assert {:error, error} = Trace.calls(node, "lists:seq_loop/3")
    assert {:no_such_function, %{private: true}} = error.reason
    assert {:ok, trace} = Trace.calls(node, "lists:seq_loop", limit: 1, time: 20_000, local: true)
    assert [%{function: "seq_loop", arity: 3} | _return] = trace.events
    await(fn -> clean?(node) end)
  end

  test "one process, by its name and by its pid", %{node: node} do
    calling(node, {:lists, :seq, "1, 3"})

    named =
      evaluate(
        node,
        "register(counted, self()), F = fun F() -> lists:seq(7, 8), timer:sleep(1), F() end, F()."
      )

    await(fn -> :erpc.call(node, :erlang, :whereis, [:counted]) == named end)
    text = to_string(:erpc.call(node, :erlang, :pid_to_list, [named]))

    for process <- ["counted", ":counted", :counted, text] do
      options = [limit: 3, time: 20_000, process: process, returns: false]
      assert {:ok, trace} = Trace.calls(node, "lists:seq/2", options)
      assert Enum.map(trace.events, & &1.arguments) == List.duplicate(["7", "8"], 3)
      assert Trace.format(hd(trace.events)) =~ " counted :lists.seq(7, 8)"
      await(fn -> clean?(node) end)
    end
  end

  test "large arguments are cut on the node", %{node: node} do
    evaluate(
      node,
      "L = lists:duplicate(100000, $a), F = fun F() -> lists:reverse(L), timer:sleep(1), F() end, F()."
    )

    assert {:ok, trace} = Trace.calls(node, "lists:reverse/1", limit: 1, time: 20_000)

    for event <- trace.events,
        text <- event[:arguments] || [event.result],
        do: assert(byte_size(text) < 1100)
  end

  # A call in each process, as fast as it can.
  defp flood(node),
    do: for(_each <- 1..2, do: evaluate(node, "F = fun F() -> lists:reverse([1]), F() end, F()."))

  test "a flood of calls: the limit holds", %{node: node} do
    flood(node)

    assert {:ok, trace} =
             Trace.calls(node, "lists:reverse/1", limit: 50, time: 20_000, returns: false)

    assert %{stopped: :limit, calls: 50} = trace
    assert length(trace.events) == 50
    await(fn -> clean?(node) end)
  end

  test "a flood of calls: more than the tracer can handle", %{node: node} do
    flood(node)
    options = [limit: 100_000, time: 60_000]
    assert {:ok, %{stopped: :overload}} = trace_briefly(node, "lists:reverse/1", options)

    await(fn -> clean?(node) end)
  end

  test "arguments that need too much memory kill the tracer, and not the node", %{node: node} do
    evaluate(
      node,
      "L = lists:seq(1, 4200000), F = fun F() -> lists:reverse(L), timer:sleep(50), F() end, F()."
    )

    assert {:error, error} = Trace.calls(node, "lists:reverse/1", limit: 100, time: 60_000)
    assert {:remote, {:tracer_ended, %{node: ^node}}} = {error.stage, error.reason}
    await(fn -> clean?(node) end)
  end

  test "all functions of modules that the tracer calls itself, and of the VM", %{node: node} do
    for module <- [
          "lists",
          "erl_eval",
          "queue",
          "io_lib",
          "erlang",
          "code_server",
          "gen_server",
          "net_kernel"
        ] do
      calling(node, {:lists, :seq, "1, 3"})
      assert {:ok, _trace} = Trace.calls(node, module, limit: 200, time: 100, local: true)
    end

    assert :erpc.call(node, :erlang, :node, []) == node
    await(fn -> clean?(node) end)
  end

  test "nothing is left when the tracer is killed", %{node: node} do
    running_trace(node)
    {tracer, :tracer} = tracer(node)
    Process.exit(tracer, :kill)
    assert_receive {:result, {:error, %Error{reason: {:tracer_ended, %{node: ^node}}}}}, 10_000
    await(fn -> clean?(node) end)
  end

  test "nothing is left when the guardian is killed", %{node: node} do
    running_trace(node)
    {guardian, :guardian} = guardian(node)
    Process.exit(guardian, :kill)
    assert_receive {:result, {:error, %Error{reason: {:tracer_ended, %{node: ^node}}}}}, 10_000
    await(fn -> clean?(node) end)
  end

  test "nothing is left when the caller is killed", %{node: node} do
    caller = running_trace(node)
    Process.exit(caller, :kill)
    await(fn -> clean?(node) end)
  end

  test "nothing is left when the BEAM of the caller is killed", %{node: node} do
    code = """
    Node.start(:"killed\#{System.pid()}@127.0.0.1", :longnames)
    Node.set_cookie(#{inspect(Node.get_cookie())})
    K8sConnect.Trace.each(#{inspect(node)}, "lists:seq/2", [time: 60_000], fn _event -> IO.puts("traced") end)
    """

    calling(node, {:lists, :seq, "1, 3"}, 100)
    arguments = ["-pa", Application.app_dir(:k8s_connect, "ebin"), "-e", code]
    elixir = System.find_executable("elixir")
    port = Port.open({:spawn_executable, elixir}, [:binary, args: arguments])
    {:os_pid, pid} = Port.info(port, :os_pid)
    assert_receive {^port, {:data, "traced" <> _more}}, 20_000
    refute clean?(node)
    {_output, 0} = System.cmd("kill", ["-9", "#{pid}"])
    await(fn -> clean?(node) end)
  end

  test "nothing is left when the connection is lost", %{node: node} do
    running_trace(node)
    Node.disconnect(node)
    assert_receive {:result, {:error, %Error{stage: :connect, reason: {:lost, _details}}}}, 10_000
    await(fn -> clean?(node) end)
  end

  test "another tracer keeps its patterns and flags", %{node: node} do
    other = evaluate(node, "receive stop -> ok end.")
    1 = :erpc.call(node, :erlang, :trace_pattern, [{:lists, :seq, 2}, true, [:local]])
    :erpc.call(node, :erlang, :trace, [:new_processes, true, [:call, tracer: other]])
    result = Trace.calls(node, "lists:seq/2", time: 100)

    if sessions?(node) do
      assert {:ok, %{stopped: :time}} = result
    else
      assert {:error, %Error{stage: :remote, reason: {:already_traced, %{node: ^node}}}} = result
    end

    info = &:erpc.call(node, :erlang, :trace_info, [&1, &2])
    assert info.({:lists, :seq, 2}, :traced) == {:traced, :local}
    assert info.(:new_processes, :tracer) == {:tracer, other}
    :erpc.call(node, :erlang, :trace, [:new_processes, false, [:all]])
    :erpc.call(node, :erlang, :trace_pattern, [{:lists, :seq, 2}, false, [:local]])
    await(fn -> clean?(node) end)
  end

  test "two traces at the same time", %{node: node} do
    trace(node, "lists:seq/2", time: 300)
    await(fn -> guardian(node) end)
    result = Trace.calls(node, "lists:reverse/1", time: 50)

    if sessions?(node),
      do: assert({:ok, %{stopped: :time}} = result),
      else: assert({:error, %Error{reason: {:already_traced, _details}}} = result)

    assert_receive {:result, {:ok, %{stopped: :time}}}, 10_000
    await(fn -> clean?(node) end)
  end
end
