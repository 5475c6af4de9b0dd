# What works through the guard, on both routes.
for {name, route} <- [
      {K8sConnect.GuardUsesTest, :vm},
      {K8sConnect.GuardUsesKernelTest, :kernel}
    ] do
  defmodule name do
    use K8sConnect.GuardCase, route: route

    describe "ordinary uses" do
      setup do
        connection = connect()
        {:ok, connection: connection, node: connection.node}
      end

      # Nothing was refused.
      defp clean(connection), do: assert(K8sConnect.status(connection).refused == %{})

      test "calls", %{connection: connection, node: node} do
        assert :erpc.call(node, :erlang, :node, []) == node
        assert :rpc.call(node, :erlang, :node, []) == node
        assert [{:ok, _}] = :erpc.multicall([node], :erlang, :system_info, [:otp_release])
        assert length(GenServer.call({:kernel_sup, node}, :which_children)) > 3
        several = GenServer.multi_call([node], :kernel_sup, :which_children, 5000)
        assert {[{^node, [_child | _]}], []} = several
        assert :erpc.receive_response(:erpc.send_request(node, :erlang, :node, [])) == node
        assert {:badrpc, {:EXIT, {:boom, _}}} = :rpc.call(node, :erlang, :error, [:boom])
        assert catch_error(:erpc.call(node, Process, :sleep, [5000], 50)) == {:erpc, :timeout}
        clean(connection)
      end

      test "a server there, called, cast and asked through an alias", %{
        connection: connection,
        node: node
      } do
        {:ok, agent} = :erpc.call(node, Agent, :start, [Kernel, :self, []])
        assert Agent.get(agent, :erlang, :node, []) |> is_tuple() == false
        assert :ok = Agent.cast(agent, :erlang, :phash2, [])
        assert {:ok, agent} = :erpc.call(node, Agent, :start, [Kernel, :self, []])
        request = :gen_server.send_request(agent, {:get, {:erlang, :phash2, []}})
        assert {:reply, _hash} = :gen_server.receive_response(request, 2000)
        assert {:status, ^agent, _module, _items} = :sys.get_status(agent)
        clean(connection)
      end

      test "monitors and links", %{connection: connection, node: node} do
        pid = Node.spawn(node, Process, :sleep, [50])
        monitor = Process.monitor(pid)
        assert_receive {:DOWN, ^monitor, :process, ^pid, reason}, 2000
        assert reason in [:normal, :noproc]
        Process.flag(:trap_exit, true)
        linked = Node.spawn_link(node, :erlang, :exit, [:boom])
        assert_receive {:EXIT, ^linked, :boom}, 2000
        sleeper = Node.spawn(node, Process, :sleep, [:infinity])
        Process.link(sleeper)
        Process.exit(sleeper, :kill)
        assert_receive {:EXIT, ^sleeper, :killed}, 2000
        monitored = Process.monitor({:kernel_sup, node})
        assert Process.demonitor(monitored, [:flush, :info])
        clean(connection)
      end

      test "messages to this process", %{connection: connection, node: node} do
        me = self()
        Node.spawn(node, :erlang, :send, [me, {:hello, 42}])
        assert_receive {:hello, 42}, 2000
        alias = :erlang.alias()
        Node.spawn(node, :erlang, :send, [alias, :by_alias])
        assert_receive :by_alias, 2000
        clean(connection)
      end

      test "a process there that monitors this one", %{connection: connection, node: node} do
        pid = victim()

        code =
          "r = Process.monitor(pid); send(me, :monitored); receive do {:DOWN, ^r, _, _, why} -> send(me, {:down, why}) end"

        Node.spawn(node, Code, :eval_string, [code, [pid: pid, me: self()]])
        assert_receive :monitored, 5000
        Process.exit(pid, :kill)
        assert_receive {:down, :killed}, 2000
        clean(connection)
      end

      test "100 MB in both directions", %{connection: connection, node: node} do
        data = :binary.copy("0123456789", 10_000_000)
        assert :erpc.call(node, :erlang, :md5, [data]) == :erlang.md5(data)
        assert :erpc.call(node, :binary, :copy, ["0123456789", 10_000_000]) == data
        clean(connection)
      end

      test "large terms", %{connection: connection, node: node} do
        term = Enum.map(1..200_000, &{&1, "text #{&1}", [:a, &1 * 1.5], %{b: &1}})
        assert :erpc.call(node, :lists, :reverse, [term]) == Enum.reverse(term)
        bits = <<5::3>>
        fun = fn x -> x + 1 end

        other =
          {bits, make_ref(), self(), fun, &:erlang.node/0, 1.5e300, -1, 2 ** 100, -(2 ** 3000),
           ~c"abc", [1 | 2]}

        assert :erpc.call(node, :erlang, :hd, [[other]]) == other
        clean(connection)
      end

      test "what the pod prints", %{connection: connection, node: node} do
        text =
          ExUnit.CaptureIO.capture_io(fn ->
            :erpc.call(node, IO, :puts, ["printed über there"])
            :erpc.call(node, :io, :format, [~c"~p by ~ts~n", [:formatted, "ö"]])
            :erpc.call(node, IO, :inspect, [%{a: 1}])
          end)

        assert text == "printed über there\nformatted by ö\n%{a: 1}\n"
        clean(connection)
      end

      # The terminal of the user's shell ends at text that is not UTF-8.
      test "what the pod prints that is not UTF-8", %{connection: connection, node: node} do
        text =
          ExUnit.CaptureIO.capture_io(fn ->
            request = {:put_chars, :unicode, <<0xE9, "a\n">>}
            :erpc.call(node, :io, :request, [Process.group_leader(), request])
          end)

        assert String.valid?(text)
        if @route == :vm, do: assert(text == "éa\n")
        clean(connection)
      end

      test "what the pod prints, without sequences that act on the terminal", %{
        connection: connection,
        node: node
      } do
        evil = "\e]0;title\a\e[31mred\e[0m\e[2J"

        text =
          ExUnit.CaptureIO.capture_io(fn ->
            :erpc.call(node, IO, :write, [evil])
            :erpc.call(node, :io, :put_chars, [String.to_charlist(evil)])
            :erpc.call(node, :io, :format, [~c"~ts~c", [evil, 27]])
            :erpc.call(node, :io, :write, [:ok])
          end)

        # On the kernel route OTP itself connects, without a module of ours.
        if @route == :vm,
          do: assert(text == String.duplicate("\e[31mred\e[0m", 3) <> "ok"),
          else: assert(text =~ "ok")

        clean(connection)
      end

      test "what the pod reads", %{connection: connection, node: node} do
        text =
          ExUnit.CaptureIO.capture_io("Joe\n", fn ->
            send(self(), {:read, :erpc.call(node, IO, :gets, ["name? "])})
          end)

        assert text == "name? "
        assert_received {:read, "Joe\n"}
        clean(connection)
      end

      test "a ping by the pod", %{connection: connection, node: node} do
        assert :erpc.call(node, :net_adm, :ping, [Node.self()]) == :pong
        assert :erpc.call(node, Node, :ping, [Node.self()]) == :pong
        clean(connection)
      end

      test "observer_backend", %{connection: connection, node: node} do
        load(node, :observer_backend)
        assert length(:erpc.call(node, :observer_backend, :sys_info, [])) > 10
        :erpc.call(node, :observer_backend, :procs_info, [self()])
        assert_receive {:procs_info, _pid, [_ | _]}, 3000
        clean(connection)
      end

      # A release has no runtime_tools, and Elixir 1.15 and later take it from the code path. An older OTP may not load
      # what this one has compiled.
      defp load(node, module) do
        with {:error, _not_there} <- :erpc.call(node, :code, :ensure_loaded, [module]) do
          [file] = Path.wildcard("#{:code.lib_dir()}/runtime_tools-*/ebin/#{module}.beam")

          assert {:module, ^module} =
                   :erpc.call(node, :code, :load_binary, [
                     module,
                     to_charlist(file),
                     File.read!(file)
                   ])
        end
      end

      test "a trace of a process there, sent to this one", %{connection: connection, node: node} do
        code = """
        pid = spawn(fn -> receive do :go -> Enum.sum([1]) end end)
        tracer = spawn(fn ->
          :erlang.trace(pid, true, [:receive])
          send(pid, :go)
          receive do t -> send(me, t) end
        end)
        """

        :erpc.call(node, Code, :eval_string, [code, [me: self()]])
        assert_receive {:trace, _pid, :receive, :go}, 3000
        clean(connection)
      end

      test "names and groups there", %{connection: connection, node: node} do
        pid = Node.spawn(node, Process, :sleep, [:infinity])
        name = {:guarded, make_ref()}
        assert :yes = :erpc.call(node, :global, :register_name, [name, pid])
        assert :erpc.call(node, :global, :whereis_name, [name]) == pid
        assert {:ok, scope} = :erpc.call(node, :pg, :start, [:guarded_scope])
        assert :ok = :erpc.call(node, :pg, :join, [:guarded_scope, :group, pid])
        assert :erpc.call(node, :pg, :get_members, [:guarded_scope, :group]) == [pid]
        # Not by a signal, which the disconnect may overtake.
        assert :ok = :erpc.call(node, :gen_server, :stop, [scope])
        assert true = :erpc.call(node, Process, :exit, [pid, :kill])
        clean(connection)
      end

      test "many calls at once, none of them lost", %{connection: connection, node: node} do
        1..2000
        |> Task.async_stream(fn i -> assert :erpc.call(node, :erlang, :+, [i, 1]) == i + 1 end,
          max_concurrency: 50
        )
        |> Stream.run()

        clean(connection)
      end
    end
  end
end
