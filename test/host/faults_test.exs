defmodule K8sConnect.FaultsTest do
  # An open connection under the faults of a cluster, on either route, idle and under calls: it comes back by
  # itself, no call returns a wrong value, and none outlives the connection that it was made on.
  #
  # Prints a table of how long each took, which guides/keeping-a-connection.md has.
  use ExUnit.Case, async: false

  import K8sConnect.Ground
  import K8sConnect.Project, only: [path: 1]

  alias K8sConnect.{Laptop, Terminal}

  @moduletag :host
  @moduletag timeout: 300_000

  @name "ground"
  @rpc ["mix", "k8s.connect", "app-0", "--route", "vm", "--rpc", "node()"]
  @elixir ~w(elixir -pa _build/dev/lib/k8s_connect/ebin test/host/programs/caller.exs)
  @callers for route <- ~w(vm kernel), calls <- ["0", "4"], do: {route, calls}
  @uploaders for route <- ~w(vm kernel), do: {route, "upload"}

  setup_all do
    cluster(@name, ["down"])
    on_exit(fn -> cluster(@name, ["down"]) end)
    cluster!(@name, ["up"])
    cluster!(@name, ["app", "app"])
    cluster!(@name, ~w(laptop mix compile))
    :ok
  end

  setup do
    # Whatever a test has come to.
    on_exit(fn -> cluster(@name, ["restore"]) end)
    # The pod that is to be connected to is the one that goes on to live.
    await(fn -> match?({_output, 0}, cluster(@name, ["laptop" | @rpc], [{"MIX_ENV", "dev"}])) end)
    :ok
  end

  # {fault, seconds that it may take until the connection is back}
  @faults [
    {"container killed", [~w(kill app-0 --beam)], 10},
    {"pod deleted", [~w(kill app-0)], 30},
    {"rollout", [~w(kubectl rollout restart sts/app)], 60},
    {"scaled to 0 and back",
     [~w(kubectl scale sts/app --replicas 0), :gone, ~w(kubectl scale sts/app --replicas 1)], 60},
    {"API server killed", [~w(restart kube-apiserver)], 30},
    {"kubelet killed", [~w(restart kubelet)], 30},
    {"containerd killed", [~w(restart containerd)], 30},
    {"network cut for 45 s", [~w(cut), {:wait, 45_000}, ~w(restore)], 60},
    {"net_kernel stopped", [:net_kernel], 10}
  ]

  for {fault, steps, seconds} <- @faults do
    test fault do
      callers =
        unquote(
          if fault =~ "cut", do: quote(do: @callers ++ @uploaders), else: quote(do: @callers)
        )

      callers = for {route, calls} <- callers, do: {route, calls, caller(route, calls)}
      start = System.system_time(:millisecond)
      for step <- unquote(Macro.escape(steps)), do: step(step, callers)

      for {route, calls, port} <- callers do
        seen = until(port, ~r/^(\d+) up .*$/m, unquote(seconds) * 1000)
        [[_line, lost] | _more] = Regex.scan(~r/^(\d+) lost /m, seen)
        [_line, up] = Regex.run(~r/^(\d+) up /m, seen)
        # An upload has had no time yet to return.
        if calls != "0", do: await(fn -> report(port)["right"] > 0 end)
        report = report(port)
        row(unquote(fault), route, calls, lost, up, start, report)
        assert report["wrong"] == 0

        # A call ends with the connection that it was made on. The pings miss it after 18 s, or, if they wait behind
        # data, the data after 40 s.
        assert report["longest"] < if(calls == "upload", do: 50_000, else: 25_000)
      end

      for {_route, _calls, port} <- callers, do: stop(port)
      assert left() == []
    end
  end

  test "a pod that is stopped for 10 s is not lost" do
    callers = for {route, calls} <- @callers, do: {route, calls, caller(route, calls)}
    cluster!(@name, ~w(pause app-0))
    step({:wait, 10_000}, callers)
    cluster!(@name, ~w(resume app-0))

    for {_route, calls, port} <- callers do
      # The answers of the calls that waited
      if calls != "0", do: await(fn -> report(port)["longest"] > 9_000 end, 10)
      assert %{"wrong" => 0, "failed" => 0, "losses" => 0} = report(port)
    end

    # Two programs share the listener of the first on the kernel route, so the end of one is a loss of the other.
    for {_route, _calls, port} <- callers, do: assert({_seen, 0} = stop(port))
  end

  defp caller(route, calls) do
    port = start(@name, ["--helper" | @elixir] ++ ["app-0", route, calls])
    # Of the first connection
    until(port, ~r/^\d+ up .*\n/m, 30_000)
    port
  end

  defp step({:wait, ms}, _callers), do: Process.sleep(ms)

  defp step(:net_kernel, callers),
    do: for({_route, _calls, port} <- callers, do: Port.command(port, "net_kernel\n"))

  defp step(:gone, _callers),
    do: cluster!(@name, ~w(kubectl wait --for=delete pod/app-0 --timeout=60s))

  defp step(words, _callers), do: cluster!(@name, words)

  # Reads what the program prints until a line matches, after the line that matched before.
  defp until(port, pattern, timeout, seen \\ "") do
    if seen =~ pattern do
      seen
    else
      receive do
        {^port, {:data, data}} -> until(port, pattern, timeout, seen <> data)
        {^port, {:exit_status, status}} -> flunk("it ended with #{status}: #{seen}")
      after
        timeout -> flunk("no #{inspect(pattern)}: #{seen}")
      end
    end
  end

  defp report(port) do
    Port.command(port, "report\n")
    [line] = Regex.run(~r/^report .*$/m, until(port, ~r/^report .*\n/m, 10_000))

    for pair <- tl(String.split(line)), [key, value] = String.split(pair, "="), into: %{} do
      {key, String.to_integer(value)}
    end
  end

  # Standard input ends with the port, whose last output is of no interest then.
  defp stop(port) do
    Port.command(port, "end\n")
    ended(port, 20_000)
  end

  defp row(fault, route, calls, lost, up, start, report) do
    took = String.to_integer(up) - String.to_integer(lost)
    noticed = String.to_integer(lost) - start
    callers = Map.get(%{"0" => "idle", "upload" => "under an upload"}, calls, "under calls")

    IO.puts(
      "| #{fault} | #{route} | #{callers} | #{noticed} | #{took} | #{report["wrong"]} | #{report["longest"]} |"
    )
  end

  defp left do
    words = ["laptop", "--root", "sh", "-c", Laptop.look()]
    @name |> cluster!(words) |> String.split("\n", trim: true)
  end

  # epmd keeps us waiting there, and meanwhile its pod goes and another one comes. The laptop hears of the one
  # end when the other is there: what it finds does not depend on who is faster.
  test "a pod that is replaced while it is connected to" do
    cluster!(@name, ["apply", path("test/cluster/manifests/odd.yaml")])
    ready = ~w(wait --for=condition=Ready pod/silent-epmd --timeout=120s)
    cluster!(@name, ["kubectl" | ready])
    manifest = cluster!(@name, ~w(kubectl get pod silent-epmd -o json))
    file = Path.join(System.tmp_dir!(), "replaced-#{System.pid()}.json")
    on_exit(fn -> File.rm(file) end)
    File.write!(file, manifest)
    connecting = start(@name, ~w(mix k8s.connect silent-epmd --hold))
    Terminal.expect(connecting, "port-forward ")
    cluster!(@name, ["cut"])
    cluster!(@name, ~w(kubectl replace --force --grace-period=0 -f #{file}))
    cluster!(@name, ["restore"])
    assert {said, 1} = ended(connecting, 10_000)
    assert said =~ "was replaced by another pod of that name"
  end

  describe "without reconnecting" do
    test "the command ends with the connection, and leaves nothing" do
      words = ~w(--helper mix k8s.connect app-0 --hold --no-reconnect --route)
      holders = for route <- ["vm", "kernel"], do: start(@name, words ++ [route])
      for holder <- holders, do: Terminal.expect(holder, "holding the connection")
      cluster!(@name, ~w(kill app-0 --beam))

      for holder <- holders do
        assert {said, 1} = ended(holder, 10_000)
        assert said =~ ~r/^lost the connection to app@10\.244\.1\.\d+/m
      end

      assert left() == []
    end

    test "a cut is noticed before the default tick time is over, and a command says so" do
      words = ~w(--helper mix k8s.connect app-0 --hold --no-reconnect --route)
      holders = for route <- ["vm", "kernel"], do: start(@name, words ++ [route])
      for holder <- holders, do: Terminal.expect(holder, "holding the connection")
      cluster!(@name, ["cut"])
      # Twice changes nothing.
      cluster!(@name, ["cut"])

      assert {said, 1} =
               cluster(@name, ["laptop" | @rpc] ++ ["--timeout", "2000"], [{"MIX_ENV", "dev"}])

      assert said =~ "timed out after 2000 ms waiting for the API server https://10.200.0.1:6443"
      for holder <- holders, do: assert({_said, 1} = ended(holder, 40_000))
      assert left() == []
    end
  end

  test "each fault's words are checked" do
    for words <- [
          ~w(cut off),
          ~w(restore all),
          ~w(restart),
          ~w(restart etcd),
          ~w(restart kubelet now),
          ~w(kill),
          ~w(kill --beam),
          ~w(kill app-0 --vm),
          ~w(pause),
          ~w(resume app-0 app-1)
        ] do
      assert {output, 2} = cluster(@name, words)
      assert output =~ "usage: script/cluster"
    end

    assert {output, 1} = cluster(@name, ~w(kill nobody-0))
    assert output =~ ~s(pods "nobody-0" not found)
  end
end
