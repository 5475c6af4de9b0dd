defmodule K8sConnect.ReadOnlyTest do
  # Not async: the cluster tests connect, and the configuration is of the application.
  use ExUnit.Case, async: false

  alias K8sConnect.{Options, ReadOnly}

  @guide "guides/trust.md"
  @table ~r/(<!-- read-only calls -->\n).*(<!-- end -->)/s

  test "the guide has the functions" do
    lines =
      for {module, calls} <-
            Enum.chunk_by(ReadOnly.default(), &elem(&1, 0)) |> Enum.map(&{elem(hd(&1), 0), &1}) do
        functions =
          for {name, arities} <- by_name(calls), do: "`#{name}/#{Enum.join(arities, ",")}`"

        "- `#{inspect(module)}`: #{Enum.join(functions, ", ")}\n"
      end

    text = File.read!(@guide)
    new = Regex.replace(@table, text, "\\1\n#{lines}\n\\2")

    if text != new do
      File.write!(@guide, new)

      flunk(
        "the list in #{@guide} was out of date, and is now generated again: read it, and commit it"
      )
    end
  end

  defp by_name(calls) do
    calls
    |> Enum.chunk_by(&elem(&1, 1))
    |> Enum.map(fn [{_module, name, _arity} | _more] = same ->
      {name, Enum.map(same, &elem(&1, 2))}
    end)
  end

  test "the configuration extends the list" do
    on_exit(fn -> Application.delete_env(:k8s_connect, :read_only_calls) end)

    Application.put_env(:k8s_connect, :read_only_calls, [
      {MyApp.Stats, :summary, 0},
      {:recon, :bin_leak}
    ])

    calls = ReadOnly.calls()
    assert "Elixir.MyApp.Stats:summary/0" in calls and "recon:bin_leak/*" in calls
    assert "erlang:memory/0" in calls
    assert Options.check("app-0", []) == :ok

    for invalid <- [:x, [:x], [{:a, "b", 1}], [{:a, :b, -1}], [{:a, :b, 1, 2}], %{}] do
      Application.put_env(:k8s_connect, :read_only_calls, invalid)
      assert {:error, %{reason: {:invalid_configuration, details}}} = Options.check("app-0", [])
      assert details.key == :read_only_calls
    end
  end

  describe "on the cluster" do
    @describetag :cluster
    @describetag timeout: 120_000

    setup do
      on_exit(fn ->
        for connection <- K8sConnect.connections(), do: K8sConnect.disconnect(connection)
        Application.delete_env(:k8s_connect, :read_only_calls)
      end)
    end

    # What can be changed there: an agent, and a process that waits. They are started without the option.
    defp prepare do
      connection = K8sConnect.connect!("app-0", log: false)
      {:ok, agent} = :erpc.call(connection.node, Agent, :start, [:erlang, :node, []])
      pid = Node.spawn(connection.node, Process, :sleep, [60_000])
      K8sConnect.disconnect(connection)

      on_exit(fn ->
        for connection <- K8sConnect.connections(), do: K8sConnect.disconnect(connection)
        connection = K8sConnect.connect!("app-0", log: false)
        # The pids have the name of the node, which is the same.
        :erpc.call(connection.node, Process, :exit, [agent, :kill])
        :erpc.call(connection.node, Process, :exit, [pid, :kill])
        K8sConnect.disconnect(connection)
      end)

      {agent, pid}
    end

    defp read_only(options \\ []),
      do: K8sConnect.connect!("app-0", [log: false, read_only: true] ++ options)

    test "what reads works" do
      {agent, pid} = prepare()
      %{node: node} = connection = read_only()
      assert :erpc.call(node, :erlang, :memory, [])[:total] > 0
      assert :rpc.call(node, :erlang, :node, []) == node
      assert :rpc.block_call(node, :erlang, :node, []) == node
      assert [{:ok, _release}] = :erpc.multicall([node], :erlang, :system_info, [:otp_release])
      assert :erpc.receive_response(:erpc.send_request(node, :erlang, :node, [])) == node
      assert {:message_queue_len, 0} = :erpc.call(node, Process, :info, [pid, :message_queue_len])
      assert :sys.get_state(agent) == node
      assert {:status, ^agent, _module, _items} = :sys.get_status(agent)
      assert :erpc.call(node, :sys, :get_state, [agent]) == node
      assert Node.ping(node) == :pong
      assert :net_adm.ping(node) == :pong
      monitor = Process.monitor(pid)
      assert Process.demonitor(monitor, [:flush, :info])
      monitor = Process.monitor({:no_process_of_this_name, node})
      assert_receive {:DOWN, ^monitor, :process, _who, :noproc}, 2000
      assert %{read_only: true, refused: refused} = K8sConnect.status(connection)
      assert refused == %{}
    end

    test "nothing else is sent, and nothing waits for it" do
      {agent, pid} = prepare()
      %{node: node} = connection = read_only()
      reference = K8sConnect.subscribe(connection)
      start = System.monotonic_time(:millisecond)
      assert catch_error(:erpc.call(node, :os, :cmd, [~c"id"])) == {:erpc, :read_only}
      assert_receive {:k8s_connect, ^reference, {:refused, :read_only, "os:cmd/1"}}, 2000
      assert {:badrpc, _reason} = :rpc.call(node, :os, :cmd, [~c"id"])
      assert {:badrpc, _reason} = :rpc.block_call(node, :os, :cmd, [~c"id"])
      # One with a function as its argument, and one with another arity
      assert catch_error(:erpc.call(node, fn -> :ok end)) == {:erpc, :read_only}
      assert catch_error(:erpc.call(node, :erlang, :node, [self()])) == {:erpc, :read_only}
      assert {:read_only, _call} = catch_exit(Agent.get(agent, :erlang, :node, []))

      assert {:read_only, _call} =
               catch_exit(GenServer.call({:kernel_sup, node}, :which_children))

      assert catch_exit(:sys.suspend(agent))
      Agent.cast(agent, :erlang, :put, [:a, :b])
      Agent.cast(agent, :erlang, :abs, [])
      send(pid, :hello)
      send({:logger, node}, :hello)
      Process.exit(pid, :kill)
      Process.group_leader(pid, self())
      Process.flag(:trap_exit, true)
      Process.link(pid)
      assert_receive {:EXIT, ^pid, :read_only}, 2000
      assert System.monotonic_time(:millisecond) - start < 5000

      # All of that would have arrived before this.
      assert :erpc.call(node, :sys, :get_state, [agent]) == node
      assert {:messages, []} = :erpc.call(node, Process, :info, [pid, :messages])
      assert {:links, []} = :erpc.call(node, Process, :info, [pid, :links])
      {:group_leader, leader} = :erpc.call(node, Process, :info, [pid, :group_leader])
      assert leader != self()
      # The monitor of a call that was not sent is gone there, too.
      assert {:monitored_by, []} = :erpc.call(node, Process, :info, [agent, :monitored_by])
      assert %{state: :up, refused: %{read_only: refused}} = K8sConnect.status(connection)
      assert refused >= 12
      assert Map.keys(K8sConnect.status(connection).refused) == [:read_only]
    end

    test "a snapshot is refused, because it runs code there" do
      %{node: node} = read_only()
      assert {:error, %{reason: {:read_only, %{node: ^node}}}} = K8sConnect.Snapshot.take(node)
    end

    test "a process that is not started is an error" do
      %{node: node} = read_only()
      assert catch_error(Node.spawn_monitor(node, :os, :cmd, [~c"id"])) == :read_only
    end

    test "a connection that is there has the same power, or is an error" do
      before = K8sConnect.connect!("app-0", log: false)
      assert {:error, error} = K8sConnect.connect("app-0", log: false, read_only: true)
      assert {:connected_otherwise, %{trust: false, read_only: false}} = error.reason
      assert {:ok, ^before} = K8sConnect.connect("app-0", log: false)
      K8sConnect.disconnect(before)
      connection = read_only()
      assert {:ok, ^connection} = K8sConnect.connect("app-0", log: false, read_only: true)
      assert {:error, error} = K8sConnect.connect("app-0", log: false, trust: true, yes: true)
      assert {:connected_otherwise, %{trust: false, read_only: true}} = error.reason
      assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
    end

    test "the configuration allows a function" do
      Application.put_env(:k8s_connect, :read_only_calls, [{:erlang, :phash2}])
      %{node: node} = read_only()
      assert is_integer(:erpc.call(node, :erlang, :phash2, [:a]))
      assert is_integer(:erpc.call(node, :erlang, :phash2, [:a, 10]))
      assert catch_error(:erpc.call(node, :erlang, :abs, [1])) == {:erpc, :read_only}
    end
  end
end
