defmodule K8sConnect.NodesTest do
  # Pods on two nodes, and pods of two clusters with the same address.
  use ExUnit.Case, async: false

  import K8sConnect.Ground

  @moduletag :host
  @moduletag timeout: 300_000

  @name "ground"
  @other "groundb"

  setup do
    down = fn -> for name <- [@name, @other], do: cluster(name, ["down"]) end
    down.()
    on_exit(down)
  end

  # What a pod's node evaluates for somebody on the laptop.
  defp ask(name, pod, code) do
    words = ["laptop", "mix", "k8s.connect", pod, "--rpc", code]
    shown = cluster!(name, words, [{"MIX_ENV", "dev"}])
    shown |> String.split("\n", trim: true) |> List.last()
  end

  defp kill(pid_file) do
    {_output, 0} = System.cmd("kill", ["-KILL", String.trim(File.read!(pid_file))])
  end

  test "a StatefulSet on two nodes: the laptop reaches both pods, and they reach each other" do
    cluster!(@name, ["up", "--nodes", "2"])
    cluster!(@name, ["app", "app", "--replicas", "2"])
    assert cluster!(@name, ["status"]) =~ "--nodes 2"

    nodes = cluster!(@name, ~w(kubectl get pods -o jsonpath={.items[*].spec.nodeName}))
    assert nodes |> String.split() |> Enum.sort() == ["node1", "node2"]

    names = for pod <- ["app-0", "app-1"], do: ask(@name, pod, "node()")
    assert [~s(:"app@10.244.1.2"), ~s(:"app@10.244.2.2")] = Enum.sort(names)
    [first, second] = names
    assert rpc(@name, "app-0", "Node.connect(#{second})") == "true"
    assert rpc(@name, "app-1", "Node.list()") == "[#{first}]"

    # On whichever node the pod is: a fault reaches it, and it comes back.
    for pod <- ["app-0", "app-1"] do
      rpc(@name, pod, ":persistent_term.put(:run, :first)")
      cluster!(@name, ["kill", pod, "--beam"])
      await(fn -> run_of(pod) == "nil" end)
    end

    assert {"", 0} = cluster(@name, ["down"])
    assert left(@name) == []
  end

  defp run_of(pod) do
    code = "IO.inspect(:persistent_term.get(:run, nil))"
    words = ["kubectl", "exec", pod, "--", "/app/bin/app", "rpc", code]
    {shown, _status} = cluster(@name, words)
    shown |> String.split("\n", trim: true) |> List.last()
  end

  test "down and up clear what is left when either node was killed" do
    for dir <- ["", "node2/"] do
      cluster!(@name, ["up", "--nodes", "2"])
      kill("/var/lib/k8s_connect/#{@name}/#{dir}pid")
      # Half of it may be gone when it is asked.
      await(fn -> cluster(@name, ["status"]) == {"#{@name} is down\n", 0} end)
      assert {"", 0} = cluster(@name, ["down"])
      assert left(@name) == []
    end
  end

  test "two clusters with pods of the same address: each laptop connects to its own" do
    for name <- [@name, @other] do
      cluster!(name, ["up"])
      cluster!(name, ["app", "app"])
      # Their nodes have the same name.
      assert rpc(name, "app-0", "node()") == ~s(:"app@10.244.1.2")
      rpc(name, "app-0", ":persistent_term.put(:cluster, :#{name})")
    end

    for name <- [@name, @other] do
      assert ask(name, "app-0", "{node(), :persistent_term.get(:cluster)}") ==
               ~s({:"app@10.244.1.2", :#{name}})
    end
  end

  test "a cluster has one node or two" do
    for words <- [["--nodes"], ["--nodes", "0"], ["--nodes", "3"]] do
      assert {output, 2} = cluster(@name, ["up" | words])
      assert output =~ "--nodes can be 1 or 2"
    end
  end
end
