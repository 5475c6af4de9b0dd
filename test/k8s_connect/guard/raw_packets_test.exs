defmodule K8sConnect.GuardRawPacketsTest do
  # Packets that no VM sends. With the guard they do no harm; with `trust: true` they do, which proves that they are real:
  # on OTP 25.2, 27.3 and 29.1 alike.
  use K8sConnect.GuardCase, route: :vm

  alias K8sConnect.{Error, PlainNode, RawNode}

  setup_all do
    names = [raw: ["raw"], other: ["other"], liar: ["liar", "192.0.2.9"]]

    nodes =
      honest(fn pod ->
        for {key, name} <- names, do: {key, :erpc.call(pod, RawNode, :start, name)}
      end)

    on_exit(fn -> honest(fn pod -> for {_key, node} <- nodes, do: RawNode.stop(pod, node) end) end)

    {:ok, nodes}
  end

  # By the VM of the pod, which is honest. A third load of the module would end processes of the first.
  defp honest(fun) do
    connection = connect()
    RawNode.load(connection.node)
    result = fun.(connection.node)
    K8sConnect.disconnect(connection)
    result
  end

  defp connect_raw(%{name: name, port: port}, options \\ []),
    do: connect([node: name, port: port, reconnect: false] ++ options)

  # The answer comes after the packets.
  defp call(connection, packets, given \\ nil),
    do: GenServer.call({:raw, connection.node}, {packets, given}, :infinity)

  # A process that calls, and then lives on.
  defp caller(connection, packets, given \\ nil) do
    caller = spawn(fn -> call(connection, packets, given) && Process.sleep(:infinity) end)
    on_exit(fn -> Process.exit(caller, :kill) end)
    caller
  end

  # A request for a process, which has no answer but what the packets are.
  defp request(connection, packets, options),
    do: :erlang.spawn_request(connection.node, :raw, packets, [nil], options)

  # Each call is followed by a message to a name, which is counted.
  defp arrived?(connection), do: await(fn -> refused(connection, :name) > 0 end)

  # Programs connect by the name, and would connect to that machine, where no guard is.
  test "a node named like another machine is for this BEAM only", %{liar: liar} do
    assert connect_raw(liar).node == :"liar@192.0.2.9"
    K8sConnect.disconnect(:"liar@192.0.2.9")

    pod = System.get_env("K8S_CONNECT_POD", "app-0")
    options = [log: false, route: :exec, node: liar.name, port: liar.port]

    assert {:error, %Error{stage: :route, reason: {:host_elsewhere, details}}} =
             K8sConnect.connect(pod, options)

    assert %{host: "192.0.2.9", route: :exec} = details
  end

  describe "a BEAM of its own" do
    # It ends by a signal: the VM reads memory that is none (SIGSEGV), or writes where the allocator notices it (SIGABRT).
    for {name, packets, given} <- [
          {"the end of the pod's own monitor", :monitor_and_its_end, "nil"},
          {"the removal of a local monitor", :demonitor,
           "Process.monitor(spawn(fn -> Process.sleep(:infinity) end))"},
          {"the removal of an alias", :demonitor, ":erlang.alias()"}
        ] do
      @packets packets
      @given given

      test "outlives #{name}, and with trust ends", %{raw: raw} do
        beam = beam(raw, [])
        assert PlainNode.eval(beam, calling(raw, @packets, @given)) == ":done"
        assert PlainNode.eval(beam, calling(raw, :nothing, "nil")) == ":done"

        assert PlainNode.eval(beam, "K8sConnect.status(hd(K8sConnect.connections())).refused") ==
                 "%{name: 2}"

        assert PlainNode.stop(beam) == 0

        beam = beam(raw, trust: true)
        Port.command(beam, calling(raw, @packets, @given) <> "\n")
        assert PlainNode.await_end(beam) in [128 + 6, 128 + 11]
      end
    end

    defp beam(raw, options) do
      beam =
        PlainNode.start(
          words: ["-pa", Application.app_dir(:k8s_connect, "ebin")],
          home: System.get_env("HOME")
        )

      pod = System.get_env("K8S_CONNECT_POD", "app-0")

      options =
        [log: false, route: :vm, node: raw.name, port: raw.port, reconnect: false] ++ options

      assert PlainNode.eval(
               beam,
               "K8sConnect.connect!(#{inspect(pod)}, #{inspect(options)}).state"
             ) == ":up"

      beam
    end

    defp calling(raw, packets, given),
      do: "GenServer.call({:raw, :#{inspect(raw.name)}}, {#{inspect(packets)}, #{given}}, 5000)"
  end

  describe "with trust, and not with the guard," do
    setup context do
      {:ok, connect: fn trust -> connect_raw(context.raw, trust: trust) end}
    end

    test "a call whose monitor is removed waits for ever", %{connect: connect} do
      for trust <- [false, true] do
        connection = connect.(trust)
        monitor = Process.monitor({:raw, connection.node})
        # Monitored from its beginning, as it may end at once.
        {caller, caller_ends} = spawn_monitor(fn -> call(connection, :demonitor_call) end)
        on_exit(fn -> Process.exit(caller, :kill) end)
        assert_receive {:DOWN, ^monitor, :process, _pid, :noconnection}, 5000

        if trust,
          do: refute_receive({:DOWN, ^caller_ends, :process, _pid, _reason}, 200),
          else: assert_receive({:DOWN, ^caller_ends, :process, _pid, {{:nodedown, _}, _}}, 5000)
      end
    end

    test "the end of a process here or in another pod is forged", %{
      connect: connect,
      other: other
    } do
      other = connect_raw(other)

      for trust <- [false, true], watched <- [victim(), {:raw, other.node}] do
        connection = connect.(trust)
        monitor = Process.monitor(watched)
        assert call(connection, :down, monitor) == :done

        if trust,
          do: assert_receive({:DOWN, ^monitor, :process, _pid, :forged}),
          else: refute_received({:DOWN, ^monitor, :process, _pid, _reason})

        Process.demonitor(monitor, [:flush])
        K8sConnect.disconnect(connection)
      end
    end

    test "a request for a process in another pod is answered", %{connect: connect, other: other} do
      other = connect_raw(other)

      for trust <- [false, true] do
        connection = connect.(trust)
        request = request(other, :nothing, [:monitor])
        assert call(connection, :spawn_reply, request) == :done

        if trust do
          assert_receive {:spawn_reply, ^request, :ok, pid}
          assert node(pid) == connection.node
        else
          refute_received {:spawn_reply, ^request, _result, _pid}
          assert refused(connection, :other) == 1
        end

        :erlang.spawn_request_abandon(request)
        K8sConnect.disconnect(connection)
      end
    end

    test "a process is linked that did not ask for it", %{connect: connect} do
      for trust <- [false, true] do
        connection = connect.(trust)

        {asking, monitor} =
          spawn_monitor(fn ->
            request(connection, :link, [:monitor]) && Process.sleep(:infinity)
          end)

        if trust do
          assert_receive {:DOWN, ^monitor, :process, ^asking, :boom}, 5000
        else
          assert arrived?(connection)
          assert Process.alive?(asking) and refused(connection, :link) == 1
        end

        K8sConnect.disconnect(connection)
      end
    end

    test "a process is killed, and has another group leader", %{connect: connect} do
      for trust <- [false, true] do
        connection = connect.(trust)
        [killed, led] = for packets <- [:kill, :leader], do: caller(connection, packets)
        assert await(fn -> Process.alive?(killed) != trust end)
        leader = fn -> led |> Process.info(:group_leader) |> elem(1) |> node() end
        assert await(fn -> leader.() == if(trust, do: connection.node, else: Node.self()) end)

        if not trust do
          assert await(fn -> refused(connection, :name) == 2 end)
          assert %{exit: 1, set_group_leader: 1} = K8sConnect.status(connection).refused
          assert Process.alive?(killed) and leader.() == Node.self()
        end

        K8sConnect.disconnect(connection)
      end
    end
  end

  describe "a packet that no OTP sends ends the session:" do
    for {name, packet} <- [
          {"a fragment", <<131, 69, 1::64, 1::64, 0, 131, 104, 3, 97, 2, 106, 106>>},
          {"a fragment of nothing", <<131, 70, 1::64, 1::64>>},
          {"a header of an atom cache", <<131, 68, 0, 104, 1, 97, 5>>},
          {"an atom of a cache", <<112, 131, 104, 3, 97, 2, 82, 0, 106, 131, 106>>},
          {"a compressed term", <<112, 131, 80, 4::32, :zlib.compress("h\x01a\x05")::binary>>},
          {"a list that has only a tail",
           <<112, 131, 104, 3, 97, 2, 106, 108, 0::32, 106, 131, 106>>},
          {"a tuple of four thousand million", <<112, 131, 105, 0xFFFFFFFF::32, 97, 2>>},
          {"an atom that is not UTF-8", <<112, 131, 104, 3, 97, 2, 119, 1, 255, 106, 131, 106>>},
          {"no control term", <<112>>}
        ] do
      @packet packet

      test name, %{raw: raw} do
        connection = connect_raw(raw)
        subscription = K8sConnect.subscribe(connection)
        caller(connection, {:bytes, @packet})
        assert_receive {:k8s_connect, ^subscription, {:down, %Error{} = error}}, 5000
        assert %Error{stage: :endpoint, reason: {:malformed_message, _details}} = error
      end
    end
  end

  # The guard does not decode terms.
  describe "what the VM does not take ends the connection, and what waits is told:" do
    # The VM logs the packet.
    setup do
      %{level: level} = :logger.get_primary_config()
      :ok = :logger.set_primary_config(:level, :none)
      on_exit(fn -> :logger.set_primary_config(:level, level) end)
    end

    for {name, packets} <- [
          {"the end of a process with a reason that is no term", :undecodable_down},
          {"the end of a process before its start", :ended_before_it_began}
        ] do
      @packets packets

      test name, %{raw: raw} do
        connection = connect_raw(raw)
        request = request(connection, @packets, [:monitor])
        assert_receive {:spawn_reply, ^request, :error, :noconnection}, 5000
      end
    end

    # The VM removes the link before it decodes a payload.
    test "the end of a linked process with a reason that is no term", %{raw: raw} do
      Process.flag(:trap_exit, true)
      connection = connect_raw(raw)
      monitor = Process.monitor({:raw, connection.node})
      request = request(connection, :linked, [:link])
      assert_receive {:spawn_reply, ^request, :ok, linked}, 5000
      caller(connection, :undecodable_exit, self())
      assert_receive {:DOWN, ^monitor, :process, _pid, :noconnection}, 5000
      assert_receive {:EXIT, ^linked, :noconnection}
    end
  end

  test "any number of empty packets passes", %{raw: raw} do
    connection = connect_raw(raw)
    assert call(connection, :ticks) == :done
    assert %{state: :up, refused: %{name: 1}} = K8sConnect.status(connection)
  end
end
