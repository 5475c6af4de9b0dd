defmodule Mix.Tasks.K8s.PodsTest do
  # The commands about pods, without a connection: in BEAMs of their own, on the laptop as `dev`.
  use K8sConnect.CommandCase

  import K8sConnect.Tmp

  @node ~r/app@10\.244\.1\.\d+/

  test "without a target it lists the pods that look like nodes" do
    assert {output, 0} = connect("")
    assert output =~ ~r/^NAME +READY +STATUS +RESTARTS +AGE +NODE NAME$/m
    assert output =~ ~r/^app-0 +1\/1 +Running /m
    refute output =~ "pending"
    assert output =~ "mix k8s.connect sts/app"
  end

  test "mix k8s.pods prints a table, objects, and targets of mix k8s.connect" do
    assert {output, 0} = run(path("."), "mix", ["k8s.pods"], env())
    assert output =~ ~r/^NAME +READY +STATUS +RESTARTS +AGE +NODE NAME$/m
    assert output =~ ~r/^app-0 +1\/1 +Running +\d+ +\w+ /m
    refute output =~ "pending"

    assert {output, 0} = run(path("."), "mix", ~w(k8s.pods sts/app -o wide), env())
    assert output =~ ~r/^app-0 .* 10\.244\.1\.\d+ .*RELEASE_COOKIE/m

    assert {"pod/app-0\n" <> _, 0} = run(path("."), "mix", ~w(k8s.pods sts/app -o name), env())
    assert {output, 0} = connect("pod/app-0 --rpc node()")
    assert output =~ @node

    assert {output, 0} = run(path("."), "mix", ~w(k8s.pods -l app=nobody), env())
    assert output == "no pods look like Erlang nodes\n"

    assert {output, 1} = run(path("."), "mix", ~w(k8s.pods -A), env())
    assert output =~ "permission denied: could not list pods in all namespaces (403)"
    assert output =~ "mix k8s.pods --context testcluster -n NAMESPACE"

    assert {output, 1} = run(path("."), "mix", ~w(k8s.pods -n kube-system --json), env())
    assert output =~ ~s("kind":"forbidden")
    assert {output, 2} = run(path("."), "mix", ~w(k8s.pods -A app-0), env())
    assert output =~ "mix help k8s.pods"
  end

  test "the first line of mix k8s.pods -o name is an argument of mix k8s.connect" do
    # `head` closes the pipe before it has read all pods.
    line = "mix k8s.connect $(mix k8s.pods -o name | head -n 1) --no-wait"
    assert {output, 0} = run(path("."), "sh", ["-c", line], env())
    assert output =~ ~r/^connected +to app@/m
    refute output =~ "ErlangError"
  end

  test "targets for the completion of a shell" do
    assert {output, 0} = run(path("."), "mix", ~w(k8s.complete targets -- k8s.connect), env())
    targets = String.split(output, "\n", trim: true)
    assert "app-0" in targets
    assert "sts/app" in targets
    refute "pending" in targets
    assert {"testcluster\n", 0} = run(path("."), "mix", ~w(k8s.complete contexts --), env())
    assert {"default\n", 0} = run(path("."), "mix", ~w(k8s.complete namespaces --), env())

    nobody = ~w(k8s.complete targets -- k8s.connect -n kube-system)
    assert {"", 0} = run(path("."), "mix", nobody, env())
  end

  test "mix k8s.init configures targets that mix k8s.connect connects to" do
    %{tmp_dir: directory} = tmp_dir(%{})
    write_project(directory, :init)

    config = Path.join(directory, "config/config.exs")
    init = fn words -> run(directory, "mix", ["k8s.init", "-l", "app=app" | words], env()) end
    assert {output, 0} = init.(["--dry-run"])
    assert output =~ ~s(app: [context: "testcluster", namespace: "default", target: "sts/app"])
    assert output =~ "resources: [pods/portforward], verbs: [get, create]"
    assert {output, 2} = init.([])
    assert output =~ "not running on a terminal: config/config.exs was not changed"
    refute File.exists?(config)
    assert {_output, 0} = init.(["--yes"])
    text = File.read!(config)
    assert {output, 0} = init.(["--yes"])
    assert output =~ "nothing to add"
    assert File.read!(config) == text
    assert {output, 0} = run(directory, "mix", ~w(k8s.connect app --rpc node\(\)), env())
    assert output =~ @node
    assert {output, 1} = init.(["-l", "app=nobody"])
    assert output =~ "no pods look like Erlang nodes"
  end
end
