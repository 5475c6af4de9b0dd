defmodule K8sConnect.DemoTest do
  # script/demo on a cluster of its own, which it starts and stops.
  use ExUnit.Case, async: false

  import K8sConnect.Project

  alias K8sConnect.{Ground, Terminal}

  @moduletag :host
  @moduletag timeout: 600_000

  @name "life"
  @env [{"K8S_CONNECT_CLUSTER", @name}]

  setup do
    Ground.cluster(@name, ["down"])
    on_exit(fn -> Ground.cluster(@name, ["down"]) end)
  end

  test "script/demo waits for nobody, and shows ten steps" do
    assert {output, 0} = run(path("."), path("script/demo"), [], @env)
    for number <- 1..10, do: assert(output =~ "\n== #{number}/10  ")
    assert Ground.left(@name) == []
  end

  test "script/demo --try opens a shell on the laptop, with three apps" do
    terminal = Terminal.open(path("script/demo") <> " --try", @env)
    # Building an image takes minutes.
    assert Terminal.expect(terminal, ~r/dev@laptop\$ $/, "", 400_000) =~ "End it with: exit"

    Terminal.type(terminal, "id -un\n")
    Terminal.expect(terminal, ~r/[\r\n]dev\r\n.*\$ $/)
    Terminal.type(terminal, "mix k8s.pods\n")
    pods = Terminal.expect(terminal, ~r/NODE NAME.*\$ $/s)
    for pod <- ~w(app-0 app-1 otp27-0), do: assert(pods =~ ~r/#{pod} +1\/1 +Running/)
    Terminal.type(terminal, "mix k8s.connect rabbit-0 --rpc 'rabbit:is_running().'\n")
    Terminal.expect(terminal, ~r/[\r\n]true\r\n.*\$ $/s)

    Terminal.type(terminal, "exit\n")
    # It stops a cluster with three apps.
    assert Terminal.await_end(terminal, 120_000) == 0
    assert Ground.left(@name) == []
  end
end
