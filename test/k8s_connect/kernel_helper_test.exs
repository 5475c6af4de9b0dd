defmodule K8sConnect.KernelHelperTest do
  # The helper of the kernel route on the laptop: killed, stopped, asked for too much, or run by sudo.
  use ExUnit.Case, async: false

  import K8sConnect.{KernelConnections, Laptop, Tmp}

  alias K8sConnect.{Error, Helper, PlainNode}

  @moduletag :kernel
  @moduletag timeout: 120_000

  setup_all :use_helper
  setup :tmp_dir
  setup :disconnect_all

  describe "the helper" do
    test "that is killed is there again, with the whole set", context do
      connection = connect()
      connect("newline-cookie")
      [helper] = helpers()
      {_output, 0} = System.cmd("kill", ["-KILL", helper])
      await(fn -> helpers() not in [[], [helper]] end)
      {plain, _name} = plain(home: home(context.tmp_dir))
      assert PlainNode.eval(plain, "Node.connect(#{inspect(connection.node)})") == "true"
      # Open connections go to the listener itself, and do not need the helper.
      assert :erpc.call(connection.node, :erlang, :node, [], 10_000) == connection.node
      PlainNode.stop(plain)
    end

    test "that dies while something is released takes nobody with it" do
      kept = connect()
      gone = connect("newline-cookie")
      [helper] = helpers()
      {_output, 0} = System.cmd("kill", ["-KILL", helper])
      K8sConnect.disconnect(gone)
      assert [^kept] = K8sConnect.connections()
      assert :erpc.call(kept.node, :erlang, :node, [], 10_000) == kept.node
    end

    test "that refuses one claim keeps the others" do
      kept = connect()
      {:ok, listener} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
      {:ok, via} = :inet.port(listener)

      for {address, kind} <- [{"10.200.0.2:5555", :bad_destination}, {"10.9.9.9:22", :low_port}] do
        assert {:error, %Error{stage: :helper, reason: {^kind, _}}} =
                 Helper.claim(:other, self(), [{address, via}], false)
      end

      # One that was right and is not any more, because its listener has gone.
      assert Helper.claim(:stale, self(), [{"10.9.9.9:5555", via}], false) == :ok
      :gen_tcp.close(listener)
      assert connect("newline-cookie").route == :kernel
      assert_received {:redirects_lost, :stale, %Error{reason: {:no_listener, %{via: ^via}}}}
      assert kept in K8sConnect.connections()
      assert :erpc.call(kept.node, :erlang, :node, []) == kept.node
    end

    test "is not run by sudo for those who have not asked for it" do
      kept = connect()
      sudo = connect("newline-cookie", sudo: true)
      K8sConnect.disconnect(sudo)
      [helper] = helpers()
      {_output, 0} = System.cmd("kill", ["-KILL", helper])
      await(fn -> helpers() not in [[], [helper]] end)
      assert {"", 1} = System.cmd("pgrep", ["--full", "^sudo -n -- /usr/local/libexec"])
      assert kept in K8sConnect.connections()
    end

    test "that is killed three times in a minute ends its sessions with the reason" do
      {:ok, _started} = Application.ensure_all_started(:logger)
      connection = connect()
      subscription = K8sConnect.subscribe(connection)

      log =
        ExUnit.CaptureLog.capture_log(fn ->
          for _death <- 1..3 do
            helper = await(fn -> with [one] <- helpers(), do: one, else: (_ -> nil) end)
            {_output, 0} = System.cmd("kill", ["-KILL", helper])
            await(fn -> helpers() != [helper] end)
          end

          assert_receive {:k8s_connect, ^subscription, {:down, %Error{stage: :helper}}}, 10_000
          assert K8sConnect.connections() == []
        end)

      assert log =~ "lost #{connection.node}: the helper failed 3 times"
      assert log =~ "was killed by signal 9"
      assert helpers() == []
    end

    # The kill often comes before the helper's first frame.
    test "that is killed as it starts is started again" do
      for _round <- 1..10 do
        connection = connect()
        [helper] = helpers()
        {_output, 0} = System.cmd("kill", ["-KILL", helper])
        second = started_after(helper)
        {_output, 0} = System.cmd("kill", ["-KILL", second])
        await(fn -> match?([third] when third not in [helper, second], helpers()) end)
        assert connection in K8sConnect.connections()
        K8sConnect.disconnect(connection)
      end
    end

    defp started_after(helper), do: Enum.find(helpers(), &(&1 != helper)) || started_after(helper)

    test "that is killed as sudo starts it is started again", context do
      connection = connect("app-0", sudo: true)
      [helper] = helpers()
      [real, flag] = [System.find_executable("sudo"), Path.join(context.tmp_dir, "flag")]
      killed_once = "[ -e #{flag} ] || { touch #{flag}; kill -KILL $$; }; exec #{real} \"$@\""

      with_sudo(context.tmp_dir, killed_once, fn ->
        {_output, 0} = System.cmd(real, ["kill", "-KILL", helper])
        await(fn -> File.exists?(flag) and helpers() not in [[], [helper]] end)
      end)

      assert K8sConnect.connections() == [connection]
    end

    test "that sudo does not run any more stays for those who have not asked for sudo", context do
      kept = connect()
      connect("newline-cookie", sudo: true)
      [helper] = helpers()

      with_sudo(context.tmp_dir, "exit 1", fn ->
        {_output, 0} = System.cmd("kill", ["-KILL", helper])
        await(fn -> K8sConnect.connections() == [kept] end)
      end)

      await(fn -> helpers() not in [[], [helper]] end)
    end

    # With this script in the place of sudo.
    defp with_sudo(directory, script, fun) do
      file = Path.join(directory, "sudo")
      File.write!(file, "#!/bin/sh\n" <> script)
      File.chmod!(file, 0o755)
      path = System.get_env("PATH")
      on_exit(fn -> System.put_env("PATH", path) end)
      System.put_env("PATH", directory <> ":" <> path)
      fun.()
      System.put_env("PATH", path)
    end

    test "that does not answer is told as such, and ended" do
      connect()
      [helper] = helpers()
      {_output, 0} = System.cmd("kill", ["-STOP", helper])

      assert {:error, %Error{stage: :helper, reason: {:timed_out, _}}} =
               K8sConnect.connect("newline-cookie", route: :kernel)

      refute helper in helpers()
      # The next one has what the stopped one had.
      assert connect("newline-cookie").route == :kernel
      assert [_one] = helpers()
    end

    test "by sudo, where none is installed" do
      remove_helper()
      on_exit(&install_helper/0)
      connection = connect("app-0", sudo: true)
      assert connection.route == :kernel
      assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
      K8sConnect.disconnect(connection)
      assert_nothing_left()
    end
  end
end
