defmodule K8sConnect.DoctorTest do
  # What needs no cluster: how checks run, and what is made of their findings.
  use ExUnit.Case, async: true

  alias K8sConnect.{Doctor, Error}
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

  test "a check that crashes is told as that, and the others go on" do
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
    assert "the check itself failed: RuntimeError: it broke" in facts
    assert "not looked at, as the kubeconfig leads to no cluster" in facts
    refute inspect(checks) =~ "s3cret"
  end

  test "what comes from outside moves no cursor, and is not without end" do
    finding =
      Check.failed("a\e[2Jb\r\n\u009Bc", <<"d", 0xFF>>, String.duplicate("e", 9_000), "f\ng\e")

    assert %{fact: "a[2Jbc", source: "d\uFFFD", command: "f\ng"} =
             clean = Check.printable(finding)

    assert String.length(clean.why) == 2_000
    assert clean.status == :failed
  end

  test "the worst counts, and what was skipped is no fault" do
    worst = fn statuses -> Check.worst(Enum.map(statuses, &%{status: &1})) end
    assert worst.([]) == :ok
    assert worst.([:skipped, :skipped]) == :skipped
    assert worst.([:skipped, :ok]) == :ok
    assert worst.([:warning, :ok, :skipped]) == :warning
    assert worst.([:warning, :failed]) == :failed
    assert worst.([:crashed, :failed]) == :crashed
  end

  test "options that cannot be used are the first thing that is told" do
    report = Doctor.examine("app-0", port: 0)
    assert report.status == :failed
    [machine | others] = report.layers
    assert machine.status == :failed

    assert [%{command: "mix help k8s.doctor"} = check] =
             for(%{name: "options"} = c <- machine.checks, do: c)

    assert check.why =~ "option :port"
    assert Enum.all?(others, &(&1.status == :skipped))

    for layer <- others,
        check <- layer.checks,
        do: assert(check.fact =~ "the options cannot be used")
  end

  test "a failure has its reason and one command" do
    context = %{asked: "app-0", options: [namespace: "shop"], wish: %{cookie: :spec}}

    for {stage, reason, why, command} <- [
          {:cluster, {:unreachable, %{server: "https://s", problem: "refused"}},
           "could not reach the API server https://s: refused. Is the cluster up, and a VPN needed?",
           "kubectl cluster-info"},
          {:config, {:not_found, %{tried: ["/a"]}}, "found no kubeconfig: there is no file /a",
           "export KUBECONFIG=/path/to/kubeconfig"},
          {:node, {:several_nodes, %{pod: "p", namespace: "n", known: ["a", "b"]}},
           "there are several nodes in pod \"p\": a, b. Choose one with the option :node",
           "mix k8s.doctor app-0 -n shop --node a"},
          {:target, {:no_container, %{container: "c", known: ["a"]}},
           "the pod has no container \"c\". There are: a",
           "mix k8s.doctor app-0 -n shop --container a"},
          {:node, {:port_refused, %{pod: "p", namespace: "n", node: "a", port: 1, message: "no"}},
           "node \"a\" is registered with port 1, and nothing takes a connection there on the " <>
             "pod's loopback (no). It listens on the pod's IP only: take inet_dist_use_interface out of " <>
             "its vm.args, or set it to {0,0,0,0}", "kubectl exec -it p -n n -- ss -ltn"},
          {:cookie, {:not_there, %{pod: "p", problem: "no sh"}},
           "could not read the cookie from the running node in pod \"p\": no sh. It takes a container " <>
             "with sh and sed, and the rights of the node's user there",
           "mix k8s.doctor app-0 -n shop --cookie-file PATH"}
        ] do
      finding = Check.failure("fact", Error.new(stage, reason), context)
      assert finding == Check.failed("fact", nil, why, command)
    end
  end

  test "a command of kubectl is about the same cluster" do
    context = %{asked: "app-0", options: [kubeconfig: "/a b", context: "prod"]}
    about = fn command -> Check.about(Check.failed("f", nil, "w", command), context).command end
    assert about.("kubectl get pods") == "kubectl --kubeconfig '/a b' --context prod get pods"
    assert about.("kubectl get pods --context x") == "kubectl get pods --context x"
    assert about.("kubectl apply <<'EOF'\nEOF") == "kubectl apply <<'EOF'\nEOF"
    assert about.("mix k8s.helper status") == "mix k8s.helper status"
    assert Check.again(context) == "mix k8s.doctor app-0 --kubeconfig '/a b' --context prod"
  end

  test "a clock that is off by more than a minute" do
    assert %{status: :ok} = Cluster.clock_of(900)
    assert %{status: :ok} = Cluster.clock_of(-59_000)
    assert %{status: :warning, fact: "90 s ahead of the API server's"} = Cluster.clock_of(90_400)
    assert %{status: :warning, fact: "3600 s behind" <> _rest} = Cluster.clock_of(-3_600_000)
  end

  test "restarts that are many, or a moment ago" do
    pod = %{name: "p", container: "c", restarts: 1, ended: {3600, "Error, exit code 1"}}

    assert %{status: :ok, fact: "1, the last 60 min ago (Error" <> _rest} =
             Pod.restarts_of(pod, "n")

    assert %{status: :ok} = Pod.restarts_of(%{pod | restarts: 0, ended: nil}, "n")
    assert %{status: :warning} = Pod.restarts_of(%{pod | restarts: 6}, "n")
    recent = %{pod | ended: {30, "OOMKilled, exit code 137"}}
    assert %{status: :warning, command: command} = Pod.restarts_of(recent, "n")
    assert command == "kubectl logs p -n n -c c --previous"
  end

  test "the versions of Kubernetes on which get is enough for a WebSocket" do
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

  test "the Role has all that is needed, and marks what is missing" do
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

  test "which verb a port-forward and an exec need depends on the server" do
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

  test "what is public has no hosts, users or secrets of anybody" do
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

  test "a whole report is made public" do
    check = %{name: "kubeconfig", status: :ok, source: "/x", why: nil, command: nil}
    check = Map.put(check, :fact, "context prod-eu, namespace shop, https://[fd00::1]:6443")
    user = %{check | name: "user", fact: "oidc:jo, in developers, system:authenticated"}

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
