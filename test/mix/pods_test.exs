defmodule Mix.K8sConnect.PodsTest do
  use ExUnit.Case, async: true

  import ExUnit.CaptureIO

  alias K8sConnect.Pod
  alias Mix.K8sConnect.{Options, Pods, PodsOptions}

  @pod %Pod{
    name: "app-0",
    namespace: "shop",
    uid: "u",
    phase: "Running",
    status: "CrashLoopBackOff",
    ready_containers: 1,
    total_containers: 2,
    restarts: 3,
    created_at: "2020-01-01T00:00:00Z",
    ip: "10.1.2.3",
    kubernetes_node: "worker-1",
    owner: "sts/app",
    beam: true,
    evidence: ["RELEASE_COOKIE", "port epmd"],
    node: "app@10.1.2.3",
    containers: [%Pod.Container{name: "app", image: "i", ready: true}]
  }
  @unscheduled %{@pod | name: "app-1", ip: nil, kubernetes_node: nil, node: nil, created_at: nil}

  defp printed(pods, output, namespaces? \\ false),
    do: capture_io(fn -> Pods.print(pods, output, namespaces?) end)

  # The rows, with one space between the cells.
  defp rows(text), do: text |> String.replace(~r/ {2,}/, "  ") |> String.split("\n", trim: true)

  test "a table like that of kubectl" do
    assert ["NAME  READY  STATUS  RESTARTS  AGE  NODE NAME", first, second] =
             rows(printed([@pod, @unscheduled], :text))

    assert first =~ ~r/^app-0  1\/2  CrashLoopBackOff  3  \dy\d*d?  app@10.1.2.3$/
    assert second == "app-1  1/2  CrashLoopBackOff  3  <unknown>  ?"
  end

  test "more columns with -o wide and -A" do
    assert [header, first, second] = rows(printed([@pod, @unscheduled], :wide, true))

    assert header ==
             "NAMESPACE  NAME  READY  STATUS  RESTARTS  AGE  NODE NAME  IP  KUBERNETES NODE  EVIDENCE"

    assert first =~ ~r/^shop  app-0  .*  10.1.2.3  worker-1  RELEASE_COOKIE, port epmd$/
    assert second =~ "?  <none>  <none>  RELEASE_COOKIE"
  end

  test "-o name prints targets, with -A also the namespace" do
    assert printed([@pod, @unscheduled], :name) == "pod/app-0\npod/app-1\n"
    assert printed([@pod], :name, true) == "pod/app-0 -n shop\n"

    assert {:ok, {:connect, "pod/app-0", [namespace: "shop"], :default}, :text} =
             [@pod]
             |> printed(:name, true)
             |> String.trim()
             |> OptionParser.split()
             |> Options.parse()
  end

  test "-o json has the fields of a pod" do
    json = printed([@pod], :json)

    for part <- [
          ~s("created_at":"2020-01-01T00:00:00Z"),
          ~s("containers":[{"image":"i","name":"app","ready":true}]),
          ~s("evidence":["RELEASE_COOKIE","port epmd"]),
          ~s("node":"app@10.1.2.3"),
          ~s("restarts":3)
        ],
        do: assert(json =~ part)

    refute json =~ "beam"
    assert printed([], :json) == ~s({"pods":[]}\n)
  end

  test "pods that look like no Erlang node are left out" do
    other = %{@pod | name: "web", beam: false, evidence: []}
    assert printed([other, @pod], :name) == "pod/app-0\n"

    for output <- [:text, :wide, :name] do
      sentence = capture_io(:stderr, fn -> assert printed([other], output) == "" end)

      assert sentence == "no pods look like Erlang nodes\n"
    end
  end

  test "names from the cluster are printable" do
    hostile = %{@pod | node: "a\e]0;x\ab@c\n", status: "\e[2J"}
    refute printed([hostile], :wide) =~ ~r/[\e\a]/
    assert length(rows(printed([hostile], :wide))) == 2
    refute printed([%{@pod | name: "\e[2J"}], :name) =~ "\e"
  end

  describe "the command line" do
    defp parse(line), do: line |> OptionParser.split() |> PodsOptions.pods()

    test "outputs and options" do
      assert parse("") == {:ok, [], :text}
      assert parse("-A -o wide") == {:ok, [all_namespaces: true], :wide}
      assert parse("sts/app -n shop") == {:ok, [target: "sts/app", namespace: "shop"], :text}
      assert parse("-l app=web --json") == {:ok, [selector: "app=web"], :json}
      assert parse("--json -o json") == {:ok, [], :json}
      assert parse("-o name --timeout 9") == {:ok, [timeout: 9], :name}
    end

    test "usage errors" do
      for {line, part} <- [
            {"-o yaml", ~s(invalid value for --output: expected wide, json, name, got "yaml")},
            {"-o", "missing value for -o"},
            {"-o wide --json", "--json and --output exclude each other"},
            {"-A app-0", "TARGET and --all-namespaces exclude each other"},
            {"-l a=b app-0", "TARGET and --selector exclude each other"},
            {"a b", "expected one TARGET, got a b"},
            {"--rpc x", "unknown option --rpc"},
            {"-c app", "unknown option -c"}
          ] do
        assert {:error, error, format} = parse(line)
        assert format == if(line =~ "json", do: :json, else: :text)
        message = K8sConnect.Error.message(error, :cli)
        assert message =~ part
        assert message =~ "See: mix help k8s.pods"
        assert K8sConnect.Error.exit_code(error) == 2
      end
    end
  end
end
