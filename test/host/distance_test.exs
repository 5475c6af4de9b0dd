defmodule K8sConnect.DistanceTest do
  # A cluster with a distance between laptop and node, measured by what programs on the laptop see.
  use ExUnit.Case, async: false

  import K8sConnect.Ground

  @moduletag :host
  @moduletag timeout: 300_000

  @name "ground"

  setup do
    cluster(@name, ["down"])
    on_exit(fn -> cluster(@name, ["down"]) end)
  end

  # Milliseconds of the best of several tries: a busy machine makes any of them late, and nothing
  # makes one early. A first one also asks for the node's hardware address. The API server says who
  # it does not know after one round trip, as it says /version to others; TCP and TLS take one each.
  @measure ~S"""
  best = fn tries, fun -> Enum.min(for(_ <- 1..tries, do: elem(:timer.tc(fun), 0))) / 1000 end
  {:ok, _} = Application.ensure_all_started(:ssl)
  node = {10, 200, 0, 1}
  get = "GET /version HTTP/1.1\r\nHost: node\r\n\r\n"

  connect = fn ->
    {:ok, socket} = :gen_tcp.connect(node, 6443, [], 30_000)
    socket
  end

  version = fn ->
    {:ok, socket} =
      :ssl.connect(node, 6443, [verify: :verify_none, active: false, nodelay: true], 30_000)

    :ok = :ssl.send(socket, get)
    {:ok, 'HTTP/1.1 401' ++ _} = :ssl.recv(socket, 0, 30_000)
  end

  IO.puts("connect #{best.(10, connect)} version #{best.(10, version)}")
  """

  defp measure do
    shown = evaluate(@name, @measure)
    [_, connect, version] = Regex.run(~r/connect (\S+) version (\S+)/, shown)
    {String.to_float(connect), String.to_float(version)}
  end

  defp relays do
    for space <- ["node", "laptop"], line <- processes(@name, space), line =~ " relay ", do: line
  end

  defp kill(pid), do: {_output, 0} = System.cmd("kill", ["-KILL", String.trim(pid)])

  # What a device has sent or received until now.
  defp frames(space, counter) do
    device = "#{@name}-#{space}"
    file = "/sys/class/net/#{device}/statistics/#{counter}"
    {number, 0} = System.cmd("ip", ["netns", "exec", device, "cat", file])
    number |> String.trim() |> String.to_integer()
  end

  test "with --delay each round trip takes as much longer, with --loss some of the packets go" do
    assert {_output, 0} = cluster(@name, ["up", "--delay", "50ms", "--loss", "1%"])
    assert [_relay] = relays()
    assert cluster!(@name, ["status"]) =~ "--delay 50ms --loss 1%"

    {connect, version} = measure()
    assert connect >= 50 and connect < 100
    assert version >= 150 and version < 250

    before = {frames("laptop", "tx_packets"), frames("node", "rx_packets")}

    evaluate(@name, """
    {:ok, socket} = :gen_udp.open(0)
    for _ <- 1..10_000, do: :ok = :gen_udp.send(socket, {10, 200, 0, 1}, 9, "lost?")
    """)

    {sent, received} =
      await(fn ->
        now = {frames("laptop", "tx_packets"), frames("node", "rx_packets")}
        # More than all of them but the lost ones, after the delay.
        if elem(now, 1) - elem(before, 1) > 9700, do: now
      end)

    lost = sent - elem(before, 0) - (received - elem(before, 1))
    assert lost in 40..250

    assert {output, 1} = cluster(@name, ["up", "--delay", "60ms"])
    assert output =~ "ground runs with --delay 50ms --loss 1%. Try: script/cluster down"
    assert {"", 0} = cluster(@name, ["up"])

    # The relay outlives the node, and is not taken for it.
    kill(File.read!("/var/lib/k8s_connect/#{@name}/pid"))
    # Half of it may be gone when it is asked.
    await(fn -> cluster(@name, ["status"]) == {"#{@name} is down\n", 0} end)
    assert [_relay] = relays()
    assert {"", 0} = cluster(@name, ["down"])
    assert left(@name) == []
  end

  test "without them there is no relay, and no distance" do
    assert {_output, 0} = cluster(@name, ["up"])
    assert relays() == []
    {connect, version} = measure()
    assert connect < 25 and version < 50
  end

  test "a distance is a number of milliseconds, a loss a part" do
    for words <- [
          ["--delay"],
          ["--delay", "50"],
          ["--delay", "-1ms"],
          ["--loss", "1"],
          ["--loss", "100%"],
          ["--far"]
        ] do
      assert {output, 2} = cluster(@name, ["up" | words])
      assert output =~ "usage: script/cluster"
    end
  end
end
