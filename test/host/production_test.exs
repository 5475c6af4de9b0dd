defmodule K8sConnect.ProductionTest do
  # Three nodes that are one Erlang cluster, and what they notice of us, on either route: nothing.
  # With a control that shows that the same eyes see what a visible node does to them. As root, for
  # the control.
  use ExUnit.Case, async: false

  import K8sConnect.Project

  alias K8sConnect.Terminal

  @moduletag :host
  @moduletag timeout: 600_000

  @env [{"K8S_CONNECT_CLUSTER", "life"}]
  @pods ["trio-0", "trio-1", "trio-2"]
  @ticktime 4

  setup_all do
    on_exit(fn -> cluster(["down"]) end)
    assert {_output, 0} = cluster(["up"])
    assert {_output, 0} = cluster(["app", "trio", "--replicas", "3"])
    nodes = Enum.map(@pods, &rpc(&1, "node()"))

    for pod <- @pods do
      rpc(pod, ":net_kernel.set_net_ticktime(#{@ticktime}, 0)")
      for node <- nodes, do: rpc(pod, "Node.connect(#{node})")
    end

    %{nodes: nodes}
  end

  defp cluster(words), do: run(path("."), path("script/cluster"), words, @env)

  # As an admin, past all that is tested here.
  defp rpc(pod, expression) do
    words = [
      "kubectl",
      "exec",
      pod,
      "--",
      "/app/bin/app",
      "rpc",
      "IO.puts(inspect(#{expression}))"
    ]

    assert {output, 0} = cluster(words)
    output |> String.split("\n", trim: true) |> List.last()
  end

  # Each node's connections to the two others, by their ports: a new one would have another.
  defp connections do
    visible = "for {n, port} <- :erlang.system_info(:dist_ctrl), n in Node.list(), do: {n, port}"
    Enum.map(@pods, &rpc(&1, "Enum.sort(#{visible})"))
  end

  defp logs, do: Enum.map_join(@pods, fn pod -> cluster(["kubectl", "logs", pod]) |> elem(0) end)

  defp disturbed?(logs), do: logs =~ ~r/overlapping partitions|disconnected node|global/

  # The command, and the process id of its VM.
  defp hold(route) do
    arguments = ["laptop", "--helper", "mix", "k8s.connect", "trio-0", "--hold", "--route", route]

    port =
      Port.open({:spawn_executable, path("script/cluster")}, [
        :binary,
        :exit_status,
        :stderr_to_stdout,
        cd: path("."),
        args: arguments,
        env: [{~c"K8S_CONNECT_CLUSTER", ~c"life"}, {~c"MIX_ENV", ~c"dev"}]
      ])

    shown = Terminal.expect(port, ~r/end it with: kill \d+/)
    [_, pid] = Regex.run(~r/kill (\d+)/, shown)
    {port, pid}
  end

  # `iex --name` of the same user, in the same network, with nothing but a cookie in its home; and
  # the process id of its VM.
  defp plain_iex(node) do
    {cookie, 0} = cluster(~w(kubectl get secret trio-cookie -o jsonpath={.data.cookie}))
    home = "/var/lib/k8s_connect/life/laptop/plain"
    File.mkdir_p!(home)
    File.write!(Path.join(home, ".erlang.cookie"), Base.decode64!(cookie))
    {_output, 0} = System.cmd("chown", ["-R", "4200:4200", home])
    File.chmod!(Path.join(home, ".erlang.cookie"), 0o400)

    command = "env HOME=#{home} iex --name plain@127.0.0.1"
    iex = Terminal.open("#{path("script/cluster")} laptop #{command}", @env)
    Terminal.expect(iex, ~r/plain@127.0.0.1\)1> /)
    Terminal.type(iex, "Node.connect(#{node})\n")
    Terminal.expect(iex, ~r/true\s+iex/)
    Terminal.type(iex, "System.pid()\n")
    [_, pid] = Regex.run(~r/"(\d+)"/, Terminal.expect(iex, ~r/"\d+"/))
    {iex, pid}
  end

  defp kill(signal, pid), do: {_output, 0} = System.cmd("kill", ["-#{signal}", pid])

  defp hidden,
    do: rpc("trio-0", "Enum.count(Node.list(:hidden), &(to_string(&1) =~ ~r/^rem-dev/))")

  defp await(fun, tries \\ 60) do
    cond do
      fun.() -> :ok
      tries == 0 -> flunk("it never came")
      true -> await(fun, tries - 1)
    end
  end

  test "we connect, work, leave, are killed and are stopped: they notice nothing of it", %{
    nodes: nodes
  } do
    before = connections()

    for {seen, node} <- Enum.zip(before, nodes),
        other <- nodes -- [node],
        do: assert(seen =~ String.trim_leading(other, ":"))

    assert {output, 0} =
             cluster([
               "laptop",
               "mix",
               "k8s.connect",
               "trio-0",
               "--rpc",
               "Node.list() |> length()"
             ])

    assert output =~ ~r/^2$/m
    assert connections() == before

    for route <- ["vm", "kernel"] do
      {port, pid} = hold(route)
      assert hidden() == "1"
      kill("KILL", pid)
      Terminal.await_end(port)
      await(fn -> hidden() == "0" end)
      assert connections() == before

      # Stopped for longer than their tick time: they let go of us, and of nobody else.
      {port, pid} = hold(route)
      kill("STOP", pid)
      await(fn -> hidden() == "0" end)
      assert connections() == before
      kill("KILL", pid)
      Terminal.await_end(port)
    end

    # A node without our code, a visible one by its own word, on the kernel route.
    {port, pid} = hold("kernel")
    {plain, plain_pid} = plain_iex(hd(nodes))
    assert rpc("trio-0", "Node.list(:hidden)") =~ ~s(:"plain@127.0.0.1")
    refute rpc("trio-0", "Node.list()") =~ "plain"
    for pod <- ["trio-1", "trio-2"], do: refute(rpc(pod, "Node.list(:connected)") =~ "plain")
    assert connections() == before
    kill("KILL", plain_pid)
    # It has started an epmd, which would be in the way of the control.
    {_output, 0} = cluster(~w(laptop epmd -kill))
    Terminal.await_end(plain)
    await(fn -> not (rpc("trio-0", "Node.list(:hidden)") =~ "plain") end)
    assert connections() == before
    kill("KILL", pid)
    Terminal.await_end(port)

    refute disturbed?(logs())

    # The control: the article's recipe, whose node is a visible one.
    assert {output, _code} =
             cluster(["laptop", "--root", path("bench/seed_recipe"), "trio-0", "3"])

    assert output =~ "connect_node: true"
    await(fn -> disturbed?(logs()) end)
  end
end
