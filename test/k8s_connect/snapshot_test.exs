defmodule K8sConnect.SnapshotTest do
  use ExUnit.Case, async: false

  alias K8sConnect.{Error, JSON, Snapshot}
  alias K8sConnect.Snapshot.Answer

  # A node without Elixir, which this VM is connected to as to a pod's.
  setup_all do
    started = Node.alive?() or start_distribution()
    {:ok, peer, node} = :peer.start(%{name: :peer.random_name(), host: ~c"127.0.0.1"})

    on_exit(fn ->
      :peer.stop(peer)
      if started == :started, do: Node.stop()
    end)

    %{node: node}
  end

  defp start_distribution do
    {_output, 0} = System.cmd("epmd", ["-daemon"])
    {:ok, _pid} = Node.start(:"snapshot-#{System.pid()}@127.0.0.1", :longnames)
    :started
  end

  # Evaluated there, as the node has no module of this test.
  defp eval(node, code) do
    {:ok, tokens, _end} = code |> String.to_charlist() |> :erl_scan.string()
    {:ok, forms} = :erl_parse.parse_exprs(tokens)
    {:value, value, _bindings} = :erpc.call(node, :erl_eval, :exprs, [forms, []])
    value
  end

  defp spawn_there(node, code) do
    pid = eval(node, "spawn(fun() -> #{code} end).")
    on_exit(fn -> Process.exit(pid, :kill) end)
    pid
  end

  test "the whole node", %{node: node} do
    assert {:ok, snapshot} = Snapshot.take(node, window: 50)
    assert snapshot.node == node
    assert snapshot.otp_release == System.otp_release()
    assert snapshot.window_ms in 50..5000
    assert snapshot.memory.total > snapshot.memory.code
    assert %{count: count, limit: limit} = snapshot.limits.processes
    assert count in 10..limit
    assert length(snapshot.run_queues.normal) == snapshot.schedulers.total
    assert Enum.any?(snapshot.applications, &(&1.name == "kernel"))
    assert Enum.any?(snapshot.tables, &(&1.name == ":ac_tab"))
    assert snapshot.cpu >= 0.0
  end

  test "nothing on the node is changed", %{node: node} do
    look = fn ->
      eval(
        node,
        "{statistics(scheduler_wall_time), lists:sort([M || {M, _} <- code:all_loaded()]), lists:sort(registered())}."
      )
    end

    assert {:ok, _snapshot} = Snapshot.take(node, window: 10)
    before = look.()
    assert {:ok, %{utilization: nil}} = Snapshot.take(node, window: 10)
    assert look.() == before
  end

  test "the flag scheduler_wall_time is used if somebody has set it", %{node: node} do
    # It is off again when the process that has set it ends.
    holder =
      spawn_there(node, "erlang:system_flag(scheduler_wall_time, true), receive stop -> ok end")

    await(fn -> eval(node, "statistics(scheduler_wall_time).") != :undefined end)
    assert {:ok, %{utilization: [first | _more] = each}} = Snapshot.take(node, window: 50)
    assert first >= 0.0 and first <= 1.0
    assert length(each) == :erpc.call(node, :erlang, :system_info, [:schedulers])
    Process.exit(holder, :kill)
  end

  test "the process that works most, has most memory, or most messages", %{node: node} do
    busy =
      spawn_there(
        node,
        "register(busy, self()), (fun Loop() -> lists:seq(1, 1000), Loop() end)()"
      )

    full = spawn_there(node, "register(full, self()), receive stop -> ok end")
    large = spawn_there(node, "List = lists:seq(1, 1000000), receive stop -> List end")
    for number <- 1..300, do: send(full, number)

    await(fn ->
      match?(
        {:memory, memory} when memory > 10_000_000,
        :erpc.call(node, :erlang, :process_info, [large, :memory])
      )
    end)

    assert {:ok, %{processes: [first]}} = Snapshot.take(node, window: 50, limit: 1)
    assert %{pid: ^busy, name: ":busy", reductions: reductions} = first
    assert reductions > 10_000

    assert {:ok, %{processes: [%{pid: ^full, messages: 300}]}} =
             Snapshot.take(node, sort: :messages, window: 10, limit: 1)

    assert {:ok, %{processes: [%{pid: ^large, name: ":erlang.apply/2", memory: memory} | _more]}} =
             Snapshot.take(node, sort: :memory, window: 10)

    assert memory > 10_000_000
    for pid <- [busy, full, large], do: Process.exit(pid, :kill)
  end

  test "of many processes few are sent", %{node: node} do
    many =
      spawn_there(
        node,
        "[spawn_link(fun() -> receive stop -> ok end end) || _ <- lists:seq(1, 5000)], receive stop -> ok end"
      )

    await(fn -> :erpc.call(node, :erlang, :system_info, [:process_count]) > 5000 end)

    for sort <- [:reductions, :memory, :messages] do
      assert {:ok, snapshot} = Snapshot.take(node, sort: sort, window: 10, limit: 7)
      assert length(snapshot.processes) == 7
      assert snapshot.limits.processes.count > 5000
    end

    Process.exit(many, :kill)
  end

  test "one process", %{node: node} do
    pid = :erpc.call(node, :erlang, :whereis, [:application_controller])
    assert {:ok, details} = Snapshot.process(node, pid)
    assert details.name == ":application_controller"
    assert hd(details.stack) =~ ":gen_server.loop/7"
    assert %{count: count, first: [first | _more]} = details.links
    assert count > 0 and first =~ ~r/^<0\.\d+\.\d+>$/

    ended = spawn_there(node, "ok")
    await(fn -> Snapshot.process(node, ended) == {:ok, nil} end)
  end

  test "as JSON", %{node: node} do
    {:ok, snapshot} = Snapshot.take(node, window: 10, limit: 3)
    text = snapshot |> Snapshot.to_map() |> JSON.encode() |> IO.iodata_to_binary()
    assert text =~ ~s("node":"#{node}")
    assert text =~ ~r/"pid":"<0\.\d+\.\d+>"/
    refute text =~ "#PID"
  end

  test "options" do
    for options <- [[sort: :name], [limit: 0], [limit: 1001], [window: 0], [tables: 1], [frob: 1]],
        do: assert_raise(ArgumentError, fn -> Snapshot.take(node(), options) end)
  end

  test "a node that is not connected" do
    assert {:error, %Error{stage: :connect, reason: {:lost, _details}}} =
             Snapshot.take(:"nobody@127.0.0.1", window: 10)
  end

  # The timeout is over before the window.
  test "a node that does not answer in time", %{node: node} do
    paused = spawn_there(node, "receive stop -> ok end")

    assert {:error, %Error{stage: :remote, reason: {:not_observed, %{problem: problem}}}} =
             Snapshot.process(node, paused, 0)

    assert problem =~ "no answer for 0 ms"
  end

  test "an answer that no node gives" do
    for answer <- [nil, [], %{}, %{system: 1}],
        do: assert(Answer.snapshot(answer, node(), sort: :memory, limit: 1) == :error)

    assert Answer.process([{:links, 1}], self()) == :error
  end

  test "names have no control characters", %{node: node} do
    spawn_there(
      node,
      ~S|register('evil\e]0;title\a\n', self()), ets:new('table\e[2J', [named_table]), receive stop -> ok end|
    )

    await(fn -> :erpc.call(node, :ets, :whereis, [:"table\e[2J"]) != :undefined end)
    {:ok, snapshot} = Snapshot.take(node, window: 10, limit: 1000)
    texts = for row <- snapshot.processes ++ snapshot.tables, do: row.name
    assert Enum.any?(texts, &(&1 =~ "evil"))
    for text <- texts, do: refute(text =~ ~r/[\x00-\x1f\x7f]/)
  end

  defp await(fun, tries \\ 500) do
    unless fun.() do
      if tries == 0, do: flunk("it never came")
      Process.sleep(10)
      await(fun, tries - 1)
    end
  end
end
