# What a connection must do, whatever is spoken on the way to the pod.
for {name, protocol, bytes, portable} <- [
      {K8sConnect.ConnectTest, :auto, 100_000_000, false},
      {K8sConnect.ConnectByWebSocketTest, :websocket, 10_000_000, false},
      {K8sConnect.ConnectByV4Test, :v4, 10_000_000, false},
      # As on macOS
      {K8sConnect.ConnectPortablyTest, :auto, 10_000_000, true}
    ] do
  defmodule name do
    use K8sConnect.ConnectCase, protocol: protocol, portable: portable

    alias K8sConnect.Route.NetKernel
    alias K8sConnect.Route.VM.Dist
    alias K8sConnect.Sessions

    @bytes bytes

    describe "connected" do
      test "the node is there, hidden, and gone again after disconnect" do
        refute Node.alive?()
        connection = connect()

        assert %{pod: "app-0", namespace: "default", context: "testcluster", route: :vm} =
                 connection

        assert connection.cookie_source ==
                 "Secret app-cookie, key cookie (RELEASE_COOKIE of container app)"

        assert Atom.to_string(connection.node) =~ ~r/^app@10\.244\.1\.\d+$/

        assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
        assert Node.list(:connected) == [connection.node]
        assert :erpc.call(connection.node, Node, :list, [:hidden]) |> Enum.member?(Node.self())
        assert K8sConnect.connections() == [connection]
        assert NetKernel.installed?(Dist)

        assert K8sConnect.disconnect(connection) == :ok
        assert nothing_left?()
        assert K8sConnect.disconnect(connection) == :ok
      end

      test "owners, Services and labels lead to a pod" do
        for {target, options} <- [
              {"sts/app", []},
              {"svc/app", []},
              {nil, selector: "app=app"},
              {"pod/app-0", []}
            ] do
          assert connect(target, options).pod == "app-0"
        end
      end

      test "twice to one pod is one connection, at the same time too" do
        tasks = for _ <- 1..8, do: Task.async(fn -> connect() end)
        assert [connection] = tasks |> Task.await_many(30_000) |> Enum.uniq()
        assert K8sConnect.connections() == [connection]
        await(fn -> DynamicSupervisor.count_children(Sessions.Supervisor).active == 1 end)
        assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
      end

      test "several pods at once, and each ends alone" do
        first = connect()
        second = connect("newline-cookie")
        assert Enum.sort(Node.list(:connected)) == Enum.sort([first.node, second.node])
        K8sConnect.disconnect(first)
        assert :erpc.call(second.node, :erlang, :node, []) == second.node
        # Marked as disconnected: it fails at once without connecting.
        assert {time, false} = :timer.tc(fn -> Node.connect(first.node) end)
        assert time < 1_000_000
      end

      test "cookies from a Secret with a newline, from envFrom, and from a ConfigMap" do
        assert connect("newline-cookie").cookie_source =~ "Secret odd-secret, key cookie"
        assert connect("env-from").cookie_source =~ "Secret odd-secret, key RELEASE_COOKIE"
        assert connect("config-map").cookie_source =~ "ConfigMap odd-config, key the-cookie"
      end

      test "one of several nodes in a pod" do
        assert Atom.to_string(connect("two-nodes", node: "second").node) =~ ~r/^second@/
        assert Atom.to_string(connect("two-nodes", node: "app").node) =~ ~r/^app@/
      end

      test "a spec that tells the node's name, rightly and wrongly" do
        for pod <- ["named", "misnamed"] do
          connection = connect(pod)
          assert Atom.to_string(connection.node) =~ ~r/^app@10\.244\.1\.\d+$/
          assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
        end
      end

      test "a name in epmd without a node behind it does not count" do
        assert Atom.to_string(connect("stale-name").node) =~ ~r/^app@/
      end

      test "beside an ordinary node on this machine, which connects as ever" do
        connection = connect()
        {:ok, _started} = Application.ensure_all_started(:k8s_connect)
        # Hidden and without a listener ourselves, we can still call others: by epmd, as ever.
        port =
          Port.open({:spawn_executable, System.find_executable("elixir")}, [
            :binary,
            :exit_status,
            args: [
              "--name",
              "ordinary@127.0.0.1",
              "--cookie",
              "other",
              "-e",
              "IO.puts(:up); IO.gets(\"\"); System.halt()"
            ]
          ])

        assert_receive {^port, {:data, "up\n"}}, 10_000
        Node.set_cookie(:"ordinary@127.0.0.1", :other)
        assert Node.connect(:"ordinary@127.0.0.1")

        assert Enum.sort(Node.list(:connected)) ==
                 Enum.sort([connection.node, :"ordinary@127.0.0.1"])

        # Its epmd goes after it: it keeps the article's recipe from working.
        Port.command(port, "\n")
        assert_receive {^port, {:exit_status, 0}}, 10_000
        {_output, 0} = System.cmd("epmd", ["-kill"])
      end

      test "steps are told as they are done" do
        test = self()
        connect("app-0", progress: &send(test, &1))

        for name <- ~w(connecting server pod cookie port-forward node connected),
            do: assert_received({:step, ^name, _detail, _ms})
      end

      test ":owner ends it" do
        task = Task.async(fn -> connect("app-0", owner: self()) end)
        Task.await(task)
        await(&nothing_left?/0)
      end
    end

    describe "works" do
      test "#{div(@bytes, 1_000_000)} MB each way, byte for byte" do
        node = connect().node
        data = :binary.copy(<<0, 1, 2, 3, 255, 254, 253, 252>>, div(@bytes, 8))
        hash = :erlang.md5(data)
        assert :erpc.call(node, :erlang, :md5, [data]) == hash

        copied =
          :erpc.call(node, :binary, :copy, [<<0, 1, 2, 3, 255, 254, 253, 252>>, div(@bytes, 8)])

        assert :erlang.md5(copied) == hash
      end

      test "monitors, links, calls by name, spawned processes, and crashes there" do
        node = connect().node
        assert %{active: _} = Supervisor.count_children({App.Supervisor, node})
        assert :sys.get_status({App.Supervisor, node}) |> is_tuple()

        monitor = Process.monitor({:no_such_name, node})
        assert_receive {:DOWN, ^monitor, :process, {:no_such_name, ^node}, :noproc}, 5_000

        pid = Node.spawn(node, :timer, :sleep, [60_000])
        monitor = Process.monitor(pid)
        Process.exit(pid, :kill)
        assert_receive {:DOWN, ^monitor, :process, ^pid, :killed}, 5_000

        Process.flag(:trap_exit, true)
        pid = Node.spawn_link(node, :erlang, :exit, [:boom])
        assert_receive {:EXIT, ^pid, :boom}, 5_000

        assert {:exception, :badarith, [{:erlang, :div, [1, 0], _} | _]} =
                 catch_error(:erpc.call(node, :erlang, :div, [1, 0]))
      end

      # What guides/nodes.md says of it.
      test "what a hidden connection does not have" do
        node = connect().node
        assert Node.list() == []
        assert Node.list(:hidden) == [node]
        assert :erpc.call(node, Node, :list, []) == []
        name = :"only_there_#{System.unique_integer([:positive])}"
        holder = Node.spawn(node, :timer, :sleep, [60_000])
        assert :erpc.call(node, :global, :register_name, [name, holder]) == :yes
        assert :global.whereis_name(name) == :undefined
        assert :erpc.call(node, :global, :whereis_name, [name]) == holder
        Process.exit(holder, :kill)
      end

      test "idle for three times a short net_ticktime" do
        connection = connect("env-from")
        %{node: node} = connection
        :erpc.call(node, :net_kernel, :set_net_ticktime, [4, 0])

        on_exit(fn ->
          connect("env-from").node |> :erpc.call(:net_kernel, :set_net_ticktime, [60, 0])
        end)

        # The session has asked for the tick time when it came up.
        K8sConnect.disconnect(connection)
        connect("env-from")
        Node.monitor(node, true)
        refute_receive {:nodedown, ^node}, 12_000
        assert :erpc.call(node, :erlang, :node, []) == node
      end
    end

    describe "failures" do
      if portable do
        test "the other routes need Linux" do
          assert {:route, {:linux_only, _}} = failure("app-0", route: :kernel)
          assert {:exec, {:linux_only, _}} = failure("app-0", route: :exec)
          assert connect("app-0", route: :auto).route == :vm
        end
      end

      test "of the target" do
        assert {:target, {:no_such_pod, %{pod: "no-such-pod"}}} = failure("no-such-pod")
        assert {:target, {:no_pods, %{target: "sts/none"}}} = failure("sts/none")
        assert {:target, {:invalid_target, %{target: "a/b/c"}}} = failure("a/b/c")
        assert {:target, {:not_running, %{phase: "Pending (Unschedulable)"}}} = failure("pending")

        assert {:target, {:no_container, %{available: ["app"]}}} =
                 failure("app-0", container: "sidecar")
      end

      test "of the API server" do
        assert {:cluster, {:forbidden, %{verb: "get", resource: "pods"}}} =
                 failure("app-0", namespace: "kube-system")

        assert {:cluster, {:forbidden, %{verb: "get", resource: "secrets"}}} =
                 failure("hidden-cookie")

        assert {:config, {:unknown_context, _}} = failure("app-0", context: "nope")
        stranger = Path.expand("~/.kube/stranger")
        assert {:cluster, {:unknown_authority, _}} = failure("app-0", kubeconfig: stranger)
      end

      test "of what is in the pod" do
        assert {:node, {:no_epmd, %{pod: "no-erlang", message: message}}} = failure("no-erlang")
        assert message =~ "connection refused"
        assert {:node, {:epmd_timed_out, _}} = failure("silent-epmd")
        assert {:node, {:epmd_invalid_answer, %{actual: actual}}} = failure("junk-epmd")
        assert actual =~ "0x48545450"

        assert {:node, {:invalid_handshake, %{expected: "a status", actual: "220 ready\r\n"}}} =
                 failure("junk-node")

        assert {:node, {:port_refused, %{port: 5555}}} = failure("ip-only")
        assert {:node, {:several_nodes, %{available: available}}} = failure("two-nodes")
        assert Enum.sort(available) == ["app", "second"]
        assert {:node, {:unknown_node, %{name: "third"}}} = failure("two-nodes", node: "third")
      end

      test "of the cookie" do
        assert {:cookie, {:not_found, %{pod: "no-cookie"}}} = failure("no-cookie")

        assert {:connect, {:refused, %{source: "RELEASE_COOKIE of container app"}}} =
                 failure("wrong-cookie")

        assert {:connect, {:refused, %{source: "the option :cookie"}}} =
                 failure("app-0", cookie: "wrong")
      end
    end

    describe "secrets" do
      test "are in no status, no inspection, and no argument of ours" do
        connection = connect()
        [{session, _}] = Sessions.list()

        {:ok, secret} =
          System.cmd("kubectl", ~w(get secret app-cookie -o jsonpath={.data.cookie}))
          |> elem(0)
          |> Base.decode64()

        shown = [
          inspect(:sys.get_status(session), limit: :infinity, printable_limit: :infinity),
          inspect(connection),
          inspect(Process.info(session, :dictionary)),
          inspect(Supervisor.which_children(Sessions.Supervisor)),
          File.read!("/proc/self/cmdline")
        ]

        assert byte_size(secret) > 10
        for text <- shown, do: refute(text =~ secret)
        refute :erlang.get_cookie() == String.to_atom(secret)
      end

      test "a session that crashes takes its cookie with it" do
        {:ok, _started} = Application.ensure_all_started(:logger)
        connect("app-0")
        [{session, _}] = Sessions.list()

        log =
          ExUnit.CaptureLog.capture_log(fn ->
            :sys.replace_state(session, fn {_up, data} -> {:no_such_state, data} end)
            send(session, :anything)
            await(fn -> not Process.alive?(session) end)
          end)

        refute log =~ "cookie:"
        await(&nothing_left?/0)
      end
    end
  end
end
