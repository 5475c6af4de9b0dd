defmodule K8sConnect.KernelWireTest do
  # What leaves the laptop by its cable while the kernel route is in use, and when it ends: nothing
  # that is meant for the pod. And what a connection does that is open at that moment.
  use ExUnit.Case, async: false

  import K8sConnect.{Laptop, Tmp}

  alias K8sConnect.{Connection, PlainNode}

  @moduletag :kernel
  @moduletag timeout: 120_000

  @api_server "10.200.0.1"
  # Nobody has it: packets to it mark the end of what the sniffer is to see.
  @mark "10.200.0.99"

  setup_all do
    install_helper()
    on_exit(fn -> System.cmd("epmd", ["-kill"], stderr_to_stdout: true) end)
  end

  setup :tmp_dir

  setup do
    on_exit(fn ->
      for connection <- K8sConnect.connections(), do: K8sConnect.disconnect(connection)
      sudo("ip route del default 2> /dev/null; nft delete table inet firewall 2> /dev/null; true")
      assert_nothing_left()
    end)

    # As with a VPN or any other network: what is not redirected would leave the machine.
    sudo("ip route add default via #{@api_server}")
    :ok
  end

  defp connect do
    assert {:ok, %Connection{route: :kernel} = connection} =
             K8sConnect.connect("app-0", route: :kernel)

    connection
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

  defp address(ip) do
    {:ok, address} = :inet.parse_address(to_charlist(ip))
    address
  end

  # A connection of this BEAM's. The guard waits for all of a first message of 200 bytes.
  defp open(ip) do
    {:ok, socket} = :gen_tcp.connect(address(ip), 5555, [:binary, active: false])
    :ok = :gen_tcp.send(socket, <<200::16, ?N>>)
    socket
  end

  defp ask_epmd(ip) do
    with {:ok, socket} <- :gen_tcp.connect(address(ip), 4369, [:binary, active: false], 500),
         :ok <- :gen_tcp.send(socket, <<1::16, ?n>>),
         do: :gen_tcp.recv(socket, 0, 1000)
  end

  test "while it is up, a plain node's traffic is not on the cable", context do
    connection = connect()
    sniffer = sniff(connection.ip)
    plain = PlainNode.start(name: "plain@127.0.0.1", home: home(context.tmp_dir))
    on_exit(fn -> if Port.info(plain), do: Port.close(plain) end)
    node = inspect(connection.node)
    assert PlainNode.eval(plain, "Node.connect(#{node})") == "true"
    assert PlainNode.eval(plain, ":erpc.call(#{node}, :erlang, :node, [])") == node
    assert {:ok, <<4369::32, _names::binary>>} = ask_epmd(connection.ip)
    PlainNode.stop(plain)
    assert seen(sniffer, connection.ip) == []
  end

  test "a session that ends closes what is open" do
    connection = connect()
    socket = open(connection.ip)
    sniffer = sniff(connection.ip)
    K8sConnect.disconnect(connection)
    assert_nothing_left()
    assert {:error, reason} = :gen_tcp.recv(socket, 0, 5_000)
    assert reason in [:closed, :econnreset]
    assert seen(sniffer, connection.ip) == []
  end

  test "a helper that is killed ends nothing, and what is new meanwhile is as without us" do
    connection = connect()
    socket = open(connection.ip)
    sniffer = sniff(connection.ip)
    [helper] = helpers()
    {_output, 0} = System.cmd("kill", ["-KILL", helper])
    :ok = :gen_tcp.send(socket, :binary.copy(" ", 100))
    assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
    assert {:error, :timeout} = :gen_tcp.recv(socket, 0, 100)
    assert seen(sniffer, connection.ip) == []
    await(fn -> helpers() not in [[], [helper]] end)
    await(fn -> match?({:ok, _names}, ask_epmd(connection.ip)) end)
    :gen_tcp.close(socket)
  end

  for who <- [:beam, :both] do
    test "a BEAM that is killed#{if who == :both, do: ", and its helper with it"}" do
      {:ok, pods} = K8sConnect.pods()
      ip = Enum.find_value(pods, &(&1.name == "app-0" && &1.ip))
      {beam, pid} = other_beam()
      socket = open(ip)
      sniffer = sniff(ip)
      pids = if unquote(who) == :both, do: [pid | helpers()], else: [pid]
      {_output, 0} = System.cmd("kill", ["-KILL" | pids])
      PlainNode.await_end(beam)
      await(fn -> helpers() == [] end)
      assert_nothing_left()
      assert {:error, reason} = :gen_tcp.recv(socket, 0, 5_000)
      assert reason in [:closed, :econnreset]
      assert seen(sniffer, ip) == []
      # The control: a new connection goes to the pod's address itself, and the sniffer sees it.
      sniffer = sniff(ip)
      _ = ask_epmd(ip)
      assert [_packet | _more] = seen(sniffer, ip)
    end
  end

  test "a firewall that denies all but the loopback device" do
    sudo("""
    nft -f - <<'RULES'
    table inet firewall {
      chain output {
        type filter hook output priority 0; policy drop;
        ip daddr #{@api_server} accept
        oifname "lo" accept
      }
    }
    RULES
    """)

    connection = connect()
    assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
  end

  test "rules, routes, devices and connection tracking stay as they are" do
    looks =
      "nft list ruleset; iptables-legacy-save; ip -d link; ip route show table all; " <>
        "ip -6 route show table all; cat /proc/sys/net/netfilter/nf_conntrack_count; true"

    before = sudo(looks)
    connection = connect()
    assert sudo(looks) == before
    K8sConnect.disconnect(connection)
    assert sudo(looks) == before
  end

  defp sniff(ip) do
    port =
      Port.open({:spawn_executable, System.find_executable("sudo")}, [
        :binary,
        :exit_status,
        :stderr_to_stdout,
        line: 1000,
        args:
          ~w(-n tcpdump --immediate-mode -l -n -i #{cable()}) ++
            ["host #{ip} or host #{@mark}"]
      ])

    on_exit(fn -> if Port.info(port), do: Port.close(port) end)
    assert_receive {^port, {:data, {:eol, "listening on" <> _}}}, 10_000
    port
  end

  # The laptop's other device is `lo`.
  defp cable do
    [_all, device] = Regex.run(~r/dev (\S+)/, sudo("ip route get #{@api_server}"))
    device
  end

  # Packets come in their order: when the mark is there, everything before it is.
  defp seen(port, ip) do
    sudo("ip neigh replace #{@mark} lladdr 02:00:00:00:00:01 dev #{cable()}")
    {:ok, mark} = :gen_udp.open(0)
    :ok = :gen_udp.send(mark, address(@mark), 9, "mark")
    :gen_udp.close(mark)
    collect(port, ip, [])
  end

  defp collect(port, ip, packets) do
    receive do
      {^port, {:data, {_eol, line}}} ->
        cond do
          line =~ @mark -> Enum.reverse(packets)
          line =~ ip -> collect(port, ip, [line | packets])
          true -> collect(port, ip, packets)
        end
    after
      10_000 -> flunk("the sniffer does not see the mark")
    end
  end
end
