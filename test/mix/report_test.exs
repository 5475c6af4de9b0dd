defmodule Mix.K8sConnect.ReportTest do
  use ExUnit.Case, async: true

  alias Mix.K8sConnect.{NodeOptions, Report}

  defp check(name, status, fact, more \\ %{}) do
    Map.merge(
      %{name: name, status: status, fact: fact, source: nil, why: nil, command: nil},
      more
    )
  end

  defp report(status, layers), do: %{status: status, target: "app-0", layers: layers}

  defp layer(name, status, checks),
    do: %{name: name, title: String.capitalize("#{name}"), status: status, checks: checks}

  defp text(report) do
    report |> Report.text() |> IO.ANSI.format(false) |> IO.iodata_to_binary()
  end

  test "a report without issues" do
    report =
      report(:ok, [layer(:machine, :ok, [check("Elixir", :ok, "1.14", %{source: "here"})])])

    assert text(report) == """
           ✓ Machine
               ✓ Elixir                   1.14 (here)

           No issues found.
           """

    assert Report.code(report) == 0
  end

  test "a failure has its cause and a command" do
    failed = check("link", :failed, "none", %{why: "it is down", command: "kubectl get pods"})
    several = check("Role", :warning, "missing", %{why: "so", command: "kubectl apply\na\nEOF"})
    skipped = for name <- ["a", "b"], do: check(name, :skipped, "skipped: no pod")

    report =
      report(:failed, [
        layer(:cluster, :failed, [failed | skipped]),
        layer(:permissions, :warning, [several]),
        layer(:pod, :crashed, [check("pod", :crashed, "the check crashed: x")]),
        layer(:node, :skipped, skipped)
      ])

    assert text(report) == """
           ✗ Cluster
               ✗ link                     none
                   why: it is down
                   run: kubectl get pods
               – a, b                     skipped: no pod
           ! Permissions
               ! Role                     missing
                   why: so
                   run:

           kubectl apply
           a
           EOF

           ☠ Pod
               ☠ pod                      the check crashed: x
           – Node: skipped: no pod

           Failed: Cluster, Pod. Warnings: Permissions.
           """

    assert Report.code(report) == 3
    assert Report.code(%{report | status: :warning}) == 4
    refute Report.public(report) =~ "\e["

    assert Report.json(report) =~
             ~s("command":"kubectl apply\\na\\nEOF")
  end

  test "colors" do
    report = report(:ok, [layer(:machine, :ok, [check("Elixir", :ok, "1.14")])])
    assert report |> Report.text() |> IO.ANSI.format(true) |> IO.iodata_to_binary() =~ "\e[32m✓"
  end

  test "the command line" do
    assert NodeOptions.doctor([]) == {:ok, nil, [], :text}

    assert NodeOptions.doctor(~w(app-0 -n shop --port 9100 --json)) ==
             {:ok, "app-0", [namespace: "shop", port: 9100], :json}

    assert NodeOptions.doctor(~w(--report -l app=web)) ==
             {:ok, nil, [selector: "app=web"], :report}

    assert {:error, sentence} = NodeOptions.doctor(~w(app-0 --json --report))
    assert sentence =~ "exclude each other"
    assert {:error, "unknown option --rpc"} = NodeOptions.doctor(~w(app-0 --rpc 1))
    assert {:error, _sentence} = NodeOptions.doctor(~w(app-0 app-1))
    assert {:error, _sentence} = NodeOptions.doctor(~w(app-0 --route tunnel))
  end
end
