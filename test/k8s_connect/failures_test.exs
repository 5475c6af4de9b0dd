defmodule K8sConnect.FailuresTest do
  # Every kind of failure in the catalogue, by breaking the real thing, from the laptop as `dev`. What takes
  # more than that is broken in another test, which is named here; what cannot be met has its reason.
  # Not async: it changes the application's environment.
  use ExUnit.Case, async: false

  import K8sConnect.Tmp

  alias K8sConnect.Error
  alias K8sConnect.Error.Catalogue
  alias Mix.K8sConnect.Options

  @moduletag :cluster
  @moduletag timeout: 120_000

  @start "native/helper/tests/kernel/machines.rs"
  @listener "native/helper/tests/kernel/listener.rs"
  @protocol "native/helper/tests/kernel/protocol.rs"
  @limits "native/helper/tests/kernel/limits.rs"
  @kernel "test/k8s_connect/kernel_route_test.exs"
  @helper "test/mix/helper_task_test.exs"
  @command "test/mix/connect_task_test.exs"
  @cancel "test/k8s_connect/cancel_test.exs"
  @variants "test/host/variants_test.exs"
  @faults "test/host/faults_test.exs"
  @exec "test/mix/exec_test.exs"
  @runner "native/exec/tests/life.rs"

  # Real plugins, proxies, gateways and servers of other kinds, each with a test of its own.
  @logins "test/k8s_connect/login_test.exs"
  @plugins "test/k8s_connect/plugin_test.exs"
  @proxies "test/k8s_connect/proxy_test.exs"
  @gateways "test/k8s_connect/protocol_test.exs"

  # Where it is broken, and what that test looks for.
  @elsewhere %{
    {:config, :bad_proxy} => {@proxies, ":bad_proxy"},
    {:config, :bad_service_account} => {@logins, ":bad_service_account"},
    {:cluster, :plugin_not_found} => {@plugins, ":plugin_not_found"},
    {:cluster, :plugin_not_started} => {@plugins, ":plugin_not_started"},
    {:cluster, :plugin_failed} => {@plugins, ":plugin_failed"},
    {:cluster, :plugin_too_slow} => {@plugins, ":plugin_too_slow"},
    {:cluster, :plugin_rubbish} => {@plugins, ":plugin_rubbish"},
    {:cluster, :plugin_version} => {@plugins, ":plugin_version"},
    {:cluster, :plugin_needs_terminal} => {@plugins, ":plugin_needs_terminal"},
    {:cluster, :plugin_empty} => {@plugins, ":plugin_empty"},
    {:cluster, :token_file} => {@logins, ":token_file"},
    {:cluster, :oidc} => {@logins, ":oidc"},
    {:cluster, :proxy_unreachable} => {@proxies, ":proxy_unreachable"},
    {:cluster, :proxy_login} => {@proxies, ":proxy_login"},
    {:cluster, :proxy_refused} => {@proxies, ":proxy_refused"},
    {:cluster, :proxy_cannot_reach} => {@proxies, ":proxy_cannot_reach"},
    {:cluster, :not_a_proxy} => {@proxies, ":not_a_proxy"},
    {:cluster, :timed_out_by_proxy} => {@proxies, ":timed_out_by_proxy"},
    {:cluster, :server_certificate_not_yet_valid} =>
      {@logins, ":server_certificate_not_yet_valid"},
    {:cluster, :server_certificate_expired} => {@logins, ":server_certificate_expired"},
    # By a server that only says so: a real one has one request of everybody's run, however few it may.
    {:cluster, :too_many_requests} => {@logins, ":too_many_requests"},
    {:cluster, :hung_up} => {@logins, ":hung_up"},
    {:cluster, :forbidden_both_ways} => {@gateways, ":forbidden_both_ways"},
    {:cluster, :no_upgrade} => {@gateways, ":no_upgrade"},
    {:target, :replaced} => {@faults, "was replaced by another"},
    {:cookie, :not_there} => {@variants, "could not read the cookie from the running node"},
    {:helper, :not_installed} => {@kernel, ":not_installed"},
    {:helper, :not_started} => {@helper, "could not start the helper"},
    {:helper, :no_sudo} => {@kernel, ":no_sudo"},
    {:helper, :sudo} => {@kernel, ":sudo"},
    {:helper, :died} => {@helper, "the helper has ended"},
    {:helper, :silent} => {@kernel, ":silent"},
    {:helper, :wrong_version} => {@protocol, "wrong_version"},
    {:helper, :set_uid} => {@start, "set_uid"},
    {:helper, :no_caller} => {@helper, "cannot tell for which user"},
    {:helper, :no_capability} => {@kernel, ":no_capability"},
    {:helper, :no_new_privs} => {@helper, "no_new_privs is set"},
    {:helper, :nosuid} => {@helper, "mounted nosuid"},
    {:helper, :no_cgroup2} => {@helper, "no cgroup2 file system"},
    {:helper, :no_user_slice} => {@helper, "not in /user.slice/user-4200.slice"},
    {:helper, :no_btf} => {@helper, "type information has no"},
    {:helper, :exclusive_program} => {@start, "exclusive_program"},
    {:helper, :would_hide} => {@start, "would_hide"},
    {:helper, :too_many} => {@limits, "too_many"},
    {:helper, :not_led} => {@start, "not_led"},
    {:helper, :no_such_process} => {@protocol, "no_such_process"},
    {:helper, :bad_destination} => {@kernel, ":bad_destination"},
    {:helper, :low_port} => {@kernel, ":low_port"},
    {:helper, :no_listener} => {@listener, "no_listener"},
    {:helper, :foreign_listener} => {@listener, "foreign_listener"},
    {:helper, :no_hello} => {@protocol, "no_hello"},
    {:helper, :second_hello} => {@protocol, "second_hello"},
    {:route, :name_kind} => {@kernel, ":name_kind"},
    {:route, :host_elsewhere} => {@kernel, ":host_elsewhere"},
    {:route, :blocked} => {@helper, "the connection does not arrive"},
    {:options, :bad_configuration} => {@command, "could not read config/runtime.exs"},
    {:options, :unknown_configuration} => {@command, "unknown key"},
    {:options, :remsh_in_iex} => {@command, "--remsh cannot be used"},
    {:route, :own_name} => {@cancel, ":own_name"},
    {:route, :net_kernel_busy} => {@cancel, ":net_kernel_busy"},
    {:connect, :timeout} => {@cancel, ":timeout"},
    {:connect, :lost} => {@faults, "lost the connection"},
    {:exec, :not_found} => {@exec, "could not run no-such-command"},
    {:exec, :not_executable} => {@exec, "could not run /etc/passwd"},
    {:exec, :nested} => {@exec, "supervised by seccomp already"},
    {:exec, :link_closed} => {@exec, "lost the connection to app@"},
    {:exec, :runner_killed} => {@exec, "the program that runs the command was killed"},
    {:exec, :no_seccomp} => {@runner, "no_seccomp"},
    {:exec, :no_ptrace} => {@runner, "no_ptrace"},
    {:remote, :raised} => {@command, "and this came of it"},
    {:remote, :no_elixir} => {@variants, "has no Elixir"},
    {:remote, :no_iex} => {@variants, "has no IEx"}
  }

  @unmet %{
    "only a fault of the library's own leads to it" => [
      native: :task_died,
      route: :job_failed,
      helper: :unreadable,
      helper: :too_many_redirects,
      helper: :twice,
      helper: :malformed,
      helper: :too_long,
      helper: :empty
    ],
    "the options do not let it come to that, code inside of the library does" => [
      route: :always_hidden
    ],
    "it is another system, or a machine without what every one has" => [
      route: :linux_only,
      helper: :no_bpf,
      exec: :linux_only,
      exec: :not_redirected,
      exec: :system,
      exec: :no_runner,
      helper: :kernel,
      outlet: :no_socket,
      outlet: :no_listener,
      outlet: :no_pod_address,
      outlet: :target_is_server,
      route: :no_distribution,
      remote: :no_shell
    ]
  }

  setup :tmp_dir

  setup do
    on_exit(fn ->
      for %{node: node} <- K8sConnect.connections(), do: K8sConnect.disconnect(node)
      for option <- [:protect, :net_kernel], do: Application.delete_env(:k8s_connect, option)
    end)
  end

  @kinds Catalogue.examples() |> Enum.map(fn {stage, kind, _} -> {stage, kind} end) |> Enum.uniq()
  @unmet_kinds @unmet |> Map.values() |> Enum.concat()

  for {stage, kind} <- @kinds -- (Map.keys(@elsewhere) ++ @unmet_kinds) do
    test "#{stage} #{kind}", %{tmp_dir: directory} do
      assert {:error, %Error{} = error} = failure(unquote(stage), unquote(kind), directory)
      assert {error.stage, elem(error.reason, 0)} == {unquote(stage), unquote(kind)}
      check(error)
    end
  end

  test "what is broken elsewhere is" do
    for {{stage, kind}, {file, text}} <- @elsewhere do
      assert {stage, kind} in @kinds
      assert File.read!(file) =~ text, "#{stage} #{kind}: no #{inspect(text)} in #{file}"
    end
  end

  # For a program it has what the catalogue says that it has; for a person it is a sentence, and no term of ours.
  defp check(%Error{reason: {kind, details}, stage: stage} = error) do
    examples = for {^stage, ^kind, example} <- Catalogue.examples(), do: Map.keys(example)
    assert Map.keys(details) in examples
    message = Exception.message(error)
    refute message =~ ~r/\e|%\{|%[A-Z]\w+\{|#(PID|Reference|Function)<|\*\* \(|Err\(|\.rs:/
    assert String.length(message) < 1500
    {says, next} = Catalogue.entry(stage, kind, details)
    assert message =~ Error.says(error) and String.length(says) > 10
    if is_tuple(next), do: assert(String.ends_with?(message, ": " <> Error.command(error)))
  end

  # Options

  defp failure(:options, :not_a_keyword, _), do: K8sConnect.connect("app-0", %{route: :vm})
  defp failure(:options, :unknown_option, _), do: K8sConnect.connect("app-0", namspace: "x")
  defp failure(:options, :bad_option, _), do: K8sConnect.connect("app-0", timeout: 0)
  defp failure(:options, :no_target, _), do: K8sConnect.connect(nil)

  defp failure(:options, :target_and_selector, _),
    do: K8sConnect.connect("app-0", selector: "a=b")

  defp failure(:options, :no_cookie_file, directory),
    do: K8sConnect.connect("app-0", cookie_file: Path.join(directory, "none"))

  defp failure(:options, :bad_cookie_file, directory) do
    File.write!(Path.join(directory, "cookie"), "")
    K8sConnect.connect("app-0", cookie_file: Path.join(directory, "cookie"))
  end

  defp failure(:exec, :other_route, _) do
    with {:ok, connection} <- K8sConnect.connect("app-0", route: :vm),
         do: K8sConnect.exec(connection, ["true"])
  end

  defp failure(:options, :kernel_only, _), do: K8sConnect.connect("app-0", route: :vm, sudo: true)

  defp failure(:options, :bad_words, _) do
    {:error, error, :text} = Options.parse(["app-0", "--frob"])
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

  defp failure(:config, :bad_cluster, directory),
    do: pods(directory, ~r/authority-data: .*/, "authority-data: \"?\"")

  defp failure(:config, :bad_user, directory),
    do: pods(directory, ~r/key-data: .*/, "key-data: AAAA")

  defp failure(:config, :old_auth_provider, directory),
    do: pods(directory, ~r/client-certificate-data: .*\n.*/, "auth-provider: {name: azure}")

  defp failure(:config, :bad_namespace, _), do: K8sConnect.pods(namespace: "../nodes")

  defp failure(:config, :protected, _) do
    Application.put_env(:k8s_connect, :protect, ["test*"])
    K8sConnect.connect("app-0")
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

  # The pod

  defp failure(:target, :bad_target, _), do: K8sConnect.connect("job/x")
  defp failure(:target, :no_such_pod, _), do: K8sConnect.connect("app-9")
  defp failure(:target, :no_pods, _), do: K8sConnect.connect("sts/none")
  defp failure(:target, :not_running, _), do: K8sConnect.connect("pending")
  defp failure(:target, :no_container, _), do: K8sConnect.connect("app-0", container: "ap")

  # The node

  defp failure(:node, :no_epmd, _), do: K8sConnect.connect("no-erlang")
  defp failure(:node, :nothing_at, _), do: K8sConnect.connect("app-0", port: 9)
  defp failure(:node, :epmd_silent, _), do: K8sConnect.connect("silent-epmd")
  defp failure(:node, :epmd_junk, _), do: K8sConnect.connect("junk-epmd")
  defp failure(:node, :no_nodes, _), do: K8sConnect.connect("no-nodes")
  defp failure(:node, :unknown_node, _), do: K8sConnect.connect("app-0", node: "web")
  defp failure(:node, :several_nodes, _), do: K8sConnect.connect("two-nodes")
  defp failure(:node, :port_refused, _), do: K8sConnect.connect("ip-only")
  defp failure(:node, :too_old, _), do: K8sConnect.connect("strange", port: 7001)
  defp failure(:node, :bad_name, _), do: K8sConnect.connect("strange", port: 7002)
  defp failure(:node, :handshake_silent, _), do: K8sConnect.connect("strange", port: 7003)
  defp failure(:node, :handshake_closed, _), do: K8sConnect.connect("strange", port: 7004)
  defp failure(:node, :tls_only, _), do: K8sConnect.connect("tls-only")
  defp failure(:node, :junk, _), do: K8sConnect.connect("junk-node")
  defp failure(:node, :rejected, _), do: K8sConnect.connect("choosy")

  # Through a forwarder of our own, which ends while epmd is waited for.
  defp failure(:node, :link_closed, directory) do
    {port, forwarder} = forward({10, 200, 0, 1}, 6443)
    name = "127.0.0.1:#{port}\n    tls-server-name: kubernetes.default.svc"
    path = changed(directory, "10.200.0.1:6443", name)

    # What is read of the pod comes by another connection, and its failure would count first.
    cut = fn {:step, name, _detail, _ms} ->
      Process.put({:done, name}, true)
      done? = Enum.all?(["link", "pod"], &Process.get({:done, &1}))
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

  defp failure(:connect, :session_died, _) do
    # The report of its end would look like a failure.
    %{level: level} = :logger.get_primary_config()
    on_exit(fn -> :logger.set_primary_config(:level, level) end)
    :logger.set_primary_config(:level, :none)

    kill = fn
      {:step, "link", _detail, _ms} ->
        [{_id, session, _type, _modules}] =
          DynamicSupervisor.which_children(K8sConnect.Sessions.Supervisor)

        Process.exit(session, :kill)

      _other_step ->
        :ok
    end

    K8sConnect.connect("silent-epmd", progress: kill)
  end

  defp user(name), do: Path.expand("~/.kube/#{name}")

  defp pods(directory, from, to), do: K8sConnect.pods(kubeconfig: changed(directory, from, to))

  # The developer's kubeconfig with something in it replaced.
  defp changed(directory, from, to) do
    text = File.read!(user("dev"))
    assert text =~ from
    path = Path.join(directory, "kubeconfig")
    File.write!(path, String.replace(text, from, to))
    path
  end

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
