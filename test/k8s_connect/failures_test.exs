defmodule K8sConnect.FailuresTest do
  # Causes every failure of the catalogue with the real thing, on the laptop as `dev`. `K8sConnect.Failures` names
  # the tests of the others.
  # Not async: it changes the application's environment.
  use ExUnit.Case, async: false

  import K8sConnect.Kubeconfig, only: [changed: 3, user: 1]
  import K8sConnect.Tmp

  alias K8sConnect.{Error, ErrorExamples, Failures, Options}

  @moduletag :cluster
  @moduletag timeout: 120_000

  setup :tmp_dir

  setup do
    on_exit(fn ->
      for %{node: node} <- K8sConnect.connections(), do: K8sConnect.disconnect(node)
      for option <- [:protect, :net_kernel], do: Application.delete_env(:k8s_connect, option)
    end)
  end

  @kinds ErrorExamples.all() |> Enum.map(fn {stage, kind, _} -> {stage, kind} end) |> Enum.uniq()
  @untested Failures.untested() |> Map.values() |> Enum.concat()

  for {stage, kind} <- @kinds -- (Map.keys(Failures.elsewhere()) ++ @untested) do
    test "#{stage} #{kind}", %{tmp_dir: directory} do
      assert {:error, %Error{} = error} = failure(unquote(stage), unquote(kind), directory)
      assert {error.stage, elem(error.reason, 0)} == {unquote(stage), unquote(kind)}
      check(error)
    end
  end

  # The details of the example, and a message without Elixir or Rust terms.
  defp check(%Error{reason: {kind, details}, stage: stage} = error) do
    examples = for {^stage, ^kind, example} <- ErrorExamples.all(), do: Map.keys(example)
    assert Map.keys(details) in examples

    for message <- [Exception.message(error), Error.message(error, :cli)] do
      refute message =~ ~r/\e|%\{|%[A-Z]\w+\{|#(PID|Reference|Function)<|\*\* \(|Err\(|\.rs:/
      assert String.length(message) < 1500
    end

    assert String.length(Error.summary(error)) > 10
    command = Error.command(error)
    if command, do: assert(String.ends_with?(Error.message(error, :cli), ": " <> command))
    if stage not in [:options, :native, :config, :exec], do: assert_located(error, command)
  end

  # A suggested command is about the cluster of the failure.
  defp assert_located(error, command) do
    options = error.request.options
    assert is_binary(options[:context]) and is_binary(options[:namespace])

    if command =~ ~r/^(kubectl|mix k8s\.(connect|doctor)) /,
      do: assert(command =~ "--context #{options[:context]}")

    if kubeconfig = command =~ ~r/^(kubectl|mix k8s\.(connect|doctor)) / && options[:kubeconfig],
      do: assert(command =~ "--kubeconfig #{kubeconfig}")
  end

  # Options

  defp failure(:options, :not_a_keyword, _), do: Options.check("app-0", %{route: :vm})
  defp failure(:options, :unknown_option, _), do: Options.check("app-0", namspace: "x")
  defp failure(:options, :invalid_option, _), do: Options.check("app-0", timeout: 0)
  defp failure(:options, :no_target, _), do: Options.check(nil, [])

  defp failure(:options, :invalid_configuration, _) do
    Application.put_env(:k8s_connect, :protect, "prod*")
    Options.check("app-0", [])
  end

  defp failure(:options, :target_and_selector, _),
    do: Options.check("app-0", selector: "a=b")

  defp failure(:options, :no_cookie_file, directory),
    do: K8sConnect.connect("app-0", cookie_file: Path.join(directory, "none"))

  defp failure(:options, :invalid_cookie_file, directory) do
    File.write!(Path.join(directory, "cookie"), "")
    K8sConnect.connect("app-0", cookie_file: Path.join(directory, "cookie"))
  end

  defp failure(:exec, :other_route, _) do
    with {:ok, connection} <- K8sConnect.connect("app-0", route: :vm),
         do: K8sConnect.exec(connection, ["true"])
  end

  defp failure(:options, :only_untrusted, _),
    do: Options.check("app-0", read_only: true, trust: true)

  defp failure(:options, :kernel_only, _), do: Options.check("app-0", route: :vm, sudo: true)

  defp failure(:options, :missing_option, _), do: Options.check("app-0", tls_cert: "tls.crt")

  defp failure(:options, :unusable_tls_files, directory),
    do: K8sConnect.connect("tls-only", tls_ca: Path.join(directory, "ca.crt"))

  defp failure(:options, :usage, _) do
    {:error, error, :text} = Mix.K8sConnect.Options.parse(["app-0", "--frob"])
    {:error, error}
  end

  # A VM of its own, with a library that is cut off.
  defp failure(:native, :not_loaded, directory) do
    copy = Path.join(directory, "k8s_connect")
    File.cp_r!(Application.app_dir(:k8s_connect), copy, dereference_symlinks: true)
    [library] = Path.wildcard(Path.join(copy, "priv/native/*.so"))
    File.write!(library, "no library")
    code = "IO.write(Base.encode64(:erlang.term_to_binary(K8sConnect.pods())))"
    {output, 0} = System.cmd("elixir", ["-pa", Path.join(copy, "ebin"), "-e", code])
    output |> Base.decode64!() |> :erlang.binary_to_term()
  end

  # The kubeconfig

  defp failure(:config, :not_found, _), do: K8sConnect.pods(kubeconfig: "/does/not/exist")

  defp failure(:config, :unreadable, directory) do
    path = changed(directory, "dev", "dev")
    File.chmod!(path, 0)
    K8sConnect.pods(kubeconfig: path)
  end

  defp failure(:config, :malformed, directory), do: pods(directory, "users:\n", "users: [\n")

  defp failure(:config, :no_context, directory),
    do: pods(directory, "current-context: testcluster\n", "")

  defp failure(:config, :unknown_context, _), do: K8sConnect.pods(context: "prod")

  defp failure(:config, :unknown_cluster, directory),
    do: pods(directory, "{cluster: testcluster", "{cluster: other")

  defp failure(:config, :unknown_user, directory), do: pods(directory, "user: dev,", "user: me,")

  defp failure(:config, :invalid_cluster, directory),
    do: pods(directory, ~r/authority-data: .*/, "authority-data: aGVsbG8=")

  defp failure(:config, :invalid_user, directory),
    do: pods(directory, ~r/key-data: .*/, "key-data: AAAA")

  defp failure(:config, :unsupported_auth_provider, directory),
    do: pods(directory, ~r/client-certificate-data: .*\n.*/, "auth-provider: {name: azure}")

  defp failure(:config, :invalid_namespace, _), do: K8sConnect.pods(namespace: "../nodes")

  defp failure(:config, :protected, _) do
    Application.put_env(:k8s_connect, :protect, ["test*"])
    K8sConnect.connect("app-0")
  end

  defp failure(:config, :protected_trust, _) do
    Application.put_env(:k8s_connect, :protect, ["test*"])
    K8sConnect.connect("app-0", trust: true, yes: true)
  end

  # The API server

  defp failure(:cluster, :unreachable, directory), do: pods(directory, ":6443", ":6444")

  defp failure(:cluster, :timed_out, directory) do
    {:ok, listener} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(listener)
    path = changed(directory, "10.200.0.1:6443", "127.0.0.1:#{port}")
    K8sConnect.pods(kubeconfig: path, timeout: 200)
  end

  defp failure(:cluster, :unknown_authority, _), do: K8sConnect.pods(kubeconfig: user("stranger"))

  defp failure(:cluster, :tls, directory) do
    port = serve("220 no TLS here\r\n")
    pods(directory, "10.200.0.1:6443", "127.0.0.1:#{port}")
  end

  defp failure(:cluster, :client_certificate_expired, _),
    do: K8sConnect.pods(kubeconfig: user("expired"))

  defp failure(:cluster, :unauthorized, directory),
    do: pods(directory, ~r/client-certificate-data: .*\n.*/, "token: not-a-token")

  defp failure(:cluster, :forbidden, _), do: K8sConnect.pods(namespace: "kube-system")
  defp failure(:cluster, :refused, _), do: K8sConnect.connect(nil, selector: "a==b=c")

  defp failure(:cluster, :not_kubernetes, directory) do
    port = serve("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    pods(directory, "https://10.200.0.1:6443", "http://127.0.0.1:#{port}")
  end

  defp failure(:cluster, :denied_by_policy, _), do: K8sConnect.connect("guarded")

  # The pod

  defp failure(:target, :invalid_target, _), do: K8sConnect.connect("a/b/c")
  defp failure(:target, :no_such_pod, _), do: K8sConnect.connect("app-9")
  defp failure(:target, :no_pods, _), do: K8sConnect.connect("sts/none")
  # The pods belong to StatefulSets, which `dev` may not list.
  defp failure(:target, :owners_forbidden, _), do: K8sConnect.connect("shop.example.com/none")
  defp failure(:target, :not_running, _), do: K8sConnect.connect("pending")
  defp failure(:target, :no_container, _), do: K8sConnect.connect("app-0", container: "ap")

  # The node

  defp failure(:node, :no_epmd, _), do: K8sConnect.connect("no-erlang")
  defp failure(:node, :no_node_on_port, _), do: K8sConnect.connect("app-0", port: 9)
  defp failure(:node, :epmd_timed_out, _), do: K8sConnect.connect("silent-epmd")
  defp failure(:node, :epmd_invalid_answer, _), do: K8sConnect.connect("junk-epmd")
  defp failure(:node, :no_nodes, _), do: K8sConnect.connect("no-nodes")
  defp failure(:node, :unknown_node, _), do: K8sConnect.connect("app-0", node: "web")
  defp failure(:node, :several_nodes, _), do: K8sConnect.connect("two-nodes")
  defp failure(:node, :port_refused, _), do: K8sConnect.connect("ip-only")
  defp failure(:node, :unsupported_otp, _), do: K8sConnect.connect("strange", port: 7001)
  defp failure(:node, :invalid_name, _), do: K8sConnect.connect("strange", port: 7002)
  defp failure(:node, :handshake_timed_out, _), do: K8sConnect.connect("strange", port: 7003)
  defp failure(:node, :handshake_closed, _), do: K8sConnect.connect("strange", port: 7004)
  # Its distribution flags are fewer than any OTP requires.
  defp failure(:connect, :missing_flags, _), do: K8sConnect.connect("strange", port: 7005)
  defp failure(:node, :tls_only, _), do: K8sConnect.connect("tls-only")

  # Its certificate is of no authority.
  defp failure(:node, :tls_failed, directory) do
    [_all, data] =
      Regex.run(~r/certificate-authority-data: (\S+)/, File.read!(Path.expand("~/.kube/config")))

    file = Path.join(directory, "ca.crt")
    File.write!(file, Base.decode64!(data))
    K8sConnect.connect("tls-only", tls_ca: file)
  end

  defp failure(:node, :invalid_handshake, _), do: K8sConnect.connect("junk-node")
  defp failure(:node, :rejected, _), do: K8sConnect.connect("choosy")

  # Through a forwarder of our own, which ends while epmd is waited for.
  defp failure(:node, :port_forward_closed, directory) do
    {port, forwarder} = forward({10, 200, 0, 1}, 6443)
    name = "127.0.0.1:#{port}\n    tls-server-name: kubernetes.default.svc"
    path = changed(directory, "10.200.0.1:6443", name)

    # What is read of the pod comes by another connection, and its failure would count first.
    cut = fn {:step, name, _detail, _ms} ->
      Process.put({:done, name}, true)
      done? = Enum.all?(["port-forward", "pod"], &Process.get({:done, &1}))
      if done?, do: Process.exit(forwarder, :kill)
    end

    K8sConnect.connect("silent-epmd", kubeconfig: path, progress: cut)
  end

  # The cookie, the route, the connection

  defp failure(:cookie, :not_found, _), do: K8sConnect.connect("no-cookie")

  defp failure(:route, :unknown_net_kernel, _) do
    Application.put_env(:k8s_connect, :net_kernel, :untouched)
    K8sConnect.connect("app-0", route: :vm)
  end

  # Two pods, and one name for the node in each.
  defp failure(:route, :node_taken, _) do
    {:ok, _connection} = K8sConnect.connect("twin-0")
    K8sConnect.connect("twin-1")
  end

  defp failure(:connect, :refused, _), do: K8sConnect.connect("wrong-cookie")

  defp failure(:connect, :session_crashed, _) do
    # The report of its end would look like a failure.
    %{level: level} = :logger.get_primary_config()
    on_exit(fn -> :logger.set_primary_config(:level, level) end)
    :logger.set_primary_config(:level, :none)

    kill = fn
      {:step, "port-forward", _detail, _ms} ->
        [{_id, session, _type, _modules}] =
          DynamicSupervisor.which_children(K8sConnect.Sessions.Supervisor)

        Process.exit(session, :kill)

      _other_step ->
        :ok
    end

    K8sConnect.connect("silent-epmd", progress: kill)
  end

  defp pods(directory, from, to), do: K8sConnect.pods(kubeconfig: changed(directory, from, to))

  # Answers everybody with the same.
  defp serve(answer) do
    {:ok, listener} = :gen_tcp.listen(0, [:binary, active: false, ip: {127, 0, 0, 1}])
    {:ok, port} = :inet.port(listener)

    spawn_link(fn ->
      for _ <- Stream.cycle([1]) do
        {:ok, socket} = :gen_tcp.accept(listener)
        {:ok, _request} = :gen_tcp.recv(socket, 0)
        :ok = :gen_tcp.send(socket, answer)
        :gen_tcp.shutdown(socket, :write)
        :gen_tcp.recv(socket, 0)
      end
    end)

    port
  end

  # All of its connections end with the process that it answers with the port.
  defp forward(address, to) do
    test = self()

    forwarder =
      spawn(fn ->
        {:ok, listener} = :gen_tcp.listen(0, [:binary, active: false, ip: {127, 0, 0, 1}])
        send(test, {:port, :inet.port(listener)})
        accept(listener, address, to)
      end)

    assert_receive {:port, {:ok, port}}
    {port, forwarder}
  end

  defp accept(listener, address, to) do
    {:ok, near} = :gen_tcp.accept(listener)

    spawn_link(fn ->
      {:ok, far} = :gen_tcp.connect(address, to, [:binary, active: true])
      :ok = :inet.setopts(near, active: true)
      pump(near, far)
    end)
    |> then(&:gen_tcp.controlling_process(near, &1))

    accept(listener, address, to)
  end

  defp pump(near, far) do
    receive do
      {:tcp, ^near, data} -> :gen_tcp.send(far, data)
      {:tcp, ^far, data} -> :gen_tcp.send(near, data)
      {:tcp_closed, _one} -> exit(:normal)
    end

    pump(near, far)
  end
end
