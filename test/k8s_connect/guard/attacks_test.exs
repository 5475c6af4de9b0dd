# What code in a pod tries here, through a real node: with the guard nothing of it works, and with `trust: true` the
# attacks that leave a mark do, which proves that they are real.
for {name, route} <- [
      {K8sConnect.GuardAttacksTest, :vm},
      {K8sConnect.GuardAttacksKernelTest, :kernel}
    ] do
  defmodule name do
    use K8sConnect.GuardCase, route: route

    alias K8sConnect.Attacks

    setup do
      directory = Path.join(System.tmp_dir!(), "guard-#{System.unique_integer([:positive])}")
      File.mkdir_p!(directory)
      on_exit(fn -> File.rm_rf!(directory) end)
      {:ok, harm: Path.join(directory, "harm")}
    end

    describe "an attack:" do
      # On the kernel route the guard does not know which processes are OTP's.
      for attack <- Attacks.all(), @route == :vm or :vm not in Tuple.to_list(attack) do
        [name, kind, code | marks] = Tuple.to_list(attack)

        test "#{name} is refused", %{harm: file} do
          connection = connect()
          before = refused(connection, unquote(kind))
          Attacks.run(connection.node, unquote(code), file)

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
            Attacks.run(connection.node, unquote(code), file)
            assert await(fn -> File.exists?(file) end)
            assert %{trust: true, refused: refused} = K8sConnect.status(connection)
            assert refused == %{}
          end
        end
      end
    end

    describe "with trust" do
      test "a guessed process can be ended, and without it not" do
        for {options, alive} <- [{[trust: true], false}, {[], true}] do
          connection = connect(options)
          pid = victim()
          code = "Process.exit(guess.(#{inspect(:erlang.pid_to_list(pid))}), :kill)"
          Attacks.run(connection.node, code, "/nowhere")
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

    test "the first refusal of a kind is told once" do
      connection = connect()
      reference = K8sConnect.subscribe(connection)

      code = "for _ <- 1..3, do: :erlang.spawn_request(here, :os, :cmd, [~c\"x\"], [])"
      Attacks.run(connection.node, code, "/nowhere")

      assert_receive {:k8s_connect, ^reference, {:refused, :spawn, "os:cmd/1"}}, 5000
      assert await(fn -> refused(connection, :spawn) == 3 end)
      refute_received {:k8s_connect, ^reference, {:refused, _kind, _detail}}
    end
  end
end
