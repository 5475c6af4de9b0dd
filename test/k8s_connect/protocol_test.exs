defmodule K8sConnect.ProtocolTest do
  # What is spoken on the way to a pod, and what is between: from the laptop, through gateways that
  # this test starts there, to the real API server.
  use ExUnit.Case, async: false

  import K8sConnect.Laptop, only: [get_is_enough?: 0]
  import K8sConnect.Tmp

  alias K8sConnect.{Connection, Error, Gateway}

  @moduletag :cluster
  @moduletag timeout: 180_000

  @upgrades """
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection upgrade;
  """
  # How a refusal looks, for a gateway that knows WebSockets only.
  @spdy_refused [
    {"nginx with 403", :nginx, "if ($not_websocket) { return 403; }" <> @upgrades,
     "403 Forbidden"},
    {"nginx with 400", :nginx, "if ($not_websocket) { return 400; }" <> @upgrades,
     "400 Bad Request"},
    {"nginx that drops the header", :nginx,
     """
     proxy_set_header Upgrade $only_websocket;
     proxy_set_header Connection upgrade;
     """, "400 Bad Request unable to upgrade: missing upgrade headers in request"},
    {"nginx that drops both headers", :nginx,
     """
     proxy_set_header Upgrade $only_websocket;
     proxy_set_header Connection $only_upgrade;
     """, "400 Bad Request Upgrade request required"},
    {"haproxy with 400", :haproxy,
     "http-request deny deny_status 400 if { req.hdr(upgrade) -i spdy/3.1 }", "400 Bad Request"},
    {"haproxy that closes the connection", :haproxy,
     "http-request reject if { req.hdr(upgrade) -i spdy/3.1 }",
     "no answer, the connection was closed"}
  ]
  @tunnel "SPDY/3.1 inside a WebSocket through the API server"

  setup :tmp_dir

  setup do
    on_exit(fn ->
      for connection <- K8sConnect.connections(), do: K8sConnect.disconnect(connection)
    end)
  end

  # A connection that works, and what it says its port-forward connection is.
  defp link(options, target \\ "app-0") do
    assert {:ok, %Connection{} = connection} = connect(target, options)
    assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
    assert_received {:step, "port-forward", detail, _ms}
    K8sConnect.disconnect(connection)
    detail
  end

  defp failure(options, target \\ "app-0") do
    assert {:error, %Error{} = error} = connect(target, options)
    refute Node.alive?()
    error
  end

  defp connect(target, options) do
    test = self()
    K8sConnect.connect(target, [progress: &send(test, &1)] ++ options)
  end

  defp user(name), do: [kubeconfig: Path.expand("~/.kube/#{name}")]

  # Somebody else, of whom there is a Role only.
  defp as(name, tmp_dir) do
    [kubeconfig: path] = new_user("lead", tmp_dir)
    text = File.read!(path)
    File.write!(path, String.replace(text, "  user:\n", "  user:\n    as: #{name}\n"))
    [kubeconfig: path]
  end

  # A kubeconfig that nothing is remembered of.
  defp new_user(name, tmp_dir) do
    path = Path.join(tmp_dir, "#{name}-#{System.unique_integer([:positive])}")
    File.cp!(Path.expand("~/.kube/#{name}"), path)
    [kubeconfig: path]
  end

  describe "asked for by name" do
    test "each is what it says" do
      assert link([]) == "SPDY/3.1 through the API server"
      assert link(protocol: :spdy) == "SPDY/3.1 through the API server"
      assert link(protocol: :websocket) == @tunnel

      assert link(protocol: :v4) ==
               "a WebSocket (v4.channel.k8s.io) for each stream through the API server"
    end

    test "the node's port is the first one where it was given" do
      for protocol <- [:spdy, :websocket, :v4], do: assert(link(protocol: protocol, port: 5555))
    end

    test "the cookie from the running node, too", %{tmp_dir: tmp_dir} do
      for protocol <- [:auto, :spdy, :websocket, :v4] do
        assert link([protocol: protocol, cookie_from: :exec] ++ as("runner", tmp_dir))
      end
    end

    test "and nothing else is tried", %{tmp_dir: tmp_dir} do
      getter = [protocol: :spdy] ++ user("getter")
      assert %{reason: {:forbidden, %{verb: "create"}}} = failure(getter)

      for protocol <- [:websocket, :v4] do
        creator = [protocol: protocol] ++ user("creator")
        assert %{reason: {:forbidden, %{verb: "get"}}} = failure(creator)
      end

      rules = "http-request deny deny_status 400 if { req.hdr(upgrade) -m found }"
      kubeconfig = Gateway.start(:haproxy, tmp_dir, rules)

      assert %{reason: {:no_upgrade, %{answers: ["SPDY was answered with 400" <> _]}}} =
               failure(protocol: :spdy, kubeconfig: kubeconfig)
    end
  end

  describe "a Role" do
    test "with get only leads to a WebSocket each time, and from Kubernetes 1.35 on misses create",
         %{tmp_dir: tmp_dir} do
      getter = new_user("getter", tmp_dir)

      if get_is_enough?() do
        for _ <- 1..2 do
          assert link(getter) =~ ~r/^#{@tunnel}, as SPDY was refused: 403 .*cannot create/
        end

        assert link([protocol: :websocket] ++ getter) == @tunnel
        assert link([protocol: :v4] ++ getter) =~ "v4.channel.k8s.io"
      else
        assert missing_create("pods/portforward", getter) =~
                 "User \"getter\" cannot create resource"

        # The answer to a WebSocket does not name the verb.
        for protocol <- [:websocket, :v4] do
          missing_create("pods/portforward", [protocol: protocol] ++ getter)
        end
      end
    end

    test "of pods/exec with get only does the same", %{tmp_dir: tmp_dir} do
      getter = [cookie_from: :exec] ++ as("exec-getter", tmp_dir)

      if get_is_enough?(),
        do: assert(link(getter) =~ "SPDY/3.1 through"),
        else: missing_create("pods/exec", getter)

      error = failure([cookie_from: :exec] ++ user("dev"))
      assert {:forbidden_get_and_create, %{resource: "pods/exec"}} = error.reason
      assert Exception.message(error) =~ "resources: [pods/exec], verbs: [get, create]"
    end

    defp missing_create(resource, options) do
      error = failure(options)
      assert {:forbidden, %{verb: "create", resource: ^resource}} = error.reason
      message = Exception.message(error)
      assert message =~ "permission denied"
      assert message =~ "verb create on #{resource} is missing in namespace \"default\""
      assert message =~ "resources: [#{resource}], verbs: [get, create]}"
      message
    end

    test "with create only is enough", %{tmp_dir: tmp_dir} do
      assert link(new_user("creator", tmp_dir)) == "SPDY/3.1 through the API server"
    end

    test "with neither is an error that names both", %{tmp_dir: tmp_dir} do
      error = failure(as("reader", tmp_dir))

      assert {:forbidden_get_and_create, %{resource: "pods/portforward", namespace: "default"}} =
               error.reason

      assert Exception.message(error) =~ "mix k8s.doctor app-0 -n default"
    end
  end

  describe "behind" do
    for {name, program, rules, answer} <- @spdy_refused do
      test "#{name}: a WebSocket, and at once the next time", %{tmp_dir: tmp_dir} do
        kubeconfig = Gateway.start(unquote(program), tmp_dir, unquote(rules))

        for _ <- 1..2 do
          assert link(kubeconfig: kubeconfig) ==
                   "#{@tunnel}, as SPDY was refused: #{unquote(answer)}"
        end

        assert link(kubeconfig: kubeconfig, protocol: :v4) =~ "v4.channel.k8s.io"
        assert link([kubeconfig: kubeconfig], "named") =~ @tunnel
      end
    end

    test "one that refuses both: what each was answered with", %{tmp_dir: tmp_dir} do
      plain = Gateway.start(:nginx, tmp_dir, "")
      error = failure(kubeconfig: plain)
      assert {:no_upgrade, %{pod: "app-0", answers: [spdy, websocket]}} = error.reason
      assert spdy == "SPDY was answered with 400 Bad Request Upgrade request required"
      assert websocket =~ "a WebSocket was answered with 400 Bad Request Upgrade request required"
      assert Exception.message(error) =~ "kubectl port-forward app-0 4369 -n default"

      rules = "http-request deny deny_status 403 if { req.hdr(upgrade) -m found }"
      deny = Gateway.start(:haproxy, tmp_dir, rules)
      error = failure(kubeconfig: deny)
      assert {:no_upgrade, %{answers: ["SPDY" <> _, "a WebSocket" <> _]}} = error.reason
      assert Exception.message(error) =~ "403 Forbidden, and a WebSocket"
    end

    test "one whose answer is the API server's, which counts", %{tmp_dir: tmp_dir} do
      kubeconfig = Gateway.start(:haproxy, tmp_dir, "")
      assert link(kubeconfig: kubeconfig) == "SPDY/3.1 through the API server"
      assert {:no_such_pod, _} = failure([kubeconfig: kubeconfig], "no-such-pod").reason
    end
  end

  test "what was remembered is forgotten when it fails", %{tmp_dir: tmp_dir} do
    turned = Path.join(tmp_dir, "turned")

    # First it refuses the one, and once the file is there the other.
    rules = """
    set $asked $http_upgrade;
    if (-f #{turned}) { set $asked "turned $http_upgrade"; }
    if ($asked = "SPDY/3.1") { return 403; }
    if ($asked = "turned websocket") { return 403; }
    """

    options = [kubeconfig: Gateway.start(:nginx, tmp_dir, rules <> @upgrades)]
    assert link(options) =~ @tunnel
    File.touch!(turned)
    assert link(options) == "SPDY/3.1 through the API server"
    File.rm!(turned)
    assert link(options) =~ @tunnel
  end

  describe "a balancer that cuts what is silent for 12 s" do
    test "does cut a connection on which nobody asks", %{tmp_dir: tmp_dir} do
      text = File.read!(Gateway.start(:haproxy, tmp_dir, ""))
      [_, port] = Regex.run(~r/127.0.0.1:(\d+)/, text)
      [_, token] = Regex.run(~r/token: (\S+)/, text)
      {:ok, _started} = Application.ensure_all_started(:ssl)
      options = [verify: :verify_none, log_level: :none]
      {:ok, socket} = :ssl.connect({127, 0, 0, 1}, String.to_integer(port), options)

      request = [
        "POST /api/v1/namespaces/default/pods/named/portforward HTTP/1.1\r\nHost: gateway\r\n",
        "Authorization: Bearer #{token}\r\nContent-Length: 0\r\nConnection: Upgrade\r\n",
        "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\n\r\n"
      ]

      :ok = :ssl.send(socket, request)
      assert_receive {:ssl, ^socket, 'HTTP/1.1 101 ' ++ _}, 5_000
      assert_receive {:ssl_closed, ^socket}, 20_000
    end

    for protocol <- [:spdy, :websocket, :v4] do
      test "does not cut #{protocol}", %{tmp_dir: tmp_dir} do
        kubeconfig = Gateway.start(:haproxy, tmp_dir, "")
        options = [kubeconfig: kubeconfig, protocol: unquote(protocol)]
        {:ok, %{node: node} = connection} = connect("named", options)

        on_exit(fn ->
          {:ok, connection} = K8sConnect.connect("named")
          :erpc.call(connection.node, :net_kernel, :set_net_ticktime, [60, 0])
          K8sConnect.disconnect(connection)
        end)

        # Neither side ticks: what is left is the link's own question after 10 s.
        :erpc.call(node, :net_kernel, :set_net_ticktime, [3600, 0])
        :net_kernel.set_net_ticktime(3600, 0)
        Node.monitor(node, true)
        refute_receive {:nodedown, ^node}, 30_000
        assert :erpc.call(node, :erlang, :node, []) == node
        K8sConnect.disconnect(connection)
      end
    end
  end
end
