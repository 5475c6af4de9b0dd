defmodule K8sConnect.ProxyTest do
  # From the laptop to the real API server, through real proxies.
  # Not async: the environment is changed.
  use ExUnit.Case, async: false

  import K8sConnect.{Daemon, Project, Tmp}

  alias K8sConnect.{Environment, Error, Gateway, Kubeconfig}

  @moduletag :cluster

  @server "10.200.0.1:6443"

  setup :tmp_dir

  defp tinyproxy(tmp_dir, lines \\ []) do
    port = free_port()
    file = Path.join(tmp_dir, "tinyproxy-#{port}.conf")

    File.write!(file, """
    Port #{port}
    Listen 127.0.0.1
    Timeout 600
    MaxClients 100
    LogFile "#{file}.log"
    #{Enum.join(lines, "\n")}
    """)

    start(["tinyproxy", "-d", "-c", file], port)
    {port, file <> ".log"}
  end

  defp danted(tmp_dir, rules) do
    port = free_port()
    file = Path.join(tmp_dir, "danted-#{port}.conf")
    {user, 0} = System.cmd("id", ["-un"])

    File.write!(file, """
    logoutput: #{file}.log
    internal: 127.0.0.1 port = #{port}
    external: 127.0.0.1
    external: #{own_address()}
    external.rotation: route
    clientmethod: none
    socksmethod: none
    user.privileged: #{String.trim(user)}
    user.unprivileged: #{String.trim(user)}
    client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
    #{rules}
    """)

    start(["danted", "-f", file, "-p", file <> ".pid"], port)
    {port, file <> ".log"}
  end

  # The laptop's own, towards the API server.
  defp own_address do
    {text, 0} = System.cmd("ip", ["-o", "route", "get", "10.200.0.1"])
    [_line, address] = Regex.run(~r/src (\S+)/, text)
    address
  end

  defp by(tmp_dir, url), do: Kubeconfig.write(tmp_dir, ["proxy-url: '#{url}'"])

  defp failure(kubeconfig, more \\ []) do
    assert {:error, %Error{} = error} = K8sConnect.pods([kubeconfig: kubeconfig] ++ more)
    refute Exception.message(error) =~ "secret"
    refute inspect(error) =~ "secret"
    {error.stage, error.reason}
  end

  defp assert_connects(kubeconfig) do
    assert {:ok, connection} = K8sConnect.connect("app-0", kubeconfig: kubeconfig)
    assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
    K8sConnect.disconnect(connection)
  end

  defp nothing do
    for name <- ~w(HTTPS_PROXY https_proxy HTTP_PROXY http_proxy NO_PROXY no_proxy),
        do: Environment.put(name, nil)
  end

  describe "HTTP CONNECT" do
    test "by the kubeconfig, to a node and back", %{tmp_dir: tmp_dir} do
      {port, log} = tinyproxy(tmp_dir)
      kubeconfig = by(tmp_dir, "http://127.0.0.1:#{port}")
      assert {:ok, [_ | _]} = K8sConnect.pods(kubeconfig: kubeconfig)
      assert_connects(kubeconfig)
      assert File.read!(log) =~ "CONNECT #{@server}"
    end

    test "to a proxy that is spoken to by TLS", %{tmp_dir: tmp_dir} do
      {behind, log} = tinyproxy(tmp_dir)
      [pem, config] = for name <- ~w(proxy.pem haproxy.conf), do: Path.join(tmp_dir, name)
      Gateway.certificate(pem, tmp_dir)
      port = free_port()

      File.write!(config, """
      defaults
        mode tcp
        timeout connect 5s
        timeout client 60s
        timeout server 60s
      listen proxy
        bind 127.0.0.1:#{port} ssl crt #{pem}
        server tinyproxy 127.0.0.1:#{behind}
      """)

      start(["haproxy", "-db", "-f", config], port)
      url = "proxy-url: 'https://127.0.0.1:#{port}'"
      # As kubectl has it: who may sign for the server may for the proxy.
      authorities =
        Base.decode64!(Kubeconfig.part("certificate-authority-data")) <> File.read!(pem)

      trusts = "certificate-authority-data: #{Base.encode64(authorities)}"
      assert_connects(Kubeconfig.write(tmp_dir, [url, trusts]))
      assert File.read!(log) =~ "CONNECT #{@server}"

      assert {:cluster, {:proxy_unreachable, %{problem: problem}}} =
               failure(Kubeconfig.write(tmp_dir, [url]))

      assert problem =~ "certificate"

      # The name is the proxy's, too.
      name = "tls-server-name: kubernetes"

      assert {:cluster, {:proxy_unreachable, %{problem: problem}}} =
               failure(Kubeconfig.write(tmp_dir, [url, trusts, name]))

      assert problem =~ "not for kubernetes"
    end

    test "by HTTPS_PROXY, unless NO_PROXY has the server", %{tmp_dir: tmp_dir} do
      nothing()
      {port, log} = tinyproxy(tmp_dir)
      kubeconfig = Kubeconfig.write(tmp_dir)
      Environment.put("HTTPS_PROXY", "127.0.0.1:#{port}")

      for list <- [@server, "10.200.0.1", "10.200.0.0/16", "*"] do
        Environment.put("NO_PROXY", list)
        assert {:ok, [_ | _]} = K8sConnect.pods(kubeconfig: kubeconfig)
        refute File.read!(log) =~ "CONNECT #{@server}"
      end

      Environment.put("NO_PROXY", "10.200.0.2,10.200.0.1:443,127.0.0.1")
      assert {:ok, [_ | _]} = K8sConnect.pods(kubeconfig: kubeconfig)
      assert File.read!(log) =~ "CONNECT #{@server}"
    end

    test "with a name and a password, and without", %{tmp_dir: tmp_dir} do
      {port, _log} = tinyproxy(tmp_dir, ["BasicAuth me secret-1"])
      assert_connects(by(tmp_dir, "http://me:secret%2D1@127.0.0.1:#{port}"))
      proxy = "127.0.0.1:#{port}"

      assert {:cluster, {:proxy_unauthorized, %{proxy: ^proxy, credentials_given: true}}} =
               failure(by(tmp_dir, "http://me:secret@#{proxy}"))

      assert {:cluster, {:proxy_unauthorized, %{proxy: ^proxy, credentials_given: false}}} =
               failure(by(tmp_dir, "http://#{proxy}"))
    end

    test "to which its rules do not let us", %{tmp_dir: tmp_dir} do
      {port, _log} = tinyproxy(tmp_dir, ["ConnectPort 443"])

      assert {:cluster, {:proxy_refused, %{server: @server, answer: "403" <> _}}} =
               failure(by(tmp_dir, "http://127.0.0.1:#{port}"))
    end

    test "to a server that it cannot reach, or does not know by name", %{tmp_dir: tmp_dir} do
      {port, _log} = tinyproxy(tmp_dir)
      proxy = "proxy-url: http://127.0.0.1:#{port}"

      for server <- ["10.200.0.1:6444", "no-such-host.test:6443"] do
        kubeconfig = Kubeconfig.write(tmp_dir, ["server: https://#{server}", proxy])

        assert {:cluster, {:proxy_bad_gateway, %{server: ^server, answer: "5" <> _}}} =
                 failure(kubeconfig)
      end
    end
  end

  describe "SOCKS5" do
    # Debian 13 does not have it.
    unless System.find_executable("danted"), do: @describetag(skip: "there is no danted here")

    @pass "socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 log: connect }"

    test "by both of its names", %{tmp_dir: tmp_dir} do
      {port, log} = danted(tmp_dir, @pass)
      assert_connects(by(tmp_dir, "socks5://127.0.0.1:#{port}"))
      assert_connects(by(tmp_dir, "socks5h://127.0.0.1:#{port}"))
      assert File.read!(log) =~ "10.200.0.1.6443"
    end

    test "to which its rules do not let us", %{tmp_dir: tmp_dir} do
      {port, _log} =
        danted(tmp_dir, "socks block { from: 0.0.0.0/0 to: 10.200.0.1/32 }\n" <> @pass)

      assert {:cluster, {:proxy_refused, %{server: @server}}} =
               failure(by(tmp_dir, "socks5://127.0.0.1:#{port}"))
    end

    test "to a server that it cannot reach, or does not know by name", %{tmp_dir: tmp_dir} do
      {port, _log} = danted(tmp_dir, @pass)
      proxy = "proxy-url: socks5://127.0.0.1:#{port}"

      for server <- ["10.200.0.1:6444", "no-such-host.test:6443"] do
        kubeconfig = Kubeconfig.write(tmp_dir, ["server: https://#{server}", proxy])
        assert {:cluster, {:proxy_bad_gateway, %{server: ^server}}} = failure(kubeconfig)
      end
    end
  end

  describe "what is told of a proxy" do
    test "that is not there", %{tmp_dir: tmp_dir} do
      nothing()
      proxy = "127.0.0.1:#{free_port()}"

      assert {:cluster, {:proxy_unreachable, %{proxy: ^proxy, from: "proxy-url" <> _} = details}} =
               failure(by(tmp_dir, "http://me:secret@#{proxy}"))

      assert details.problem =~ "refused"
      Environment.put("https_proxy", "socks5://me:secret@#{proxy}")

      assert {:cluster, {:proxy_unreachable, %{from: "https_proxy"}}} =
               failure(Kubeconfig.write(tmp_dir))
    end

    test "that is none", %{tmp_dir: tmp_dir} do
      for kind <- ["http", "socks5"],
          answer <- ["SSH-2.0-OpenSSH_9\r\n", "HTTP/1.1 404 Not Found\r\n\r\n", ""] do
        port = answering(answer)

        assert {:cluster, {:proxy_invalid_answer, %{actual: _}}} =
                 failure(by(tmp_dir, "#{kind}://127.0.0.1:#{port}"))
      end
    end

    test "that says nothing", %{tmp_dir: tmp_dir} do
      {:ok, listener} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
      {:ok, port} = :inet.port(listener)

      assert {:cluster, {:proxy_timed_out, %{proxy: _, timeout_ms: 200}}} =
               failure(by(tmp_dir, "http://127.0.0.1:#{port}"), timeout: 200)
    end

    test "whose URL is none", %{tmp_dir: tmp_dir} do
      assert {:config, {:invalid_proxy, %{from: "proxy-url" <> _}}} =
               failure(by(tmp_dir, "ftp://me:secret@127.0.0.1"))
    end
  end

  # Takes connections, says something, and hangs up.
  defp answering(text) do
    {:ok, listener} = :gen_tcp.listen(0, [:binary, ip: {127, 0, 0, 1}, active: false])
    {:ok, port} = :inet.port(listener)

    spawn_link(fn ->
      {:ok, socket} = :gen_tcp.accept(listener)
      {:ok, _request} = :gen_tcp.recv(socket, 0)
      :gen_tcp.send(socket, text)
      :gen_tcp.close(socket)
    end)

    port
  end

  test "kubectl proxy, which has no user and no TLS", %{tmp_dir: tmp_dir} do
    port = free_port()
    kubeconfig = Path.expand("~/.kube/dev")
    start(["kubectl", "--kubeconfig", kubeconfig, "proxy", "--port", "#{port}"], port)
    cluster = ["server: http://127.0.0.1:#{port}", "certificate-authority: none"]
    kubeconfig = Kubeconfig.write(tmp_dir, cluster, [])
    assert {:ok, [_ | _]} = K8sConnect.pods(kubeconfig: kubeconfig)
    assert_connects(kubeconfig)
  end

  describe "without an authority in the kubeconfig" do
    test "the system's are asked: SSL_CERT_FILE of the VM's start", %{tmp_dir: tmp_dir} do
      kubeconfig = Kubeconfig.write(tmp_dir, ["certificate-authority: none"])
      authority = Path.join(tmp_dir, "company.pem")
      File.write!(authority, Base.decode64!(Kubeconfig.part("certificate-authority-data")))
      code = "IO.inspect(elem(K8sConnect.pods(kubeconfig: #{inspect(kubeconfig)}), 0))"
      env = fn more -> [{"MIX_ENV", "dev"} | more] end

      assert {output, 0} =
               run(path("."), "mix", ["run", "-e", code], env.([{"SSL_CERT_FILE", authority}]))

      assert output =~ ":ok"
      assert {output, 0} = run(path("."), "mix", ["run", "-e", code], env.([]))
      assert output =~ ":error"
    end
  end
end
