defmodule K8sConnect.DoctorClusterTest do
  # One layer broken at a time, on the real cluster: the verdict names that one, with its command.
  use ExUnit.Case, async: false

  import K8sConnect.Laptop

  alias K8sConnect.{Doctor, JSON}
  alias Mix.K8sConnect.Report

  @moduletag :cluster
  @moduletag timeout: 180_000

  defp examine(target, options \\ []), do: Doctor.examine(target, options)

  defp as(user, more \\ []),
    do: [kubeconfig: Path.join([System.fetch_env!("HOME"), ".kube", user])] ++ more

  defp layers(report), do: Map.new(report.layers, &{&1.name, &1.status})

  defp check(report, layer, name) do
    %{checks: checks} = Enum.find(report.layers, &(&1.name == layer))
    Enum.find(checks, &(&1.name == name)) || flunk("no #{name} in #{inspect(checks)}")
  end

  # Every failure and warning has a reason and one command; only the last may have several lines.
  defp assert_sound(report) do
    for layer <- report.layers, check <- layer.checks do
      assert check.status in [:ok, :warning, :failed, :skipped], inspect(check)
      assert is_binary(check.fact)

      if check.status in [:warning, :failed] do
        assert is_binary(check.why), inspect(check)
        assert check.command =~ ~r/\A(kubectl|mix|ls|timedatectl) /, inspect(check)
        refute check.command =~ "mix k8s.connect"
        assert check.name == "Role" or not (check.command =~ "\n")
      end
    end

    assert K8sConnect.connections() == []
    refute Node.alive?()
    report
  end

  defp assert_failed(report, layer, name, why) do
    check = check(assert_sound(report), layer, name)
    assert {check.status, report.status, Report.code(report)} == {:failed, :failed, 3}
    assert check.why =~ why
    failed = for %{status: :failed, name: name} <- report.layers, do: name
    assert failed == [layer]
    later = report.layers |> Enum.drop_while(&(&1.name != layer)) |> tl()
    assert Enum.all?(later, &(&1.status == :skipped)), inspect(later)
    check
  end

  # Others may have been started again while the machine was busy.
  defp assert_well_before(report, layer) do
    for %{name: name, status: status} <- Enum.take_while(report.layers, &(&1.name != layer)),
        do: assert(status == :ok or name == :pod, inspect(report))
  end

  test "no issues with a working setup, and no connection is left" do
    report = assert_sound(examine("app-0"))
    assert report.status == :ok
    assert Report.code(report) == 0
    assert Enum.all?(report.layers, &(&1.status == :ok))
    text = report |> Report.text() |> IO.ANSI.format(false) |> IO.iodata_to_binary()
    assert text =~ ~r/\n\nNo issues found.\n\z/
    refute text =~ ~r/why:|run:|✗|!|☠/
    # Facts with their sources.
    assert check(report, :cluster, "API server").fact =~ ~r/^Kubernetes v1\.\d+\.\d+$/
    assert check(report, :node, "node").fact =~ ~r/^app@10\.244\.1\.\d+, port 5555$/
    assert check(report, :node, "node").source =~ "port from epmd"
    assert check(report, :handshake, "cookie").source =~ "Secret app-cookie"
    assert check(report, :permissions, "get secrets app-cookie").fact == "yes"
    refute text =~ cookie()
  end

  test "a workload as target, and a login with a ServiceAccount token" do
    report = assert_sound(examine("sts/app", as("token")))
    assert report.status == :ok
    assert check(report, :pod, "other pods").fact =~ ~r/^(no other|also ready)/
    assert check(report, :permissions, "user").fact =~ "system:serviceaccount:default:dev"
    assert check(report, :cluster, "login").fact == "a token"
  end

  test "without a target the later layers are skipped" do
    report = assert_sound(examine(nil))
    assert report.status == :ok
    assert check(report, :pod, "pods").fact =~ "app-0"
    assert check(report, :pod, "pod").fact == "skipped: no TARGET given"
    for layer <- [:node, :handshake, :route], do: assert(layers(report)[layer] == :skipped)
  end

  test "an existing connection is used and left open" do
    {:ok, connection} = K8sConnect.connect("app-0")
    report = examine("app-0")
    assert report.status == :ok
    assert check(report, :handshake, "connection").fact =~ "already"
    assert check(report, :route, "vm").fact =~ "left open"
    assert K8sConnect.connections() == [connection]
    assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
    K8sConnect.disconnect(connection)
    refute Node.alive?()
  end

  test "an unreachable server, a missing kubeconfig, an unknown context" do
    directory = K8sConnect.Tmp.tmp_dir(%{}).tmp_dir
    file = Path.join(directory, "config")
    text = File.read!(Path.join(System.fetch_env!("HOME"), ".kube/dev"))
    File.write!(file, String.replace(text, ":6443", ":6444"))
    report = examine("app-0", kubeconfig: file)
    check = assert_failed(report, :cluster, "API server", "could not connect to the API server")
    assert check.command == "kubectl cluster-info --context testcluster --kubeconfig #{file}"

    missing = Path.join(directory, "none")

    check =
      assert_failed(examine("app-0", kubeconfig: missing), :cluster, "kubeconfig", "no such file")

    assert check.command == "mix k8s.doctor app-0 --kubeconfig PATH"

    check =
      assert_failed(examine("app-0", context: "nil"), :cluster, "kubeconfig", "no such context")

    assert check.command == "kubectl config get-contexts"
  end

  test "an unknown certificate authority, and an expired client certificate" do
    report = examine("app-0", as("stranger"))
    assert_failed(report, :cluster, "API server", "unknown certificate authority")
    report = examine("app-0", as("expired"))
    assert_failed(report, :cluster, "login", "expired at")
  end

  test "without permissions the Role is printed" do
    report = assert_sound(examine("app-0", as("nobody")))
    assert %{permissions: :failed, pod: :failed, node: :skipped} = layers(report)
    assert Report.code(report) == 3
    assert check(report, :pod, "pod").why =~ "(403)"

    assert check(report, :permissions, "get pods").command =~
             ~r/auth can-i get pods -n default --context testcluster --kubeconfig/

    role = check(report, :permissions, "Role").command
    assert role =~ "resources: [pods], verbs: [get, list, watch]}  # missing: get, list, watch"
    assert role =~ "name: nobody}]"
  end

  test "the printed Role gives the permissions, to this user only" do
    on_exit(fn ->
      for name <- ["k8s-connect-nobody", "k8s-connect-nobody-app-cookie"],
          do: as_admin("kubectl delete role,rolebinding #{name} --ignore-not-found")
    end)

    as_admin(check(examine("app-0", as("nobody")), :permissions, "Role").command)
    # Only now the pod's spec can be read, and with it which Secret there is.
    report = await(fn -> ok_rights(examine("app-0", as("nobody"))) end)
    assert %{permissions: :warning, node: :ok, handshake: :failed} = layers(report)
    as_admin(check(report, :permissions, "Role").command)
    assert await(fn -> healthy(examine("app-0", as("nobody"))) end)
    assert examine("app-0").status == :ok
  end

  # The API server hears of a Role a moment later.
  defp ok_rights(report), do: if(layers(report).permissions != :failed, do: report)
  defp healthy(report), do: report.status == :ok

  test "a protected context needs a confirmation" do
    Application.put_env(:k8s_connect, :protect, ["test*"])
    on_exit(fn -> Application.delete_env(:k8s_connect, :protect) end)
    report = assert_sound(examine("app-0", []))
    assert %{cluster: :failed, pod: :skipped, handshake: :skipped} = layers(report)
    failed = for %{checks: checks} <- report.layers, %{status: :failed} = c <- checks, do: c
    assert Enum.any?(failed, &(&1.command =~ ~r/^mix k8s\.doctor app-0 .*--yes$/))
    assert examine("app-0", yes: true).status == :ok
  end

  test "one of the two verbs on pods/portforward" do
    report = assert_sound(examine("app-0", as("creator")))
    assert report.status == :warning
    assert Report.code(report) == 4
    assert %{permissions: :warning, handshake: :ok, route: :ok} = layers(report)
    assert check(report, :permissions, "get pods/portforward").status == :warning

    assert_get_only(assert_sound(examine("app-0", as("getter"))), get_is_enough?())

    report = assert_sound(examine("app-0", as("getter", protocol: :spdy)))
    assert %{node: :failed, handshake: :skipped} = layers(report)

    assert check(report, :node, "port-forward").why =~
             "verb create on pods/portforward is missing"
  end

  test "a Service as the target needs get on services" do
    report = assert_sound(examine("svc/app", as("creator")))
    assert check(report, :permissions, "get services app").status == :warning
    assert check(report, :permissions, "Role").command =~ "resources: [services]"
  end

  # Before Kubernetes 1.35 it connects, by a WebSocket.
  defp assert_get_only(report, get_is_enough?) do
    assert check(report, :permissions, "Role").command =~ "[get, create]}  # missing: create\n"
    create = check(report, :permissions, "create pods/portforward")
    port_forward = check(report, :node, "port-forward")

    if get_is_enough? do
      assert %{permissions: :warning, handshake: :ok, route: :ok} = layers(report)
      assert create.status == :warning
      assert create.why =~ "On this server a WebSocket needs only `get`"
      assert port_forward.fact =~ "inside a WebSocket"
    else
      assert %{permissions: :failed, node: :failed, handshake: :skipped} = layers(report)
      assert create.status == :failed
      assert create.why =~ "from Kubernetes 1.35 on also a WebSocket"
      assert port_forward.why =~ "verb create on pods/portforward is missing"
    end
  end

  test "the cookie of the running node needs pods/exec" do
    report = assert_sound(examine("app-0", cookie_from: :exec))
    assert %{permissions: :failed, node: :ok, handshake: :failed} = layers(report)
    assert check(report, :permissions, "create pods/exec").status == :failed

    assert check(report, :permissions, "Role").command =~
             "[pods/exec], verbs: [get, create]}  # missing: get, create"
  end

  test "a forbidden Secret is a warning" do
    report = assert_sound(examine("hidden-cookie"))
    assert check(report, :permissions, "get secrets not-for-dev").status == :warning
    assert check(report, :permissions, "Role").command =~ "resourceNames: [not-for-dev]"
  end

  test "a pod that is not running, and one that does not exist" do
    check = assert_failed(examine("pending"), :pod, "pod", "is not running: Pending")
    assert check.command == "kubectl describe pod pending -n default --context testcluster"
    assert_failed(examine("no-such-pod"), :pod, "pod", "no such pod")
    check = assert_failed(examine("app-0", container: "web"), :pod, "pod", "no such container")
    assert check.command == "mix k8s.doctor app-0 -n default --context testcluster -c app"
  end

  test "no epmd, a silent one, and another program on its port" do
    report = examine("no-erlang")
    assert_failed(report, :node, "node", "could not connect to epmd")
    assert check(report, :node, "epmd").fact == "does not run"
    assert_failed(examine("silent-epmd"), :node, "epmd", "does not answer")
    assert_failed(examine("junk-epmd"), :node, "epmd", "expected epmd")
    assert_failed(examine("junk-node"), :node, "node", "is not an Erlang node")
  end

  test "distribution on the pod's IP only" do
    report = examine("ip-only")
    assert_failed(report, :node, "node", "listens on the pod's IP only")
    assert_well_before(report, :node)
  end

  test "distribution over TLS only" do
    await(fn -> check(examine("tls-only"), :node, "epmd").fact =~ "has app" end)
    report = examine("tls-only")
    assert_failed(report, :node, "node", "is over TLS (port 5555")
    assert_well_before(report, :node)

    assert {:error, %{stage: :node, reason: {:tls_only, details}}} =
             K8sConnect.connect("tls-only")

    # The options are in a line of the shell, which has no authority for the node's certificate.
    problem = "-ssl_dist_opt names no cacertfile to verify its certificate with"
    pod = %{pod: "tls-only", namespace: "default"}
    assert details == Map.merge(pod, %{node: "app", port: 5555, problem: problem})
    assert {:error, error} = K8sConnect.connect("tls-only", port: 5555)
    assert {:tls_only, %{node: "at port 5555"}} = error.reason
  end

  test "two nodes, until one is chosen" do
    check = assert_failed(examine("two-nodes"), :node, "node", "has several")
    assert check.command == "mix k8s.doctor two-nodes -n default --context testcluster --node app"
    report = assert_sound(examine("two-nodes", node: "second"))
    assert check(report, :node, "node").fact =~ "second@"
    assert layers(report).handshake == :ok
  end

  test "a cookie mismatch" do
    report = examine("wrong-cookie")
    assert_well_before(report, :handshake)
    check = assert_failed(report, :handshake, "connection", "cookie mismatch")

    assert check.command ==
             "mix k8s.doctor wrong-cookie -n default --context testcluster --cookie-from exec"

    assert_failed(examine("no-cookie"), :handshake, "connection", "no cookie in the spec")
  end

  test "the kernel route without a helper" do
    report = examine("app-0", route: :kernel)
    assert %{handshake: :ok, route: :failed} = layers(assert_sound(report))
    assert check(report, :route, "vm").status == :ok
    assert check(report, :route, "kernel").why =~ "it is not installed"
    assert check(report, :route, "kernel").command == "mix k8s.helper install"
  end

  test "an installed helper is tested, and nothing is left of it" do
    install_helper()
    on_exit(&remove_helper/0)
    # The kernel detaches the programs of a test before this one in its own time.
    assert_nothing_left()
    report = assert_sound(examine("app-0"))
    assert report.status == :ok, inspect(report)
    assert check(report, :machine, "helper, IPv4").fact =~ "a redirected connection arrived"
    assert check(report, :route, "choice").fact =~ "kernel, because"

    for route <- ["vm", "kernel"],
        do: assert(check(report, :route, route).source =~ "closed again")

    assert_nothing_left()
  end

  test "a broken helper is a warning if the vm route is allowed" do
    sudo(
      "install -D -m 755 #{K8sConnect.Helper.Program.built()} #{K8sConnect.Helper.Program.path()}"
    )

    on_exit(&remove_helper/0)
    report = assert_sound(examine("app-0"))
    assert %{machine: :warning, handshake: :ok, route: :warning} = layers(report)
    assert Report.code(report) == 4
    assert check(report, :machine, "helper").why =~ "its file has none"
    assert layers(assert_sound(examine("app-0", route: :vm))).route == :ok
  end

  defmodule Broken do
    def checks, do: [{"broken", :nothing, fn _context -> raise "it broke" end}]
  end

  test "a check that crashes does not stop the others" do
    layers = List.insert_at(Doctor.layers(), 3, {:broken, Broken})
    report = Doctor.examine("app-0", [], layers)

    assert %{broken: :crashed, machine: :ok, pod: :ok, handshake: :ok, route: :ok} =
             layers(report)

    assert Report.code(report) == 3
    text = report |> Report.text() |> IO.ANSI.format(false) |> IO.iodata_to_binary()
    assert text =~ "☠ broken                   the check crashed: RuntimeError: it broke\n"
    assert text =~ "\nFailed: Broken.\n"
    refute text =~ "doctor_cluster_test.exs"
  end

  test "a redacted report has no host, user or cookie" do
    text = Report.public(examine("app-0", as("nobody"))) <> Report.public(examine("app-0"))

    for word <- ["10.200.0.1", "nobody", "testcluster", cookie(), System.fetch_env!("HOME")],
        do: refute(text =~ word)

    assert text =~ "https://<server>:6443"
    assert text =~ "kind: User, name: <user>}]"
    assert text =~ "app@10.244.1."
  end

  test "the report as JSON" do
    report = examine("app-0")
    file = Path.join(K8sConnect.Tmp.tmp_dir(%{}).tmp_dir, "report.json")
    File.write!(file, Report.json(report))

    # Another's parser, and its writer in the form of ours.
    script =
      "import json, sys; print(json.dumps(json.load(open(sys.argv[1])), sort_keys=True, " <>
        "separators=(',', ':'), ensure_ascii=False))"

    assert {output, 0} = System.cmd("python3", ["-c", script, file])
    assert String.trim_trailing(output, "\n") == IO.iodata_to_binary(JSON.encode(report))
  end
end
