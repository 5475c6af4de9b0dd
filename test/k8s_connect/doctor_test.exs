defmodule K8sConnect.DoctorTest do
  # What needs no cluster: how checks run, and what is made of their findings.
  use ExUnit.Case, async: true

  alias K8sConnect.{Doctor, Error, ErrorExamples}
  alias K8sConnect.Doctor.{Check, Cluster, Layer, Permissions, Pod, Redaction, Role}

  defmodule Crashing do
    import K8sConnect.Doctor.Check

    def checks do
      [
        {"before", :nothing, fn _context -> {ok("fine"), %{api: %{}, library: "here"}} end},
        {"raises", :nothing, fn _context -> raise "it broke" end},
        {"exits", :nothing, fn _context -> exit({:secret, "s3cret"}) end},
        {"no match", :nothing, fn context -> Map.fetch!(context, %{secret: "s3cret"}) end},
        {"gives", :library, fn _context -> throw(:away) end},
        {"needs", :access, fn _context -> ExUnit.Assertions.flunk("it was run") end},
        {"several", :nothing, fn _c -> [Map.put(ok("one"), :name, "first"), ok("two")] end}
      ]
    end
  end

  test "a check that crashes does not stop the others" do
    {checks, context} = Layer.run(Crashing, %{})

    assert Enum.map(checks, &{&1.name, &1.status}) == [
             {"before", :ok},
             {"raises", :crashed},
             {"exits", :crashed},
             {"no match", :crashed},
             {"gives", :crashed},
             {"needs", :skipped},
             {"first", :ok},
             {"several", :ok}
           ]

    assert context == %{api: %{}, library: "here"}
    facts = Enum.map(checks, & &1.fact)
    assert "the check crashed: RuntimeError: it broke" in facts
    assert "skipped: the kubeconfig gives no cluster" in facts
    refute inspect(checks) =~ "s3cret"
  end

  test "control characters are removed, and long text is cut" do
    finding =
      Check.failed("a\e[2Jb\r\n\u009Bc", <<"d", 0xFF>>, String.duplicate("e", 9_000), "f\ng\e")

    assert %{fact: "a[2Jbc", source: "d\uFFFD", command: "f\ng"} =
             clean = Check.printable(finding)

    assert String.length(clean.why) == 2_000
    assert clean.status == :failed
  end

  test "the status is the worst one, without skipped checks" do
    worst = fn statuses -> Check.worst(Enum.map(statuses, &%{status: &1})) end
    assert worst.([]) == :ok
    assert worst.([:skipped, :skipped]) == :skipped
    assert worst.([:skipped, :ok]) == :ok
    assert worst.([:warning, :ok, :skipped]) == :warning
    assert worst.([:warning, :failed]) == :failed
    assert worst.([:crashed, :failed]) == :crashed
  end

  test "a cookie file that cannot be read skips all later layers" do
    report = Doctor.examine("app-0", cookie_file: "/does/not/exist")
    assert report.status == :failed
    [machine | others] = report.layers
    assert machine.status == :failed
    assert [check] = for(%{name: "options"} = c <- machine.checks, do: c)

    assert check.why ==
             "could not read the cookie file /does/not/exist: no such file or directory"

    assert check.command == "ls -l /does/not/exist"
    assert Enum.all?(others, &(&1.status == :skipped))

    for layer <- others,
        check <- layer.checks,
        do: assert(check.fact == "skipped: the options cannot be used")
  end

  test "invalid options raise" do
    assert_raise ArgumentError, ~r/option :port: expected a port/, fn ->
      Doctor.examine("app-0", port: 0)
    end

    assert_raise ArgumentError, ~r/unknown option :prot/, fn -> Doctor.examine(nil, prot: 1) end
  end

  defmodule Slow do
    import K8sConnect.Doctor.Check
    alias K8sConnect.Doctor.Handshake

    def checks do
      [
        {"stuck", :nothing, fn _ -> Handshake.call(node(), :timer, :sleep, [:infinity], 1) end},
        {"lost", :nothing, fn _ -> Handshake.call(:nowhere@nohost, :erlang, :node, [], 99) end},
        {"after", :nothing, fn _ -> ok("fine") end}
      ]
    end
  end

  test "a node that does not answer is a failure, not a crash" do
    assert {[stuck, lost, later], _context} = Layer.run(Slow, %{requested_target: "app-0"})
    assert %{status: :failed, fact: "timed out after 1 ms: the node did not answer"} = stuck
    assert stuck.command == "mix k8s.doctor app-0"
    assert %{status: :failed, fact: "lost the connection to nowhere@nohost" <> _rest} = lost
    assert later.status == :ok
  end

  test "a cookie that everyone knows is a warning" do
    alias K8sConnect.Doctor.Handshake
    assert %{status: :ok} = Handshake.cookie_from("RELEASE_COOKIE of container app")
    source = "the default of image emqx, a default that everyone knows"
    assert %{status: :warning, source: ^source, why: why} = Handshake.cookie_from(source)
    assert why =~ "run any code"
  end

  test "each layer is reported when it is done" do
    test = self()
    layers = [first: Slow, second: Crashing]

    Doctor.examine("app-0", [progress: &send(test, {:layer, &1.name, &1.status})], layers)
    |> then(&assert Enum.map(&1.layers, fn layer -> layer.name end) == [:first, :second])

    assert_received {:layer, :first, :failed}
    assert_received {:layer, :second, :crashed}
  end

  test "a failure has the message and the advice of the error, and its command" do
    context = %{requested_target: "app-0", options: [namespace: "shop"]}

    for {stage, reason, why, command} <- [
          {:cluster, {:unreachable, %{server: "https://s", problem: "refused"}},
           "could not connect to the API server https://s: refused. Is the cluster up? Does it need a VPN?",
           "kubectl cluster-info"},
          {:config, {:not_found, %{paths: ["/a"]}}, "missing kubeconfig: no such file: /a",
           "mix k8s.doctor app-0 -n shop --kubeconfig PATH"},
          {:node, {:several_nodes, %{pod: "p", namespace: "n", available: ["a", "b"]}},
           "could not choose a node: pod \"p\" has several: a, b",
           "mix k8s.doctor app-0 -n n --node a"},
          {:target, {:no_container, %{container: "c", available: ["a"]}},
           "no such container: \"c\". The pod has a", "mix k8s.doctor app-0 -n shop -c a"},
          {:cluster,
           {:forbidden, %{verb: "get", resource: "pods", namespace: "n", message: "no"}},
           "permission denied: could not get pods in namespace \"n\" (403): no. Is it the right namespace?",
           "kubectl auth can-i get pods -n n"},
          {:cookie, {:exec_failed, %{pod: "p", problem: "no sh"}},
           "could not read the cookie from the running node in pod \"p\": no sh. This needs sh and sed in the " <>
             "container, as the user of the node",
           "mix k8s.doctor app-0 -n shop --cookie-file PATH"}
        ] do
      finding = Check.failure("fact", Error.new(stage, reason), context)
      assert finding == Check.failed("fact", nil, why, command)
    end
  end

  test "every error has a cause, and its command is not one of mix k8s.connect" do
    context = %{requested_target: "app-0", options: [namespace: "shop"]}

    for {stage, kind, details} <- ErrorExamples.all(), {stage, kind} != {:exec, :nested} do
      finding = Check.failure("x", Error.new(stage, {kind, details}), context)
      assert String.length(finding.why) > 15
      refute finding.why =~ "K8sConnect.connect"
      refute finding.command && finding.command =~ "mix k8s.connect"
    end
  end

  test "a command is about the examined cluster" do
    context = %{
      requested_target: "app-0",
      options: [kubeconfig: "/a b", context: "given"],
      access: %{context: "prod", namespace: "shop"}
    }

    render = &Check.render(Check.failed("f", nil, "w", &1), context).command

    assert render.({:kubectl, ["get", "pods"]}) ==
             "kubectl get pods -n shop --context prod --kubeconfig '/a b'"

    assert render.({:mix, "k8s.helper", ["status"]}) == "mix k8s.helper status"

    assert render.({:mix, "k8s.doctor", [report: true]}) ==
             "mix k8s.doctor app-0 -n shop --context prod --kubeconfig '/a b' --report"
  end

  test "a clock difference of more than a minute is a warning" do
    assert %{status: :ok} = Cluster.clock_of(900)
    assert %{status: :ok} = Cluster.clock_of(-59_000)
    assert %{status: :warning, fact: "90 s ahead of the API server"} = Cluster.clock_of(90_400)
    assert %{status: :warning, fact: "3600 s behind" <> _rest} = Cluster.clock_of(-3_600_000)
  end

  test "many or recent restarts are a warning" do
    pod = %{name: "p", container: "c", restarts: 1, ended: {3600, "Error, exit code 1"}}

    assert %{status: :ok, fact: "1, the last 60 min ago (Error" <> _rest} = Pod.restarts_of(pod)

    assert %{status: :ok} = Pod.restarts_of(%{pod | restarts: 0, ended: nil})
    assert %{status: :warning} = Pod.restarts_of(%{pod | restarts: 6})
    recent = %{pod | ended: {30, "OOMKilled, exit code 137"}}
    assert %{status: :warning, command: command} = Pod.restarts_of(recent)
    assert command == {:kubectl, ["logs", "p", "-c", "c", "--previous"]}
  end

  test "Kubernetes versions whose WebSockets need only get" do
    for version <- ["v1.34.4", "v1.9.0-eks-1"], do: assert(Permissions.get_is_enough?(version))

    for version <- ["v1.35.0", "v1.37.2", "v1.100.0", "v2.0.0", "unknown"],
        do: refute(Permissions.get_is_enough?(version))
  end

  @rights [
    %{verb: "get", resource: "pods", name: nil, allowed: true},
    %{verb: "list", resource: "pods", name: nil, allowed: false},
    %{verb: "create", resource: "pods/portforward", name: nil, allowed: false},
    %{verb: "get", resource: "secrets", name: "app-cookie", allowed: true}
  ]

  test "the Role has all permissions, and comments mark the missing ones" do
    assert Role.yaml(@rights, "dev") == """
           apiVersion: rbac.authorization.k8s.io/v1
           kind: Role
           metadata: {name: k8s-connect-dev-app-cookie}
           rules:
           - {apiGroups: [""], resources: [pods], verbs: [get, list]}  # missing: list
           - {apiGroups: [""], resources: [pods/portforward], verbs: [create]}  # missing: create
           - {apiGroups: [""], resources: [secrets], resourceNames: [app-cookie], verbs: [get]}
           ---
           apiVersion: rbac.authorization.k8s.io/v1
           kind: RoleBinding
           metadata: {name: k8s-connect-dev-app-cookie}
           roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: k8s-connect-dev-app-cookie}
           subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: dev}]
           """

    assert Role.yaml(@rights, "system:serviceaccount:shop:ci") =~
             "{kind: ServiceAccount, name: ci, namespace: shop}"

    assert Role.yaml(@rights, "jo@example.com: x\nEOF") =~ ~S(name: "jo@example.com: x\nEOF"})
    assert Role.yaml(@rights, nil) =~ "name: YOUR-USER}"

    # The name of the Role is one that an object can have, and nobody else's.
    for user <- ["jo@example.com: x\nEOF", "Jo", "jo-", "ü", String.duplicate("a", 300)] do
      [_all, name] = Regex.run(~r/metadata: {name: (.*)}/, Role.yaml(Enum.take(@rights, 3), user))
      assert name =~ ~r/^k8s-connect(-[a-z0-9]+)+$/ and byte_size(name) < 64
      refute name == "k8s-connect-jo"
    end
  end

  test "the required verb of port-forward and exec depends on the version" do
    need = fn resource, may_get?, version ->
      rights =
        for {verb, allowed} <- [{"get", may_get?}, {"create", false}],
            do: %{verb: verb, resource: resource, allowed: allowed, need: :needed, why: ""}

      List.last(Permissions.judge(rights, version)).need
    end

    for resource <- ["pods/portforward", "pods/exec"] do
      assert need.(resource, true, "v1.34.4") == :helps
      assert need.(resource, false, "v1.34.4") == :needed
      assert need.(resource, true, "v1.35.0") == :needed
    end
  end

  test "redacted text has no hosts, users or secrets" do
    known = [
      {"api.corp.example", "<server>"},
      {"jo", "<user>"},
      {"/home/jo", "~"},
      {"@vm", "<host>"}
    ]

    public = fn text -> Redaction.text(text, Enum.sort_by(known, &(-byte_size(elem(&1, 0))))) end

    for {text, expected} <- [
          {"https://api.corp.example:6443 as jo, not john",
           "https://<server>:6443 as <user>, not john"},
          {"/home/jo/.kube/config", "~/.kube/config"},
          {"https://u:p@proxy:3128", "https://<user>@proxy:3128"},
          {"as someone@corp.example.com (Bearer abc.def-1)", "as <user> (<token>)"},
          {"got eyJhbGciOi.eyJzdWI.sig1 back", "got <token> back"},
          {"token=abc, password=x", "token=<secret>, password=<secret>"},
          {"arn:aws:eks:eu-1:123:cluster/x", "<arn>"},
          {"-----BEGIN RSA PRIVATE KEY-----\nabc", "<key>"},
          {"node me@vm, by the route vm", "node me@<host>, by the route vm"},
          {"app@10.244.1.2, port 5555", "app@10.244.1.2, port 5555"}
        ],
        do: assert(public.(text) == expected)
  end

  test "a report is redacted" do
    check = %{name: "kubeconfig", status: :ok, source: "/x", why: nil, command: nil}
    check = Map.put(check, :fact, "context prod-eu, namespace shop, https://[fd00::1]:6443")
    user = %{check | name: "user", fact: "oidc:jo, groups developers, system:authenticated"}

    seen = %{
      check
      | name: "API server",
        fact: "fd00::1",
        why: "oidc:jo on prod-eu",
        command: "x --context prod-eu"
    }

    layer = %{name: :cluster, title: "Cluster", status: :ok, checks: [check, user, seen]}
    public = Redaction.report(%{status: :ok, target: nil, layers: [layer]})
    text = inspect(public)
    for word <- ["prod-eu", "oidc:jo"], do: refute(text =~ word)
    assert text =~ "namespace shop"
    assert text =~ "<user> on <context>"
  end
end
