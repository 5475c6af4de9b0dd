defmodule Mix.Tasks.K8s.DoctorTest do
  # The command itself, in BEAMs of its own, on the laptop.
  use ExUnit.Case, async: false

  import K8sConnect.{Laptop, Project}

  @moduletag :cluster
  @moduletag timeout: 120_000

  setup_all do
    {_output, 0} = run(path("."), "mix", ["compile"], [{"MIX_ENV", "dev"}])
    :ok
  end

  # Standard output alone.
  defp doctor(words) do
    System.cmd("mix", ["k8s.doctor" | OptionParser.split(words)],
      cd: path("."),
      env: [{"MIX_ENV", "dev"}],
      stderr_to_stdout: words =~ "frob"
    )
  end

  test "exit codes, and no colors without a terminal" do
    assert {output, 0} = doctor("app-0")
    assert output =~ ~r/\A✓ Machine\n/
    assert output =~ ~r/\nNo issues found.\n\z/
    refute output =~ "\e["

    assert {output, 3} = doctor("pending")

    assert output =~
             ~r/\n        run: kubectl describe pod pending -n default --context testcluster\n/

    assert output =~ ~r/\nFailed: Pod\.\n\z/
    assert {output, 4} = doctor("app-0 --kubeconfig #{System.fetch_env!("HOME")}/.kube/creator")
    assert output =~ ~r/\nWarnings: Permissions\.\n\z/
    assert {output, 2} = doctor("app-0 --frob")
    assert output =~ "unknown option --frob"
    assert output =~ "mix help k8s.doctor"
  end

  test "--json and --report" do
    assert {output, 0} = doctor("app-0 --json")
    script = "import json, sys; r = json.loads(sys.argv[1]); print(r['status'], len(r['layers']))"
    assert {"ok 7\n", 0} = System.cmd("python3", ["-c", script, output])

    assert {output, 0} = doctor("app-0 --report")
    assert output =~ ~r/\A## mix k8s.doctor --report\n/
    refute output =~ "10.200.0.1"
  end

  test "in a node with a short name" do
    code = ~s|Mix.Task.run("k8s.doctor", ["app-0"]); IO.inspect(Node.alive?())|
    words = ["--sname", "short", "-S", "mix", "run", "-e", code]
    assert {output, 0} = run(path("."), "elixir", words, [{"MIX_ENV", "dev"}])
    assert output =~ ~r/distribution +node short@\w+, short name, visible/
    assert output =~ "the local node has a short name"
    assert output =~ ~r/No issues found.\ntrue/
  after
    # A named node starts epmd, and that is its own.
    for pid <- processes(~r/epmd\0-daemon/), do: System.cmd("kill", ["#{pid}"])
  end
end
