defmodule K8sConnect.VariantsTest do
  # The main job, on both routes, to everything that teams name, place and build their nodes like.
  use ExUnit.Case, async: false

  import K8sConnect.Project

  alias K8sConnect.{FakeLivebook, Ground, Terminal, Tmp}

  @moduletag :host
  @moduletag timeout: 600_000

  @cluster {"K8S_CONNECT_CLUSTER", "life"}

  # Connects to each by each route, in one BEAM, and says what came of it, one line each.
  @work """
  for target <- System.argv(), route <- [:vm, :kernel] do
    result =
      with {:ok, connection} <- K8sConnect.connect(target, route: route) do
        node = :erpc.call(connection.node, :erlang, :node, [])
        false = connection.node in Node.list()
        :ok = K8sConnect.disconnect(connection)
        {:ok, node, connection.cookie_source}
      else
        {:error, error} -> {:error, error.stage, elem(error.reason, 0)}
      end

    IO.puts("result " <> inspect({target, route, result}))
  end

  false = Node.alive?()
  """

  # variant => the node's name and where its cookie is from, or the failure's kind; or these for each route.
  @expected %{
    "any-port" => {~r/^app@10\.244/, "Secret any-port-cookie, key cookie"},
    "config-map" => {~r/^app@10\.244/, "ConfigMap config-map-cookie, key cookie"},
    "couchdb" => {~r/^couchdb@10\.244/, "-setcookie in ERL_FLAGS of container app"},
    "deployment" => {~r/^app@10\.244/, "Secret deployment-cookie"},
    "distroless" => {~r/^node@10\.244/, "Secret distroless-cookie, key .erlang.cookie (a file"},
    "dns" => {~r/^app@dns-0\.dns\.default\.svc\.cluster\.local$/, "Secret dns-cookie"},
    "ejabberd" =>
      {~r/^ejabberd@ejabberd-0\.ejabberd-headless/, "Secret ejabberd-cookie, key cookie"},
    "ejabberd-debian" => %{
      vm: {~r/^ejabberd@localhost$/, "Secret ejabberd-debian-cookie, key .erlang.cookie (a file"},
      kernel: {:route, :host_elsewhere}
    },
    "emqx" => {~r/^emqx@emqx-0\.emqx-headless/, "Secret emqx-cookie, key cookie"},
    "env-from" => {~r/^app@10\.244/, "Secret env-from-cookie, key RELEASE_COOKIE"},
    "epmd-port" => {~r/^app@10\.244/, "Secret epmd-port-cookie"},
    "erlang" => {~r/^node@10\.244/, "Secret erlang-cookie"},
    "file-cookie" => {:cookie, :not_found},
    "gleam" => {~r/^gleam@10\.244/, "Secret gleam-cookie, key cookie (-setcookie in ERL_FLAGS"},
    "ip-only" => {:node, :port_refused},
    "no-epmd" => {~r/^app@10\.244/, "Secret no-epmd-cookie"},
    "plain-env" => {~r/^app@10\.244/, "RELEASE_COOKIE of container app"},
    "rabbitmq" => {~r/^rabbit@rabbitmq-0$/, "Secret rabbitmq-cookie, key .erlang.cookie (a file"},
    "rabbitmq-chart" =>
      {~r/^rabbit@rabbitmq-chart-0\.rabbitmq-chart-headless/,
       "Secret rabbitmq-chart-cookie, key cookie (the file in RABBITMQ_ERL_COOKIE_FILE"},
    "rabbitmq-operator" =>
      {~r/^rabbit@rabbitmq-operator-0\.rabbitmq-operator\.default$/,
       "Secret rabbitmq-operator-cookie, key .erlang.cookie (a file of init container setup-container"},
    "short" => {~r/^app@short-0$/, "Secret short-cookie"},
    "sidecar" => {~r/^app@10\.244/, "Secret sidecar-cookie, key cookie"},
    "two-nodes" => {:node, :several_nodes},
    "vernemq" => {~r/^VerneMQ@10\.244/, "Secret vernemq-cookie, key cookie"}
  }

  setup_all do
    on_exit(fn -> cluster(["down"]) end)
    assert {_output, 0} = cluster(["up"])

    # What each is waited for is mostly the kubelet's, one a second.
    @expected
    |> Map.keys()
    |> Task.async_stream(&cluster(["app", &1, "--variant", &1]),
      max_concurrency: 4,
      timeout: 300_000
    )
    |> Enum.each(fn {:ok, {output, status}} -> assert status == 0, output end)
  end

  defp cluster(words, env \\ []),
    do: Ground.cluster("life", words, env)

  defp laptop(words), do: cluster(["laptop", "--helper"] ++ words, [{"MIX_ENV", "dev"}])

  defp target("deployment"), do: "deploy/deployment"
  defp target(variant), do: "#{variant}-0"

  test "all variants are here" do
    files = Path.wildcard(path("test/cluster/manifests/variants/*.yaml"))
    # These have tests of their own.
    elsewhere = ["ipv6", "tls", "tls-operator"]
    expected = Enum.sort(Map.keys(@expected) ++ elsewhere)
    assert Enum.sort(for file <- files, do: Path.basename(file, ".yaml")) == expected
  end

  test "each variant connects on both routes, or says why it cannot" do
    targets = for {variant, _expected} <- @expected, do: target(variant)
    assert {output, 0} = laptop(["mix", "run", "-e", @work, "--" | targets])

    results =
      for [_, term] <- Regex.scan(~r/^result (.*)$/m, output),
          {{target, route, result}, []} = Code.eval_string(term),
          into: %{},
          do: {{target, route}, result}

    for {variant, expected} <- @expected, route <- [:vm, :kernel] do
      expected = if is_map(expected), do: expected[route], else: expected
      result = results[{target(variant), route}]
      assert fits?(result, expected), "#{variant}, #{route}: #{inspect(result)}\n#{output}"
    end

    assert_in_guide(results)
  end

  # Rows of the guide, from what was found here. Each pod has the shape of a product's chart or operator.
  @products [
    {"RabbitMQ, cluster operator", "rabbitmq-operator"},
    {"RabbitMQ, chart", "rabbitmq-chart"},
    {"EMQX, chart", "emqx"},
    {"VerneMQ, chart", "vernemq"},
    {"CouchDB, older chart", "couchdb"},
    {"ejabberd, chart", "ejabberd"},
    {"ejabberd, Debian's package", "ejabberd-debian"},
    {"Gleam shipment", "gleam"}
  ]

  defp assert_in_guide(results) do
    guide = File.read!(path("guides/nodes.md"))

    for {product, variant} <- @products do
      {:ok, node, source} = results[{target(variant), :vm}]
      name = node |> Atom.to_string() |> String.replace(~r/@10\.244[.0-9]+$/, "@POD-IP")

      row =
        "| [#{product}](../test/cluster/manifests/variants/#{variant}.yaml) | `#{name}` | #{source} |"

      assert guide =~ row, "guides/nodes.md lacks #{row}"
    end
  end

  defp fits?({:ok, node, source}, {%Regex{} = name, from}),
    do: Atom.to_string(node) =~ name and String.starts_with?(source, from)

  defp fits?({:error, stage, kind}, {stage, kind}), do: true
  defp fits?(_result, _expected), do: false

  test "from inside of the cluster, by the pod's service account" do
    image = ~w(kubectl get pod plain-env-0 -o jsonpath={.spec.containers[0].image})
    {image, 0} = cluster(image)
    manifest = Path.join(System.tmp_dir!(), "inside-#{System.pid()}.yaml")
    on_exit(fn -> File.rm(manifest) end)

    text =
      path("test/cluster/manifests/inside.yaml")
      |> File.read!()
      |> String.replace("@IMAGE@", image)
      |> String.replace("@LIBRARY@", path("_build/dev/lib/k8s_connect"))

    File.write!(manifest, text)
    assert {_output, 0} = cluster(["kubectl", "apply", "-f", manifest])
    done = "jsonpath={.status.phase}=Succeeded"
    wait = ["kubectl", "wait", "--for=#{done}", "pod/inside", "--timeout=60s"]
    {_output, status} = cluster(wait)
    {output, 0} = cluster(~w(kubectl logs inside))
    assert status == 0, output
    assert output =~ ~r/^in in-cluster: app@10\.244/m
  end

  test "a node without Elixir evaluates Erlang, and has no IEx" do
    assert {output, 0} = laptop(["mix", "k8s.connect", "erlang-0", "--rpc", "node()"])
    assert output =~ "Erlang, because the node has no Elixir"
    assert output =~ ~r/^'node@10\.244/m
    assert {output, 1} = laptop(~w(mix k8s.connect erlang-0 --remsh))
    assert output =~ "has no IEx"
  end

  test "Livebook attaches to a name that only the cluster knows, and not to a short one or to Erlang" do
    %{tmp_dir: directory} = Tmp.tmp_dir(%{})
    {"PATH", path} = FakeLivebook.install(directory)
    livebook = &laptop(["env", "PATH=#{path}", "mix", "k8s.livebook", &1])
    assert {output, 7} = livebook.("dns-0")
    assert output =~ "attached true 'app@dns-0.dns.default.svc.cluster.local'"
    assert {output, 1} = livebook.("short-0")
    assert output =~ "connects only to nodes with long names"
    assert {output, 1} = livebook.("erlang-0")
    assert output =~ "Elixir does not run on the node"
  end

  test "of two nodes each can be had by its name" do
    for name <- ["app", "second"] do
      words = ["mix", "k8s.connect", "two-nodes-0", "--node", name, "--rpc", "node()"]
      assert {output, 0} = laptop(words)
      assert output =~ ~r/^:"#{name}@10\.244/m
    end
  end

  test "a port that is told is where the node is, epmd or not" do
    words = &["mix", "k8s.connect", &1, "--port", &2, "--rpc", "node()"]
    assert {output, 0} = laptop(words.("epmd-port-0", "7777"))
    assert output =~ ~r/^:"app@10\.244/m
    assert {output, 0} = laptop(words.("short-0", "5555"))
    assert output =~ ~s(:"app@short-0")
    assert {output, 1} = laptop(words.("short-0", "5999"))
    assert output =~ "no Erlang node on port 5999"
  end

  test "the cookie of the running node needs a right of its own" do
    words = ["mix", "k8s.connect", "file-cookie-0", "--cookie-from", "exec", "--rpc", "node()"]
    assert {output, 1} = laptop(words)
    assert output =~ ~s(- {apiGroups: [""], resources: [pods/exec], verbs: [get, create]})

    {_output, 0} = cluster(~w(kubectl create role exec --verb=create --resource=pods/exec))

    {_output, 0} = cluster(~w(kubectl create rolebinding exec --role=exec --user=dev))

    assert {output, 0} = laptop(words)
    assert output =~ ~r"^cookie +the process in app"m
    assert output =~ ~r/^:"app@10\.244/m

    # Where the cookie is only in a file of the node's home, and where there is no shell to ask with.
    assert {output, 0} =
             laptop(["mix", "k8s.connect", "rabbitmq-0", "--cookie-from", "exec", "--no-wait"])

    assert output =~ ~r"^cookie +the process in app"m

    assert {output, 1} =
             laptop(["mix", "k8s.connect", "distroless-0", "--cookie-from", "exec", "--no-wait"])

    assert output =~ ~r/could not read the cookie from the running node.*"sh"/
    assert output =~ "--cookie-file"
  end

  test "another program finds a name that only the cluster knows by what the kernel route says" do
    line = "laptop --helper mix k8s.connect dns-0 --route kernel --hold"
    holder = Terminal.open("#{path("script/cluster")} #{line}", [@cluster, {"MIX_ENV", "dev"}])
    shown = Terminal.expect(holder, ~r/end it with: kill \d+/)
    [_, recipe] = Regex.run(~r/another one has to evaluate: (.*\]\))/, shown)
    [_, pid] = Regex.run(~r/end it with: kill (\d+)/, shown)
    {cookie, 0} = cluster(~w(kubectl get secret dns-cookie -o jsonpath={.data.cookie}))

    # In a file: a cookie has no business on a command line.
    code = """
    #{recipe}
    node = :"app@dns-0.dns.default.svc.cluster.local"
    Node.set_cookie(node, :"#{Base.decode64!(cookie)}")
    IO.inspect({Node.connect(node), Node.list(:hidden)})
    """

    file = "/var/lib/k8s_connect/life/laptop/home/plain.exs"
    File.write!(file, code)
    {_output, 0} = System.cmd("chown", ["4200:4200", file])
    File.chmod!(file, 0o600)

    assert {output, 0} = cluster(["laptop", "elixir", "--name", "plain@127.0.0.1", file])

    assert output =~ ~s({true, [:"app@dns-0.dns.default.svc.cluster.local"]})
    {_output, 0} = cluster(["laptop", "epmd", "-kill"])
    {_output, 0} = System.cmd("kill", [pid])
    Terminal.await_end(holder)
  end
end
