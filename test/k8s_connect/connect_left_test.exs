# What is left of a connection, whatever is spoken on the way to the pod.
for {name, protocol, cycles, portable} <- [
      {K8sConnect.ConnectLeftTest, :auto, 1000, false},
      {K8sConnect.ConnectLeftByWebSocketTest, :websocket, 200, false},
      {K8sConnect.ConnectLeftByV4Test, :v4, 200, false},
      # As on macOS
      {K8sConnect.ConnectLeftPortablyTest, :auto, 50, true}
    ] do
  defmodule name do
    use K8sConnect.ConnectCase, protocol: protocol, portable: portable

    alias K8sConnect.{Native, Route, Sessions}
    alias K8sConnect.Route.NetKernel
    alias K8sConnect.Route.VM.Dist

    @cycles cycles

    defp threads, do: length(File.ls!("/proc/self/task"))
    defp descriptors, do: length(File.ls!("/proc/self/fd"))

    # KiB
    defp resident do
      [_, kib] = Regex.run(~r/VmRSS:\s+(\d+)/, File.read!("/proc/self/status"))
      String.to_integer(kib)
    end

    defp sockets(state) do
      for file <- ["tcp", "tcp6"],
          [_, _, _, ^state | _] = line <-
            "/proc/self/net/#{file}"
            |> File.read!()
            |> String.split("\n")
            |> Enum.map(&String.split/1),
          do: line
    end

    describe "nothing is left" do
      test "no listening socket and no file, while connected and after" do
        listening = sockets("0A")
        connect()
        assert sockets("0A") == listening

        for directory <- [System.tmp_dir!(), System.get_env("XDG_RUNTIME_DIR", "/tmp")],
            do: assert(Path.wildcard("#{directory}/k8s_connect-#{System.pid()}-*") == [])
      end

      test "after each of our processes is killed" do
        # The supervisor gives up after four restarts in five seconds, and counts those of the module before.
        _stopped = Application.stop(:k8s_connect)

        for victim <- [:session, :route, :supervisor] do
          node = connect().node
          native = native(node)
          Node.monitor(node, true)
          Process.exit(pid_of(victim), :kill)
          assert_receive {:nodedown, ^node}, 5_000
          reference = make_ref()
          :ok = Native.closed(reference, native)
          assert_receive {^reference, {:ok, _reason}}, 5_000

          await(&nothing_left?/0)
        end
      end

      test "when the port-forward connection closes, and it is not to reconnect" do
        node = connect("app-0", reconnect: false).node
        Node.monitor(node, true)
        Native.close(native(node))
        assert_receive {:nodedown, ^node}, 5_000
        await(&nothing_left?/0)
      end

      test "when the local node is stopped, and it is not to reconnect" do
        node = connect("app-0", reconnect: false).node
        :net_kernel.stop()
        await(&nothing_left?/0)
        assert connect().node == node
        assert NetKernel.installed?(Dist)
      end

      test "when the port-forward connection closes, and it reconnects" do
        connection = connect()
        reference = K8sConnect.subscribe(connection)
        assert_receive {:k8s_connect, ^reference, {:up, _connection}}
        Native.close(native(connection.node))
        assert_receive {:k8s_connect, ^reference, {:reconnecting, _error, 1, 0}}, 5_000
        assert_receive {:k8s_connect, ^reference, {:up, _connection}}, 10_000
        assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
      end

      test "when the user disconnects the node" do
        node = connect().node
        Node.disconnect(node)
        await(&nothing_left?/0)
      end

      test "after #{@cycles} times" do
        cycle = fn ->
          K8sConnect.disconnect(connect())
          refute Node.alive?()
        end

        # OTP's program that looks up names, which stays once it runs.
        _ = :inet_gethost_native.gethostbyname(~c"localhost")
        for _ <- 1..20, do: cycle.()

        measure = fn ->
          :erlang.garbage_collect()

          {descriptors(), length(Process.list()), :erlang.system_info(:atom_count), threads()}
        end

        {descriptors, processes, atoms, threads} = measure.()
        memory = resident()
        for _ <- 1..@cycles, do: cycle.()
        # A thread that has read a file is kept for a moment.
        await(fn -> descriptors() <= descriptors and threads() <= threads end)
        {_, processes_after, atoms_after, _threads} = measure.()
        assert processes_after <= processes + 2
        # One for the name that the local node has each time, and nothing else.
        assert atoms_after - atoms <= @cycles + 50
        # 16 KiB a time would be a leak of anything; what is seen is a few MiB in all.
        assert resident() - memory < 16_000
      end
    end

    defp pid_of(:session), do: Sessions.list() |> hd() |> elem(0)
    defp pid_of(:route), do: Process.whereis(Route)
    defp pid_of(:supervisor), do: Process.whereis(Sessions.Supervisor)
  end
end
