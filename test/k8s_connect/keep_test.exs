defmodule K8sConnect.KeepTest do
  # A connection that is kept across losses, on the laptop, as `dev`. test/host/faults_test.exs has the faults of the
  # cluster itself.
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  import K8sConnect.Laptop, only: [as_admin: 1, await: 1, await: 2]

  alias K8sConnect.{Connection, Error, Sessions}

  @moduletag :cluster
  @moduletag timeout: 180_000

  setup_all do
    {:ok, _started} = Application.ensure_all_started(:logger)
    # A workload of its own, as the pods come and go: a copy of the article's.
    as_admin("""
    kubectl get sts app -o json | sed -e 's/"name": "app",$/"name": "kept",/' \
      -e 's/"app": "app"/"app": "kept"/' -e 's/"serviceName": "app"/"serviceName": "kept"/' \
      -e '/resourceVersion\\|"uid"/d' | kubectl create -f -
    """)

    scale(1)
    on_exit(fn -> as_admin("kubectl delete sts kept --wait=false --ignore-not-found") end)
  end

  setup do
    scale(1)
    # Whatever the test before has done to it
    await(fn -> match?({:ok, _connection}, K8sConnect.connect("kept-0")) end, 3_000)
    for connection <- K8sConnect.connections(), do: K8sConnect.disconnect(connection)

    on_exit(fn ->
      for {_id, pid, _type, _modules} <- DynamicSupervisor.which_children(Sessions.Supervisor),
          do: DynamicSupervisor.terminate_child(Sessions.Supervisor, pid)

      await(fn -> not Node.alive?() end)
    end)
  end

  # Until the pods that are too many are gone, too.
  defp scale(replicas) do
    as_admin("""
    kubectl scale sts kept --replicas #{replicas} && kubectl rollout status sts kept --timeout=90s
    for n in 0 1 2 3; do
      [ $n -lt #{replicas} ] || kubectl wait --for=delete pod/kept-$n --timeout=90s
    done
    """)

    :ok
  end

  # From what there is at the beginning on
  defp subscribe(connection) do
    reference = K8sConnect.subscribe(connection)
    assert_receive {:k8s_connect, ^reference, {:up, _connection}}
    reference
  end

  defp events(reference, events \\ []) do
    receive do
      {:k8s_connect, ^reference, event} -> events(reference, [event | events])
    after
      0 -> Enum.reverse(events)
    end
  end

  # The node of a restarted container may have the same name: what tells is that its calls are answered.
  defp restart_container(node) do
    before = :erpc.call(node, :os, :getpid, [])
    start = :erpc.call(node, :erlang, :monotonic_time, [])
    :erpc.cast(node, :erlang, :halt, [])
    {before, start}
  end

  test "a restarted container: the same connection, on the same port-forward connection" do
    {:ok, connection} = K8sConnect.connect("kept-0")
    reference = subscribe(connection)

    log =
      capture_log(fn ->
        restart_container(connection.node)
        assert_receive {:k8s_connect, ^reference, {:reconnecting, %Error{}, 1, 0}}, 5_000
        assert_receive {:k8s_connect, ^reference, {:up, again}}, 30_000
        assert again.uid == connection.uid and again.node == connection.node
      end)

    assert length(Regex.scan(~r/lost #{connection.node}: .*; reconnecting/, log)) == 1
    assert length(Regex.scan(~r/connected to #{connection.node} again/, log)) == 1
    assert :erpc.call(K8sConnect.node!(connection), :erlang, :node, []) == connection.node
    assert %{state: :up, reconnects: 1, error: nil} = K8sConnect.status(connection)
    assert [%Connection{state: :up}] = K8sConnect.connections()
    :ok = K8sConnect.unsubscribe(connection, reference)
  end

  test "a replaced pod: another uid, calls in between fail, and a second connect is the same connection" do
    {:ok, connection} = K8sConnect.connect("kept-0")
    reference = subscribe(connection)
    as_admin("kubectl delete pod kept-0 --grace-period=0 --force --wait=false 2> /dev/null")
    assert_receive {:k8s_connect, ^reference, {:reconnecting, _error, 1, _delay}}, 30_000
    assert_raise Error, fn -> K8sConnect.node!(connection) end
    assert [%Connection{state: :reconnecting}] = K8sConnect.connections()
    assert {:ok, again} = K8sConnect.connect("kept-0")
    assert again.uid != connection.uid and again.session == connection.session
    assert K8sConnect.node!(connection) == again.node
    assert :erpc.call(again.node, :erlang, :node, []) == again.node
    # Of the old one nothing is left.
    assert Sessions.of(connection.node) == [] or connection.node == again.node
    assert Node.list(:connected) == [again.node]
  end

  test "a target of several pods goes to another one" do
    scale(2)
    {:ok, connection} = K8sConnect.connect("sts/kept")
    assert [_other] = connection.others
    reference = subscribe(connection)

    as_admin(
      "kubectl delete pod #{connection.pod} --grace-period=0 --force --wait=false 2> /dev/null"
    )

    assert_receive {:k8s_connect, ^reference, {:reconnecting, _error, 1, _delay}}, 30_000
    assert_receive {:k8s_connect, ^reference, {:up, again}}, 30_000
    assert again.uid != connection.uid
    scale(1)
  end

  test "in a supervision tree: by name, waiting for a pod, across a scale to 0" do
    scale(0)
    start_supervised!({K8sConnect, target: "sts/kept", name: __MODULE__.Kept})
    reference = K8sConnect.subscribe(__MODULE__.Kept)
    await(fn -> K8sConnect.status(__MODULE__.Kept).attempts > 0 end)

    assert {:error, %Error{reason: {:timeout, _details}}} =
             K8sConnect.await_up(__MODULE__.Kept, 100)

    scale(1)
    assert {:ok, %Connection{pod: "kept-0"}} = K8sConnect.await_up(__MODULE__.Kept)
    node = K8sConnect.node!(__MODULE__.Kept)
    assert :erpc.call(node, :erlang, :node, []) == node
    assert Enum.any?(events(reference), &match?({:up, _connection}, &1))
    stop_supervised!(__MODULE__.Kept)
    assert K8sConnect.connections() == [] and Node.list(:connected) == []
    assert %{state: :down} = K8sConnect.status(__MODULE__.Kept)
    assert {:error, %Error{reason: {:not_up, _details}}} = K8sConnect.await_up(__MODULE__.Kept)
  end

  test "in a supervision tree: a restart of this library's processes is not a disconnect by the user" do
    start_supervised!({K8sConnect, target: "sts/kept", name: __MODULE__.Kept})
    assert {:ok, %Connection{}} = K8sConnect.await_up(__MODULE__.Kept)
    session = Process.whereis(__MODULE__.Kept)
    route = Process.whereis(K8sConnect.Route)
    # The supervisor ends the process of the routes in order.
    capture_log(fn -> GenServer.stop(K8sConnect.Helper, :shutdown) end)
    await(fn -> Process.whereis(K8sConnect.Route) not in [nil, route] end)

    await(
      fn -> match?(%{state: :up, reconnects: 1}, K8sConnect.status(__MODULE__.Kept)) end,
      3_000
    )

    assert Process.whereis(__MODULE__.Kept) == session
    node = K8sConnect.node!(__MODULE__.Kept)
    assert :erpc.call(node, :erlang, :node, []) == node
    stop_supervised!(__MODULE__.Kept)
  end

  test "in a supervision tree: the end of the application ends it, and it does not start the application again" do
    start_supervised!({K8sConnect, target: "sts/kept", name: __MODULE__.Kept})
    assert {:ok, %Connection{}} = K8sConnect.await_up(__MODULE__.Kept)
    monitor = Process.monitor(__MODULE__.Kept)
    capture_log(fn -> Application.stop(:k8s_connect) end)
    assert_receive {:DOWN, ^monitor, :process, _session, :normal}, 5_000
    refute List.keymember?(Application.started_applications(), :k8s_connect, 0)
    {:ok, _started} = Application.ensure_all_started(:k8s_connect)
  end

  test "only its own pod connection tells a session that it is connected" do
    {:ok, connection} = K8sConnect.connect("kept-0", trust: true)
    {_state, %{pod_connection: {pid, monitor, _events}}} = :sys.get_state(connection.session)
    forged = {:up, %{connection | node: :"other@10.0.0.1"}}
    for from <- [pid, monitor, self()], do: send(connection.session, {from, forged})
    assert K8sConnect.status(connection).connection == connection
    assert K8sConnect.node!(connection) == connection.node
  end

  test "a loss is noticed, also if another process has connected to the node before" do
    Application.put_env(:k8s_connect, :stable_after, 0)
    on_exit(fn -> Application.delete_env(:k8s_connect, :stable_after) end)
    {:ok, connection} = K8sConnect.connect("kept-0")
    reference = subscribe(connection)
    test = self()
    # It connects to the node as soon as that is attached, and its attempts before fail.
    other = spawn_link(fn -> connect_after_each_loss(connection.node, test) end)
    assert_receive :ready
    for _loss <- 1..10, do: cut(connection, reference)
    send(other, :stop)
    assert_receive {:connected, count} when count > 0
    assert K8sConnect.status(connection).reconnects == 10
  end

  defp connect_after_each_loss(node, test) do
    :ok = :net_kernel.monitor_nodes(true, node_type: :all)
    send(test, :ready)
    wait_for_loss(node, test, 0)
  end

  defp wait_for_loss(node, test, count) do
    receive do
      {:nodedown, ^node, _info} -> connect_first(node, test, count)
      :stop -> send(test, {:connected, count})
    end
  end

  defp connect_first(node, test, count) do
    if Node.connect(node) == true do
      wait_for_loss(node, test, count + 1)
    else
      receive do
        :stop -> send(test, {:connected, count})
      after
        3 -> connect_first(node, test, count)
      end
    end
  end

  test "with :reconnect false, or at its limits, it ends with the error" do
    {:ok, connection} = K8sConnect.connect("kept-0", reconnect: false)
    reference = subscribe(connection)

    capture_log(fn ->
      restart_container(connection.node)
      assert_receive {:k8s_connect, ^reference, {:down, %Error{stage: :connect}}}, 5_000
    end)

    await(fn -> K8sConnect.connections() == [] end)

    await(fn ->
      match?({:ok, _connection}, K8sConnect.connect("kept-0", reconnect: [deadline: 1]))
    end)

    [connection] = K8sConnect.connections()
    reference = subscribe(connection)

    capture_log(fn ->
      restart_container(connection.node)
      assert_receive {:k8s_connect, ^reference, {:down, %Error{}}}, 5_000
    end)

    await(fn -> K8sConnect.connections() == [] end)
  end

  # With a user who may read the StatefulSet; dev may not, and waits.
  test "a workload that is deleted is the end" do
    copy = "lost"

    as_admin("""
    kubectl get sts kept -o json | sed -e 's/"name": "kept",$/"name": "#{copy}",/' \
      -e 's/"app": "kept"/"app": "#{copy}"/' -e '/resourceVersion\\|"uid"/d' | kubectl create -f -
    kubectl rollout status sts #{copy} --timeout=90s
    kubectl create role workloads --verb=get --resource=statefulsets.apps
    kubectl create rolebinding workloads --role=workloads --user=dev
    """)

    on_exit(fn ->
      as_admin("""
      kubectl delete sts #{copy} --ignore-not-found
      kubectl delete role/workloads rolebinding/workloads
      """)
    end)

    {:ok, connection} = K8sConnect.connect("sts/#{copy}")
    reference = subscribe(connection)
    as_admin("kubectl delete sts #{copy}")
    expected = {:workload_deleted, %{target: "sts/#{copy}", namespace: "default"}}
    assert_receive {:k8s_connect, ^reference, {:down, %Error{reason: ^expected}}}, 60_000
  end

  test "Node.disconnect/1 ends it, and is no error" do
    await(fn -> match?({:ok, _connection}, K8sConnect.connect("kept-0")) end)
    [connection] = K8sConnect.connections()
    reference = subscribe(connection)
    Node.disconnect(connection.node)
    assert_receive {:k8s_connect, ^reference, {:down, nil}}, 5_000
    await(fn -> K8sConnect.connections() == [] end)
  end

  test "net_kernel that is stopped is started again" do
    {:ok, connection} = K8sConnect.connect("kept-0")
    name = Node.self()
    reference = subscribe(connection)
    :ok = :net_kernel.stop()
    assert_receive {:k8s_connect, ^reference, {:reconnecting, _error, 1, 0}}, 5_000
    assert_receive {:k8s_connect, ^reference, {:up, %Connection{node: node}}}, 10_000
    assert node == connection.node and Node.self() == name
  end

  describe "all pods of a workload" do
    test "follows its scale with one watch" do
      {:ok, group} = K8sConnect.connect_all("sts/kept")
      assert [%Connection{pod: "kept-0"}] = K8sConnect.connections(group)
      reference = K8sConnect.subscribe(group)
      scale(4)
      await(fn -> length(K8sConnect.connections(group)) == 4 end, 3_000)
      nodes = for connection <- K8sConnect.connections(group), do: connection.node

      assert Enum.sort(nodes) ==
               Enum.sort(for node <- nodes, do: :erpc.call(node, :erlang, :node, []))

      assert %{pods: 4, failed: failed} = K8sConnect.status(group)
      assert failed == %{}
      scale(1)
      await(fn -> length(K8sConnect.connections(group)) == 1 end, 3_000)
      assert_received {:k8s_connect, ^reference, _session, {:up, %Connection{pod: "kept-3"}}}
      assert_received {:k8s_connect, ^reference, _session, {:down, nil}}
      :ok = K8sConnect.disconnect(group)
      assert K8sConnect.connections() == []
    end

    test "a pod that is replaced has a new session, and one that restarts keeps its own" do
      {:ok, group} = K8sConnect.connect_all("sts/kept")
      [connection] = K8sConnect.connections(group)
      restart_container(connection.node)
      await(fn -> match?([%{state: :reconnecting}], K8sConnect.connections(group)) end)
      await(fn -> match?([%{state: :up}], K8sConnect.connections(group)) end, 3_000)
      assert [%Connection{session: session}] = K8sConnect.connections(group)
      assert session == connection.session
      as_admin("kubectl delete pod kept-0 --grace-period=0 --force --wait=false 2> /dev/null")

      await(
        fn ->
          match?([%{state: :up, session: new}] when new != session, K8sConnect.connections(group))
        end,
        3_000
      )

      :ok = K8sConnect.disconnect(group)
    end

    test "await_up/2 waits for its pods" do
      {:ok, group} = K8sConnect.connect_all("sts/kept")
      assert {:ok, [%Connection{pod: "kept-0"}]} = K8sConnect.await_up(group)
      assert_raise Error, fn -> K8sConnect.node!(group) end
      :ok = K8sConnect.disconnect(group)
      assert {:error, %Error{reason: {:not_up, _details}}} = K8sConnect.await_up(group)
    end

    test "pods that the Role does not allow to list are an error at once" do
      assert {:error, %Error{stage: :cluster, reason: {:forbidden, _details}}} =
               K8sConnect.connect_all("svc/kept", namespace: "kube-system")
    end

    test "a name that is in use, or is no name, is an error" do
      {:ok, group} = K8sConnect.connect_all("sts/kept", name: :kept_group)

      for name <- [:kept_group, "kept"] do
        assert {:error, error} = K8sConnect.connect_all("sts/kept", name: name)
        assert Exception.message(error) =~ "invalid value for option :name: expected an atom, "
      end

      assert [%Connection{pod: "kept-0"}] = K8sConnect.connections(:kept_group)
      assert K8sConnect.connections(group) == K8sConnect.connections(:kept_group)
      :ok = K8sConnect.disconnect(:kept_group)
    end
  end

  test "100 losses leave nothing behind" do
    # Otherwise a connection that is lost so soon waits before the next attempt.
    Application.put_env(:k8s_connect, :stable_after, 0)
    on_exit(fn -> Application.delete_env(:k8s_connect, :stable_after) end)
    {:ok, connection} = K8sConnect.connect("kept-0")

    measure = fn ->
      {length(Process.list()), length(Port.list()), :erlang.system_info(:atom_count)}
    end

    reference = subscribe(connection)
    # The first one loads what reconnecting needs.
    cut(connection, reference)
    {processes, ports, atoms} = measure.()
    for _ <- 1..100, do: cut(connection, reference)
    {processes_after, ports_after, atoms_after} = measure.()
    assert processes_after <= processes + 3
    assert ports_after <= ports + 1
    assert atoms_after <= atoms + 20
    assert K8sConnect.status(connection).reconnects == 101
  end

  # As another node of the same name would do it
  test "a node that closes each connection is not connected to in a loop" do
    {:ok, connection} = K8sConnect.connect("kept-0")
    reference = subscribe(connection)
    start = System.monotonic_time(:millisecond)
    for _loss <- 1..6, do: cut(connection, reference)
    # At once, and then after 100, 200, 400, 800 and 1600 ms, less the jitter
    assert System.monotonic_time(:millisecond) - start >= 1_550
  end

  # The pod closes the connection, and takes the next one.
  defp cut(%{node: node}, reference) do
    :erpc.cast(node, :erlang, :disconnect_node, [Node.self()])
    assert_receive {:k8s_connect, ^reference, {:reconnecting, _error, 1, _delay}}, 5_000
    assert_receive {:k8s_connect, ^reference, {:up, _connection}}, 10_000
  end
end
