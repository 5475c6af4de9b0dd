defmodule K8sConnect.SnapshotTest do
  use ExUnit.Case, async: false

  alias K8sConnect.{Error, JSON, Snapshot}
  alias K8sConnect.Snapshot.Answer

  # `:erpc` evaluates in this VM as in a pod's; test/mix/observer_task_test.exs does it in a pod's.
  setup do: %{node: node()}

  defp start(fun) do
    pid = spawn(fun)
    on_exit(fn -> Process.exit(pid, :kill) end)
    pid
  end

  defp wait do
    receive do: (:stop -> :ok)
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
      loaded = for {module, _file} <- :code.all_loaded(), do: module

      {:erlang.statistics(:scheduler_wall_time), Enum.sort(loaded),
       Enum.sort(Process.registered())}
    end

    assert {:ok, _snapshot} = Snapshot.take(node, window: 10)
    before = look.()
    assert {:ok, %{utilization: nil}} = Snapshot.take(node, window: 10)
    assert look.() == before
  end

  test "the flag scheduler_wall_time is used if somebody has set it", %{node: node} do
    # It is off again when the process that has set it ends.
    start(fn ->
      :erlang.system_flag(:scheduler_wall_time, true)
      wait()
    end)

    await(fn -> :erlang.statistics(:scheduler_wall_time) != :undefined end)
    assert {:ok, %{utilization: [first | _more] = each}} = Snapshot.take(node, window: 50)
    assert first >= 0.0 and first <= 1.0
    assert length(each) == System.schedulers()
  end

  test "the process that works most, has most memory, or most messages", %{node: node} do
    busy = start(fn -> Process.register(self(), :busy) && Enum.each(Stream.cycle([1]), & &1) end)
    full = start(&wait/0)
    large = start(fn -> Enum.to_list(1..1_000_000) |> tap(fn _list -> wait() end) |> length() end)
    for number <- 1..300, do: send(full, number)
    await(fn -> elem(Process.info(large, :memory), 1) > 10_000_000 end)

    assert {:ok, %{processes: [first]}} = Snapshot.take(node, window: 50, limit: 1)
    assert %{pid: ^busy, name: ":busy", reductions: reductions} = first
    assert reductions > 10_000

    assert {:ok, %{processes: [%{pid: ^full, messages: 300}]}} =
             Snapshot.take(node, sort: :messages, window: 10, limit: 1)

    assert {:ok, %{processes: [%{pid: ^large, name: ":erlang.apply/2", memory: memory} | _more]}} =
             Snapshot.take(node, sort: :memory, window: 10)

    assert memory > 10_000_000
  end

  test "of many processes few are sent", %{node: node} do
    start(fn -> for(_number <- 1..5000, do: spawn_link(&wait/0)) && wait() end)
    await(fn -> length(Process.list()) > 5000 end)

    for sort <- [:reductions, :memory, :messages] do
      assert {:ok, snapshot} = Snapshot.take(node, sort: sort, window: 10, limit: 7)
      assert length(snapshot.processes) == 7
      assert snapshot.limits.processes.count > 5000
    end
  end

  test "one process", %{node: node} do
    pid = Process.whereis(:application_controller)
    assert {:ok, details} = Snapshot.process(node, pid)
    assert details.name == ":application_controller"
    assert hd(details.stack) =~ ":gen_server.loop/7"
    assert %{count: count, first: [first | _more]} = details.links
    assert count > 0 and first =~ ~r/^<0\.\d+\.\d+>$/

    ended = spawn(fn -> :ok end)
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

  test "a node that does not answer in time", %{node: node} do
    assert {:error, %Error{stage: :remote, reason: {:not_observed, %{problem: problem}}}} =
             Snapshot.process(node, self(), 0)

    assert problem =~ "no answer for 0 ms"
  end

  test "an answer that no node gives" do
    for answer <- [nil, [], %{}, %{system: 1}],
        do: assert(Answer.snapshot(answer, node(), sort: :memory, limit: 1) == :error)

    assert Answer.process([{:links, 1}], self()) == :error
  end

  # In place of a list, `Enum` calls these.
  test "nothing in an answer is called", %{node: node} do
    test = self()
    stream = Stream.map([1], fn _element -> send(test, :called) end)
    fun = fn _accumulator, _reducer -> send(test, :called) end
    options = [sort: :memory, limit: 3]
    variables = [Sort: :memory, Limit: 3, Window: 10, WithTables: true]
    {:ok, answer} = Snapshot.Remote.evaluate(node, :snapshot, variables, 5000)
    assert {:ok, _snapshot} = Answer.snapshot(answer, node, options)
    info = [Pid: self(), Limit: 3]
    {:ok, process} = Snapshot.Remote.evaluate(node, :process, info, 5000)
    assert {:ok, _details} = Answer.process(process, self())

    for hostile <- [stream, fun, ~D[2026-01-01], [1 | stream], %{a: stream}] do
      for {key, _value} <- answer do
        changed = Map.put(answer, key, hostile)
        assert Answer.snapshot(changed, node, options) == :error, inspect({key, hostile})
      end

      for {key, _value} <- process do
        changed = List.keyreplace(process, key, 0, {key, hostile})
        assert Answer.process(changed, self()) == :error, inspect({key, hostile})
      end
    end

    struct = [{:__struct__, Date} | process]
    assert Answer.process(struct, self()) == :error
    refute_received :called
  end

  test "what is printed of an answer has no escape sequences and is not long", %{node: node} do
    {:ok, process} = Snapshot.Remote.evaluate(node, :process, [Pid: self(), Limit: 3], 5000)

    for {key, value} <- [
          trap_exit: :"\e[2J",
          status: :"\ec",
          priority: :"\u202E",
          total_heap_size: Bitwise.bsl(1, 1_000_000)
        ] do
      changed = List.keyreplace(process, key, 0, {key, value})
      assert Answer.process(changed, self()) == :error, inspect(key)
    end

    {:ok, answer} =
      Snapshot.Remote.evaluate(
        node,
        :snapshot,
        [Sort: :memory, Limit: 3, Window: 10, WithTables: true],
        5000
      )

    [{size, [name, _size, _type, protection, owner]} | _tables] = answer.tables
    changed = %{answer | tables: [{size, [name, 1, :"\e[2J", protection, owner]}]}
    assert Answer.snapshot(changed, node, sort: :memory, limit: 3) == :error

    large = String.duplicate("ü", 1_000_000)
    changed = %{answer | applications: [{:app, large, Enum.to_list(1..100_000)}]}
    assert {:ok, snapshot} = Answer.snapshot(changed, node, sort: :memory, limit: 3)
    assert [%{description: description, version: version}] = snapshot.applications
    assert String.length(description) <= 200 and String.length(version) <= 200
  end

  test "names have no control characters", %{node: node} do
    start(fn ->
      Process.register(self(), :"evil\e]0;title\a\n")
      :ets.new(:"table\e[2J", [:named_table])
      wait()
    end)

    await(fn -> :ets.whereis(:"table\e[2J") != :undefined end)
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
