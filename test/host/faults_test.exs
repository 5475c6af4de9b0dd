defmodule K8sConnect.FaultsTest do
  # What an open connection makes of the faults of a cluster, on either route: it ends with its
  # sentence, leaves nothing, and the same command connects again.
  use ExUnit.Case, async: false

  import K8sConnect.Ground
  import K8sConnect.Project, only: [path: 1]

  alias K8sConnect.{Laptop, Terminal}

  @moduletag :host
  @moduletag timeout: 300_000

  @name "ground"
  @rpc ["mix", "k8s.connect", "app-0", "--route", "vm", "--rpc", "node()"]
  # Everything between pod and laptop ends the stream, though containerd waits for a second first.
  @bound 10_000

  setup_all do
    cluster(@name, ["down"])
    on_exit(fn -> cluster(@name, ["down"]) end)
    cluster!(@name, ["up"])
    cluster!(@name, ["app", "app"])
    :ok
  end

  setup do
    # Whatever a test has come to.
    on_exit(fn -> cluster(@name, ["restore"]) end)
    # The pod that is to be connected to is the one that goes on to live.
    await(fn -> match?({_output, 0}, laptop(@rpc)) end)
    :ok
  end

  defp laptop(words), do: cluster(@name, ["laptop" | words], [{"MIX_ENV", "dev"}])

  defp hold(route, env \\ []) do
    words = ["--helper", "env"] ++ env ++ ~w(mix k8s.connect app-0 --hold --route #{route})
    holder = start(@name, words)
    Terminal.expect(holder, "holding the connection")
    holder
  end

  defp lost(holder, bound) do
    assert {said, 1} = ended(holder, bound)
    assert said =~ ~r/^lost the connection to app@10\.244\.1\.\d+\. Connect again/m
  end

  defp left do
    words = ["laptop", "--root", "sh", "-c", Laptop.look()]
    @name |> cluster!(words) |> String.split("\n", trim: true)
  end

  for fault <- [
        ~w(kill app-0 --beam),
        ~w(kill app-0),
        ~w(restart kube-apiserver),
        # Both carry each stream, and neither hands it on.
        ~w(restart kubelet),
        ~w(restart containerd)
      ] do
    test Enum.join(fault, " ") do
      holders = for route <- ["vm", "kernel"], do: hold(route)
      cluster!(@name, unquote(fault))
      for holder <- holders, do: lost(holder, @bound)
      assert left() == []
      await(fn -> match?({_output, 0}, laptop(@rpc)) end)
    end
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
    Terminal.expect(connecting, "link ")
    cluster!(@name, ["cut"])
    cluster!(@name, ~w(kubectl replace --force --grace-period=0 -f #{file}))
    cluster!(@name, ["restore"])
    assert {said, 1} = ended(connecting, @bound)
    assert said =~ "was replaced by another pod of that name"
  end

  test "cut: the tick time ends the connection, new ones fail with a sentence, and then restore" do
    holders = for route <- ["vm", "kernel"], do: hold(route, ["ERL_FLAGS=-kernel net_ticktime 8"])
    cluster!(@name, ["cut"])
    # Twice changes nothing.
    cluster!(@name, ["cut"])
    start = System.monotonic_time(:millisecond)
    assert {said, 1} = laptop(@rpc ++ ["--timeout", "2000"])
    assert said =~ "timed out after 2000 ms waiting for the API server https://10.200.0.1:6443"
    assert System.monotonic_time(:millisecond) - start < 10_000

    # A tick time is exact to a quarter; both looked for at once.
    for holder <- holders, do: lost(holder, 15_000)
    assert left() == []

    cluster!(@name, ["restore"])
    cluster!(@name, ["restore"])
    assert {_output, 0} = laptop(@rpc)
  end

  # What we send every so often, with nobody to answer.
  test "cut: it is noticed before the default tick time is over" do
    holders = for route <- ["vm", "kernel"], do: hold(route)
    cluster!(@name, ["cut"])
    for holder <- holders, do: lost(holder, 40_000)
    assert left() == []
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
          ~w(kill app-0 --vm)
        ] do
      assert {output, 2} = cluster(@name, words)
      assert output =~ "usage: script/cluster"
    end

    assert {output, 1} = cluster(@name, ~w(kill nobody-0))
    assert output =~ ~s(pods "nobody-0" not found)
  end
end
