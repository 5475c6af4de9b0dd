# What code in a pod tries here, through a real node: with the guard nothing of it works, and with `trust: true` the
# attacks that leave a mark do, which proves that they are real.
for {name, route, tag} <- [
      {K8sConnect.GuardTest, :vm, :cluster},
      {K8sConnect.GuardKernelTest, :kernel, :kernel}
    ] do
  defmodule name do
    use ExUnit.Case, async: false

    alias K8sConnect.Error

    @moduletag tag
    @route route
    @moduletag timeout: 180_000

    # For the code of the attacks.
    @tools """
    own = Process.group_leader()
    me = self()
    command = fn -> ~c"touch " ++ to_charlist(file) end

    # A process of that node by its number, which the pod was not told of.
    guess = fn text ->
      [_dot, id, serial] = text |> to_string() |> String.trim(">") |> String.split(".")
      binary = :erlang.term_to_binary(own)
      size = byte_size(binary) - 12
      <<head::binary-size(size), _id::32, _serial::32, creation::32>> = binary
      :erlang.binary_to_term(<<head::binary, String.to_integer(id)::32, String.to_integer(serial)::32, creation::32>>)
    end

    request = fn to, request ->
      reference = make_ref()
      send(to, {:io_request, me, reference, request})
      receive do
        {:io_reply, ^reference, reply} -> reply
      after
        1000 -> :nothing
      end
    end

    child = fn -> {{:attack, make_ref()}, {:os, :cmd, [command.()]}, :temporary, 1000, :worker, []} end
    """

    # {name, kind that is counted, code in the pod}. The command of the code creates a file here.
    @attacks [
      {"erpc", :spawn, ":erpc.call(here, :os, :cmd, [command.()], 2000)"},
      {"rpc", :spawn, ":rpc.call(here, :os, :cmd, [command.()], 2000)"},
      {"spawn", :spawn, "Node.spawn(here, :os, :cmd, [command.()])"},
      {"spawn_monitor", :spawn, ":erlang.spawn_opt(here, :os, :cmd, [command.()], [:monitor])"},
      {"spawn_request", :spawn, ":erlang.spawn_request(here, :os, :cmd, [command.()], [])"},
      {"a spawn by net_kernel", :name,
       "send({:net_kernel, here}, {:\"$gen_call\", {me, make_ref()}, {:spawn, :os, :cmd, [command.()], own}})"},
      {"put_chars by a function", :io_request,
       "request.(own, {:put_chars, :unicode, :os, :cmd, [command.()]})"},
      {"put_chars in the old form", :io_request,
       "request.(own, {:put_chars, :os, :cmd, [command.()]})"},
      {"get_until by a function", :io_request,
       "request.(own, {:get_until, :unicode, ~c\"\", :os, :cmd, [command.()]})", :refused},
      {"requests", :io_request,
       "request.(own, {:requests, [{:put_chars, :unicode, \"\"}, {:put_chars, :unicode, :os, :cmd, [command.()]}]})"},
      {"a child of a guessed supervisor", :monitor,
       ":gen_server.call(guess.(supervisor), {:start_child, child.()}, 1000)"},
      {"a child without a monitor", :send,
       "send(guess.(supervisor), {:\"$gen_call\", {me, make_ref()}, {:start_child, child.()}})"},
      {"a child of a supervisor that was given out", :message,
       "send(given, {:\"$gen_call\", {me, make_ref()}, {:start_child, child.()}})"},
      {"a function for sys", :message,
       "send(given_server, {:system, {me, make_ref()}, {:replace_state, &:erlang.apply(:os, :cmd, [~c\"touch \#{file}\" | tl([&1])])}})",
       :refused},
      {"a function by sys at a guessed process", :send,
       "send(guess.(server), {:system, {me, make_ref()}, {:replace_state, :erlang.make_fun(:erlang, :display, 1)}})",
       :refused},
      {"keys", :group_leader, "send(own, {me, {:data, ~c\"os:cmd(id).\\n\"}})", :refused},
      {"an expand_fun", :io_request,
       "request.(own, {:setopts, [expand_fun: :erlang.make_fun(:os, :cmd, 1)]})", :refused},
      {"a function in the options of a parser", :io_request,
       "request.(own, {:get_until, :unicode, ~c\"\", :erl_scan, :tokens, [1, [{:reserved_word_fun, :erlang.make_fun(:os, :cmd, 1)}]]})",
       :refused},
      {"a format that fills the memory", :io_request, ":io.format(own, ~c\"~1000000000c\", [?a])",
       :refused},
      {"a prompt that is formatted", :io_request,
       "request.(own, {:get_line, :unicode, {:format, ~c\"~1000000000c\", [?a]}})", :refused},
      {"code_server by name", :monitor, ":gen_server.call({:code_server, here}, :x, 1000)",
       :refused},
      {"a handler of an event manager that was given out", :message,
       """
       handler = {%{strategy: :one_for_one}, [%{id: :x, start: {:os, :cmd, [command.()]}}]}
       order = {:add_handler, :supervisor, {:self, Supervisor.Default, {:ok, handler}}}
       send(given_events, {me, {me, make_ref()}, order})
       """},
      {"a call of rpc's server that was given out", :message,
       "send(given_rex, {me, {:call, :os, :cmd, [command.()], own}})"},
      {"the same from what looks like an answer", :message,
       "send(given_rex, {make_ref(), {:call, :os, :cmd, [command.()], own}})"},
      {"a message to a process of OTP that was given out", :message,
       "send(given_rex, {:anything, :at, :all})", :refused, :vm},
      {"an event of the logger that was given out", :message,
       """
       report = %{report_cb: fn _ -> :os.cmd(command.()) && {~c"x", []} end}
       send(given_logger, {:log, :error, %{}, report})
       """, :refused},
      {"a trace token", :other, ":seq_trace.set_token(:send, true); send(given_victim, :hello)",
       :refused},
      {"formatted text that the printer does not see", :io_request,
       "request.(own, {:requests, [{:put_chars, :unicode, :io_lib, :format, [~c\"~ts\", [~c\"x\"]]}]})",
       :refused},
      {"an answer of a group leader for another process", :message,
       "send(given_victim, {:reply, {{me, :x}, :y}})", :refused},
      {"an expression for a shell that was given out", :message,
       "send(given_victim, {:eval, given_victim, \"1\", %{}})", :refused},
      {"a format that calls a function", :io_request,
       """
       keys = %{:erlang.make_fun(:os, :cmd, 1) => 1, [command.()] => 2}
       request.(own, {:put_chars, :unicode, :io_lib, :format, [~c"~Kp", [&:erlang.apply/2, keys]]})
       """, if(System.otp_release() < "26", do: :refused)},
      {"a request that no group leader knows", :io_request,
       "request.(own, {:requests, [{:get_line, :unicode, \"\"}]})", :refused},
      {"a name", :name, "send({:logger, here}, {:log, :error, ~c\"x\", [], %{}})", :refused},
      {"the end of the VM by name", :name, "send({:init, here}, {:stop, :stop})", :refused},
      {"the end of the VM by number", :send, "send(guess.(~c\"<0.0.0>\"), {:stop, :stop})",
       :refused},
      {"the end of a guessed process", :exit, "Process.exit(guess.(victim), :kill)", :refused},
      {"a link", :link, "Process.link(guess.(victim)); Process.exit(me, :kill)", :refused},
      {"a link to what was given out", :link,
       "spawn(fn -> Process.link(given_victim); Process.exit(self(), :boom) end)", :refused},
      {"another group leader", :set_group_leader, "Process.group_leader(given_victim, me)",
       :refused},
      {"an 'EXIT' as a message", :message, "send(given_victim, {:EXIT, me, :boom})", :refused},
      {"a 'DOWN' as a message", :message,
       "send(given_victim, {:DOWN, make_ref(), :process, me, :x})", :refused},
      {"code", :send,
       "send(guess.(code_server), {:code_call, me, {:load_binary, :x, ~c\"\", \"\"}})", :refused},
      {"an answer for another process", :io_request,
       "send(own, {:io_request, own, :x, {:get_line, :unicode, ~c\"\"}})", :refused}
    ]

    setup do
      on_exit(fn ->
        for connection <- K8sConnect.connections(), do: K8sConnect.disconnect(connection)
      end)

      directory = Path.join(System.tmp_dir!(), "guard-#{System.unique_integer([:positive])}")
      File.mkdir_p!(directory)
      on_exit(fn -> File.rm_rf!(directory) end)
      {:ok, harm: Path.join(directory, "harm")}
    end

    # test/host/versions_test.exs runs this with each OTP on both sides.
    defp connect(options \\ []) do
      pod = System.get_env("K8S_CONNECT_POD", "app-0")
      K8sConnect.connect!(pod, [log: false, route: @route] ++ options)
    end

    defp victim do
      pid = spawn(fn -> Process.sleep(:infinity) end)
      on_exit(fn -> Process.exit(pid, :kill) end)
      pid
    end

    # Runs the code on the pod's node. Names of processes are only text there, unless they are given out.
    defp attack(node, code, file) do
      {:ok, supervisor} = Supervisor.start_link([], strategy: :one_for_one)
      {:ok, agent} = Agent.start_link(fn -> nil end)
      {:ok, events} = :gen_event.start_link()

      bindings = [
        here: Node.self(),
        file: file,
        supervisor: :erlang.pid_to_list(supervisor),
        server: :erlang.pid_to_list(agent),
        victim: :erlang.pid_to_list(victim()),
        code_server: :erlang.pid_to_list(Process.whereis(:code_server))
      ]

      given =
        for {name, pid} <- [
              given: supervisor,
              given_server: agent,
              given_events: events,
              given_victim: victim(),
              given_rex: Process.whereis(:rex),
              given_logger: Process.whereis(:logger)
            ],
            code =~ ~r/\b#{name}\b/,
            do: {name, pid}

      result =
        try do
          {value, _bindings} =
            :erpc.call(node, Code, :eval_string, [@tools <> code, bindings ++ given], 20_000)

          value
        catch
          kind, reason -> {kind, reason}
        end

      Supervisor.stop(supervisor)
      Agent.stop(agent)
      :gen_event.stop(events)
      result
    end

    defp await(fun, tries \\ 100) do
      cond do
        fun.() -> true
        tries == 0 -> false
        true -> Process.sleep(20) && await(fun, tries - 1)
      end
    end

    describe "an attack:" do
      # On the kernel route the guard does not know which processes are OTP's.
      for attack <- @attacks, @route == :vm or :vm not in Tuple.to_list(attack) do
        [name, kind, code | marks] = Tuple.to_list(attack)

        test "#{name} is refused", %{harm: file} do
          connection = connect()
          before = refused(connection, unquote(kind))
          attack(connection.node, unquote(code), file)

          assert await(fn -> refused(connection, unquote(kind)) > before end),
                 inspect(K8sConnect.status(connection))

          # A file would be there by now: a call takes the same way.
          assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
          refute File.exists?(file)
          assert %{state: :up, trust: false} = K8sConnect.status(connection)
        end

        if marks in [[], [nil]] do
          test "#{name} works with trust", %{harm: file} do
            connection = connect(trust: true)
            attack(connection.node, unquote(code), file)
            assert await(fn -> File.exists?(file) end)
            assert %{trust: true, refused: refused} = K8sConnect.status(connection)
            assert refused == %{}
          end
        end
      end
    end

    defp refused(connection, kind), do: Map.get(K8sConnect.status(connection).refused, kind, 0)

    describe "with trust" do
      test "a guessed process can be ended, and without it not" do
        for {options, alive} <- [{[trust: true], false}, {[], true}] do
          connection = connect(options)
          pid = victim()
          code = "Process.exit(guess.(#{inspect(:erlang.pid_to_list(pid))}), :kill)"
          attack(connection.node, code, "/nowhere")
          :erpc.call(connection.node, :erlang, :node, [])
          assert await(fn -> Process.alive?(pid) == alive end)
          K8sConnect.disconnect(connection)
        end
      end

      test "the group leader of a process here can be changed, and without it not" do
        for {options, local} <- [{[trust: true], false}, {[], true}] do
          connection = connect(options)
          pid = victim()

          :erpc.call(connection.node, Code, :eval_string, [
            "Process.group_leader(pid, self())",
            [pid: pid]
          ])

          leader = fn -> Process.info(pid, :group_leader) |> elem(1) |> node() end
          assert await(fn -> leader.() == Node.self() == local end)
          K8sConnect.disconnect(connection)
        end
      end
    end

    # `Exception.format/3` calls the function that a stack trace has for it, and the stack trace is the pod's.
    test "an exception of the pod's calls no function here when it is shown", %{harm: file} do
      code = """
      info = [error_info: %{module: :erlang, function: :apply}]
      {&:erpc.execute_call/4, [{:a, :b, 0, info}, :os, :cmd, [~c"touch " ++ to_charlist(file)]]}
      """

      for {options, harmed} <- [{[], false}, {[trust: true], true}] do
        %{node: node} = connection = connect(options)
        arguments = [code, [file: file]]
        {{reason, stack}, _bindings} = :erpc.call(node, Code, :eval_string, arguments)
        # It is no stack trace, and that is noticed after the function was called.
        shown = fn -> Exception.format(:error, reason, stack) end
        assert {_error_or_exit, _why} = try(do: shown.(), catch: (kind, why -> {kind, why}))
        assert File.exists?(file) == harmed
        K8sConnect.disconnect(connection)
      end
    end

    describe "what ends the session" do
      test "too many atoms" do
        assert :too_many_atoms =
                 failure([max_atoms: 5000], fn node ->
                   code = "for i <- 1..6000, do: String.to_atom(\"guard_\#{i}\")"
                   :erpc.call(node, Code, :eval_string, [code])
                 end)
      end

      test "too many functions" do
        assert :too_many_functions =
                 failure([], fn node ->
                   code =
                     "for i <- 0..80, a <- 0..255, do: :erlang.make_fun(:guard, :\"guard_\#{i}\", a)"

                   :erpc.call(node, Code, :eval_string, [code])
                 end)
      end

      test "a message that is too large" do
        assert :message_too_large =
                 failure([max_message: 100_000], fn node ->
                   :erpc.call(node, :binary, :copy, ["x", 200_000])
                 end)
      end
    end

    defp failure(options, fun) do
      connection = connect(options)
      reference = K8sConnect.subscribe(connection)
      catch_error(fun.(connection.node))

      assert_receive {:k8s_connect, ^reference,
                      {:down, %Error{stage: :endpoint, reason: {kind, _}} = error}},
                     10_000

      assert Exception.message(error) =~ to_string(connection.node)
      kind
    end

    test "the first refusal of a kind is told once" do
      connection = connect()
      reference = K8sConnect.subscribe(connection)

      code = "for _ <- 1..3, do: :erlang.spawn_request(here, :os, :cmd, [~c\"x\"], [])"
      attack(connection.node, code, "/nowhere")

      assert_receive {:k8s_connect, ^reference, {:refused, :spawn, "os:cmd/1"}}, 5000
      assert await(fn -> refused(connection, :spawn) == 3 end)
      refute_received {:k8s_connect, ^reference, {:refused, _kind, _detail}}
    end

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
