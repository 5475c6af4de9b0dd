defmodule K8sConnect.KernelFirewallTest do
  # The kernel route on machines that are set up in other ways. SECURITY.md has the table; a test
  # for each of its lines.
  use ExUnit.Case, async: false

  import K8sConnect.{Laptop, Tmp}

  alias K8sConnect.{Connection, Error, PlainNode}

  @moduletag :kernel
  @moduletag timeout: 120_000

  @laptop "k8sc-laptop"

  setup_all do
    install_helper()
    on_exit(fn -> System.cmd("epmd", ["-kill"], stderr_to_stdout: true) end)
  end

  setup :tmp_dir

  setup do
    on_exit(fn ->
      for connection <- K8sConnect.connections(), do: K8sConnect.disconnect(connection)
      assert left() == []

      assert sudo("""
             nft list tables | grep -E 'firewall|other'
             iptables-legacy-save -t nat | grep 10.99.0.1
             ip route show default
             true
             """) == ""
    end)
  end

  # Sets the machine up, and back after the test.
  defp with_machine(set_up, back) do
    on_exit(fn -> sudo(back) end)
    sudo(set_up)
  end

  defp connect do
    assert {:ok, %Connection{route: :kernel} = connection} =
             K8sConnect.connect("app-0", route: :kernel)

    assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
    connection
  end

  defp plain(context) do
    port = PlainNode.start(name: "plain@127.0.0.1", home: home(context.tmp_dir))
    on_exit(fn -> if Port.info(port), do: Port.close(port) end)
    port
  end

  test "no default route, the laptop as it is: works, by a route of the helper's" do
    assert sudo("ip route show default") == ""
    connection = connect()
    assert sudo("ip route get #{connection.ip} uid 4200") =~ ~r/dev kc\d+/
  end

  test "a default route, as with a VPN: works, without a route of the helper's" do
    with_machine("ip route add default via 10.200.0.1", "ip route del default via 10.200.0.1")
    connection = connect()
    assert sudo("ip route get #{connection.ip} uid 4200") =~ @laptop
    refute sudo("ip -o link") =~ ~r/kc\d+:/
  end

  test "flushing the ruleset: does not touch it" do
    with_machine(
      "nft add table ip other; nft add chain ip other c '{ type filter hook output priority 0; }'",
      "nft delete table ip other 2> /dev/null; true"
    )

    connection = connect()
    sudo("nft flush ruleset")
    refute sudo("nft list tables") =~ "other"
    assert sudo("nft list tables") =~ "k8s_connect"
    assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
    {:ok, ip} = :inet.parse_address(to_charlist(connection.ip))
    assert {:ok, socket} = :gen_tcp.connect(ip, 5555, [], 1000)
    :gen_tcp.close(socket)
    # Nor can it be deleted by anybody else.
    {:error, output} = attempt("nft delete table inet #{table()}")
    assert output =~ "Operation not permitted"
  end

  test "a rule of iptables-legacy beside it: works" do
    with_machine(
      "iptables-legacy -t nat -A OUTPUT -p tcp -d 10.99.0.1 --dport 80 -j DNAT --to-destination 127.0.0.1:8080",
      "iptables-legacy -t nat -F OUTPUT"
    )

    connect()
  end

  # A drop is final, whoever says it: not ours to mend, and told as what it is.
  test "denying what leaves, unless by the loopback device: does not work, and is told" do
    with_machine(deny(""), "nft delete table inet firewall")

    assert {:error, %Error{stage: :route, reason: {:blocked, %{problem: problem}}} = error} =
             K8sConnect.connect("app-0", route: :kernel)

    assert problem =~ "timed out"
    assert Exception.message(error) =~ "is there a firewall"
    assert left() == []
    assert {:ok, %Connection{route: :vm}} = K8sConnect.connect("app-0", route: :auto)
  end

  test "denying what leaves, unless to the loopback's addresses: works" do
    with_machine(deny("ip daddr 127.0.0.0/8 accept"), "nft delete table inet firewall")
    connect()
  end

  test "denying what leaves, unless it was redirected: works" do
    with_machine(deny("ct status dnat accept"), "nft delete table inet firewall")
    connect()
  end

  test "no route, and no TUN device for this user: does not work, and is told" do
    with_machine("chmod 600 /dev/net/tun", "chmod 666 /dev/net/tun")

    assert {:error, %Error{stage: :helper, reason: {:no_route, %{problem: problem}}}} =
             K8sConnect.connect("app-0", route: :kernel)

    assert problem =~ "/dev/net/tun cannot be opened: Permission denied"
    with_machine("ip route add default via 10.200.0.1", "ip route del default via 10.200.0.1")
    connect()
  end

  # What the facts of the kernel are: with the last rule that translates, an open connection's bytes
  # would go to the pod's address itself. So the helper ends connections before its rules go.
  describe "nothing leaves the laptop in clear" do
    setup context do
      with_machine("ip route add default via 10.200.0.1", "ip route del default via 10.200.0.1")
      connection = connect()
      {:ok, ip} = :inet.parse_address(to_charlist(connection.ip))
      writer = plain(context)
      # A connection that is open and goes on writing, whatever happens: the node waits for all of
      # a first message of 64 KiB.
      writing =
        "{:ok, s} = :gen_tcp.connect(#{inspect(ip)}, 5555, [:binary, active: false]); " <>
          "write = fn write, data -> case :gen_tcp.send(s, data) do " <>
          ":ok -> Process.sleep(1); write.(write, \"IN CLEAR\"); error -> error end end; " <>
          "spawn(fn -> write.(write, <<0xFFFF::16>>) end) |> is_pid()"

      assert PlainNode.eval(writer, writing) == "true"
      sniffer = sniff(connection.ip)
      on_exit(fn -> if Port.info(sniffer), do: Port.close(sniffer) end)
      {:ok, connection: connection, writer: writer, sniffer: sniffer}
    end

    test "when a session ends", %{connection: connection, sniffer: sniffer} do
      K8sConnect.disconnect(connection)
      assert left() == []
      assert seen(sniffer, connection.ip) == []
    end

    # Every connection that goes by it is ended first, ours among them.
    test "when the helper is told to end", %{connection: connection, sniffer: sniffer} do
      [helper] = helpers()
      {_output, 0} = System.cmd("kill", ["-TERM", helper])
      await(fn -> K8sConnect.connections() == [] end)
      assert left() == []
      assert seen(sniffer, connection.ip) == []
    end

    test "when the BEAM is killed", context do
      %{connection: connection, sniffer: sniffer, writer: writer} = context
      K8sConnect.disconnect(connection)
      PlainNode.stop(writer)
      {beam, pid} = other_beam()
      socket = open(connection.ip)
      {_output, 0} = System.cmd("kill", ["-KILL", pid])
      PlainNode.await_end(beam)
      await(fn -> helpers() == [] end)
      assert left() == []
      assert {:error, _aborted} = :gen_tcp.send(socket, "IN CLEAR")
      assert seen(sniffer, connection.ip) == []
      :gen_tcp.close(socket)
    end

    # The control, and what SECURITY.md says of it: nobody is there to end anything.
    test "but when the BEAM and the helper are killed at once", context do
      %{connection: connection, sniffer: sniffer, writer: writer} = context
      K8sConnect.disconnect(connection)
      PlainNode.stop(writer)
      {beam, pid} = other_beam()
      socket = open(connection.ip)
      [helper] = helpers()
      {_output, 0} = System.cmd("kill", ["-KILL", helper, pid])
      PlainNode.await_end(beam)
      assert left() == []
      _ = :gen_tcp.send(socket, "IN CLEAR")
      assert [_packet | _more] = seen(sniffer, connection.ip)
      :gen_tcp.close(socket)
    end
  end

  # Another BEAM of ours, connected by the kernel route, and its process id.
  defp other_beam do
    code = Path.dirname(:code.which(K8sConnect))
    env = [{"KUBECONFIG", System.get_env("KUBECONFIG")}]
    beam = PlainNode.start(words: ["-pa", code], env: env)
    on_exit(fn -> if Port.info(beam), do: Port.close(beam) end)
    PlainNode.eval(beam, ~s|K8sConnect.connect!("app-0", route: :kernel).node|)
    {beam, beam |> PlainNode.eval("System.pid()") |> String.trim(~s("))}
  end

  # A connection of this program's that the node waits on: a first message of 64 KiB.
  defp open(ip) do
    {:ok, ip} = :inet.parse_address(to_charlist(ip))
    {:ok, socket} = :gen_tcp.connect(ip, 5555, [:binary, active: false])
    :ok = :gen_tcp.send(socket, <<0xFFFF::16>>)
    socket
  end

  defp sniff(ip) do
    port =
      Port.open({:spawn_executable, System.find_executable("sudo")}, [
        :binary,
        :exit_status,
        :stderr_to_stdout,
        line: 1000,
        args:
          ~w(-n tcpdump --immediate-mode -l -n -i #{@laptop}) ++
            ["host #{ip} or host 10.200.0.99"]
      ])

    assert_receive {^port, {:data, {:eol, "listening on" <> _}}}, 10_000
    port
  end

  # Packets come in their order: when the mark is there, everything before it is.
  defp seen(port, ip) do
    {:ok, mark} = :gen_udp.open(0)
    :ok = :gen_udp.send(mark, {10, 200, 0, 1}, 9, "mark")
    :gen_udp.close(mark)
    sudo("ip neigh replace 10.200.0.99 lladdr 02:00:00:00:00:01 dev #{@laptop}")
    {:ok, mark} = :gen_udp.open(0)
    :ok = :gen_udp.send(mark, {10, 200, 0, 99}, 9, "mark")
    :gen_udp.close(mark)
    collect(port, ip, [])
  end

  defp collect(port, ip, packets) do
    receive do
      {^port, {:data, {_eol, line}}} ->
        cond do
          line =~ "10.200.0.99" -> Enum.reverse(packets)
          line =~ ip -> collect(port, ip, [line | packets])
          true -> collect(port, ip, packets)
        end
    after
      10_000 -> flunk("the sniffer does not see the mark")
    end
  end

  # The API server is what has to be reached all the same.
  defp deny(exception) do
    """
    nft -f - <<'RULES'
    table inet firewall {
      chain output {
        type filter hook output priority 0; policy drop;
        ip daddr 10.200.0.1 accept
        oifname "lo" accept
        #{exception}
      }
    }
    RULES
    """
  end

  defp table do
    [_, name] = Regex.run(~r/table inet (k8s_connect_\w+)/, sudo("nft list tables"))
    name
  end

  defp attempt(line) do
    case System.cmd("sudo", ["-n", "sh", "-c", line], stderr_to_stdout: true) do
      {output, 0} -> {:ok, output}
      {output, _status} -> {:error, output}
    end
  end
end
