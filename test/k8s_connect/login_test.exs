defmodule K8sConnect.LoginTest do
  # Logins that need no program, and the ways to a server, from the laptop.
  # Not async: the environment is changed.
  use ExUnit.Case, async: false

  import K8sConnect.{Daemon, Tmp}

  alias K8sConnect.{Environment, Error, Kubeconfig, PlainServer}

  @moduletag :cluster

  @no_pods ~s({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []})

  setup :tmp_dir

  defp pods(kubeconfig, more \\ []), do: K8sConnect.pods([kubeconfig: kubeconfig] ++ more)

  defp failure(kubeconfig, more \\ []) do
    assert {:error, %Error{} = error} = pods(kubeconfig, more)
    refute Exception.message(error) =~ "secret"
    {error.stage, error.reason}
  end

  defp assert_connects(options) do
    assert {:ok, connection} = K8sConnect.connect("app-0", options)
    assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
    K8sConnect.disconnect(connection)
    connection
  end

  # A server of this test's own, without TLS.
  defp plain(tmp_dir, answer, login \\ "") do
    port = PlainServer.start(answer)
    cluster = ["server: 'http://#{login}127.0.0.1:#{port}'", "certificate-authority: none"]
    Kubeconfig.write(tmp_dir, cluster, [])
  end

  test "a token, and one in a file that is replaced", %{tmp_dir: tmp_dir} do
    assert_connects(kubeconfig: Kubeconfig.write(tmp_dir, [], ["token: #{Kubeconfig.token()}"]))
    File.write!(Path.join(tmp_dir, "token"), "secret-and-wrong")
    # Relative to the kubeconfig.
    kubeconfig = Kubeconfig.write(tmp_dir, [], ["tokenFile: ./token"])
    assert {:cluster, {:unauthorized, _}} = failure(kubeconfig)
    File.write!(Path.join(tmp_dir, "token"), Kubeconfig.token() <> "\n")
    assert_connects(kubeconfig: kubeconfig)
    File.rm!(Path.join(tmp_dir, "token"))
    assert {:cluster, {:token_file, %{path: path}}} = failure(kubeconfig)
    assert path =~ tmp_dir
  end

  test "a name and a password in the URL of the server", %{tmp_dir: tmp_dir} do
    test = self()

    answer = fn head, _body ->
      send(test, head)
      PlainServer.json(@no_pods)
    end

    assert {:ok, []} = pods(plain(tmp_dir, answer, "me:a%3Ab@"))
    assert_received head
    assert head =~ ~r/^authorization: Basic #{Base.encode64("me:a:b")}\r?$/im
  end

  test "a token and a server without TLS that demands it", %{tmp_dir: tmp_dir} do
    port = PlainServer.start(fn _head, _body -> {"401 Unauthorized", [], ""} end)
    cluster = ["server: http://127.0.0.1:#{port}", "certificate-authority: none"]
    kubeconfig = Kubeconfig.write(tmp_dir, cluster, ["token: secret"])
    assert {:cluster, {:credentials_withheld, %{context: "test"}}} = failure(kubeconfig)
  end

  describe "as somebody else" do
    defp lead(tmp_dir, more) do
      certificate =
        for name <- ["client-certificate-data", "client-key-data"],
            do: "#{name}: #{Kubeconfig.part(name, "lead")}"

      Kubeconfig.write(tmp_dir, [], certificate ++ more)
    end

    test "in a group with the rights: requests, and the upgrade", %{tmp_dir: tmp_dir} do
      kubeconfig = lead(tmp_dir, ["as: somebody", "as-uid: '42'", "as-groups: [developers]"])
      assert {:ok, [_ | _]} = pods(kubeconfig)
      assert_connects(kubeconfig: kubeconfig)
    end

    test "without rights", %{tmp_dir: tmp_dir} do
      for more <- [["as: somebody"], []] do
        kubeconfig = lead(tmp_dir, more)
        assert {:cluster, {:forbidden, %{message: message}}} = failure(kubeconfig)
        assert message =~ ~s(User "#{if more == [], do: "lead", else: "somebody"}")
      end
    end
  end

  describe "a pod's service account" do
    setup %{tmp_dir: tmp_dir} do
      authority = Base.decode64!(Kubeconfig.part("certificate-authority-data"))
      File.write!(Path.join(tmp_dir, "ca.crt"), authority)
      File.write!(Path.join(tmp_dir, "namespace"), "default")
      File.write!(Path.join(tmp_dir, "token"), Kubeconfig.token())
      Application.put_env(:k8s_connect, :service_account, tmp_dir)
      on_exit(fn -> Application.delete_env(:k8s_connect, :service_account) end)
      Environment.put("KUBERNETES_SERVICE_HOST", "10.200.0.1")
      Environment.put("KUBERNETES_SERVICE_PORT", "6443")
      Environment.put("KUBECONFIG", nil)
      Environment.put("HOME", Path.join(tmp_dir, "nobody"))
    end

    test "where there is no kubeconfig", %{tmp_dir: tmp_dir} do
      connection = assert_connects([])
      assert connection.context == "in-cluster"
      assert {:error, %Error{reason: {:not_found, _}}} = K8sConnect.pods(context: "prod")
      File.rm!(Path.join(tmp_dir, "ca.crt"))
      assert {:error, %Error{reason: {:invalid_service_account, _}}} = K8sConnect.pods()
    end

    test "whose token is replaced", %{tmp_dir: tmp_dir} do
      assert {:ok, [_ | _]} = K8sConnect.pods()
      File.write!(Path.join(tmp_dir, "token"), "secret-and-wrong")
      assert {:error, %Error{reason: {:unauthorized, _}}} = K8sConnect.pods()
    end
  end

  describe "the auth provider oidc" do
    # A token that nobody has signed, with its end.
    defp jwt(expires) do
      part = fn text -> Base.url_encode64(text, padding: false) end
      Enum.map_join([~s({"alg": "none"}), ~s({"exp": #{expires}}), "secret"], ".", part)
    end

    # Gives the tokens one after the other, each for the refresh token it gave with the one before.
    defp issuer(tokens) do
      {:ok, agent} = Agent.start_link(fn -> {tokens, "secret-0", 1} end)
      test = self()

      port =
        PlainServer.start(fn head, body ->
          send(test, {:asked, hd(String.split(head, "\r\n")), body})

          if head =~ "GET /.well-known/openid-configuration",
            do: PlainServer.json(~s({"token_endpoint": "http://#{host(head)}/token"})),
            else: Agent.get_and_update(agent, &next(&1, URI.decode_query(body)))
        end)

      "http://127.0.0.1:#{port}"
    end

    defp host(head) do
      [_line, host] = Regex.run(~r/^host: (\S+)/im, head)
      host
    end

    defp next({[token | tokens], wanted, count}, %{"refresh_token" => wanted}) do
      refresh = "secret-#{count}"
      text = ~s({"id_token": "#{token}", "refresh_token": "#{refresh}"})
      {PlainServer.json(text), {tokens, refresh, count + 1}}
    end

    defp next(state, _query) do
      {{"400 Bad Request", [], ~s({"error": "invalid_grant", "x": "secret"})}, state}
    end

    defp oidc(tmp_dir, issuer, more) do
      config = ["idp-issuer-url: '#{issuer}'", "client-id: us", "client-secret: secret"] ++ more
      user = "auth-provider: {name: oidc, config: {#{Enum.join(config, ", ")}}}"
      Kubeconfig.write(tmp_dir, [], [user])
    end

    test "gets a new token, and keeps the refresh token that came with it", %{tmp_dir: tmp_dir} do
      issuer = issuer([jwt(1), Kubeconfig.token()])
      more = ["id-token: #{jwt(1)}", "refresh-token: secret-0"]
      kubeconfig = oidc(tmp_dir, issuer, more)
      # The first new one has expired, too, and the second one is for the refresh token beside it.
      assert {:ok, [_ | _]} = pods(kubeconfig)
      assert_connects(kubeconfig: kubeconfig)
      asked = for _ <- 1..4, do: assert_received({:asked, _line, _body})
      assert length(asked) == 4
      refute_received {:asked, _line, _body}
    end

    test "needs none while its token is good", %{tmp_dir: tmp_dir} do
      kubeconfig = oidc(tmp_dir, "http://127.0.0.1:1", ["id-token: #{Kubeconfig.token()}"])
      assert {:ok, [_ | _]} = pods(kubeconfig)
    end

    test "says why there is none", %{tmp_dir: tmp_dir} do
      issuer = issuer([])
      kubeconfig = oidc(tmp_dir, issuer, ["refresh-token: old"])

      assert {:cluster, {:oidc, %{issuer: ^issuer, problem: problem}}} = failure(kubeconfig)
      assert problem =~ "400 invalid_grant"
      kubeconfig = oidc(tmp_dir, issuer, ["id-token: #{jwt(2)}"])
      assert {:cluster, {:oidc, %{problem: problem}}} = failure(kubeconfig)
      assert problem =~ "no refresh-token"
    end
  end

  test "auth providers that there are no more", %{tmp_dir: tmp_dir} do
    kubeconfig = Kubeconfig.write(tmp_dir, [], ["auth-provider: {name: azure}"])

    assert {:config, {:unsupported_auth_provider, %{replacement: "kubelogin"}}} =
             failure(kubeconfig)
  end

  describe "the server" do
    test "at an IPv6 address, whose certificate has another name", %{tmp_dir: tmp_dir} do
      address = {0, 0, 0, 0, 0, 0, 0, 1}
      port = free_port(address)
      file = Path.join(tmp_dir, "haproxy.cfg")

      File.write!(file, """
      defaults
        mode tcp
        timeout connect 5s
        timeout client 1m
        timeout server 1m
      listen api
        bind [::1]:#{port}
        server api 10.200.0.1:6443
      """)

      start(["haproxy", "-db", "-f", file], port, address)
      server = "server: 'https://[::1]:#{port}'"
      assert {:cluster, {:tls, _}} = failure(Kubeconfig.write(tmp_dir, [server]))
      cluster = [server, "tls-server-name: 10.200.0.1"]
      assert_connects(kubeconfig: Kubeconfig.write(tmp_dir, cluster))
      cluster = [server, "insecure-skip-tls-verify: true", "certificate-authority: none"]
      assert_connects(kubeconfig: Kubeconfig.write(tmp_dir, cluster))
    end

    test "behind a path, with its authority in a file", %{tmp_dir: tmp_dir} do
      port = free_port()
      file = Path.join(tmp_dir, "nginx.conf")

      File.write!(file, """
      daemon off;
      pid #{tmp_dir}/nginx.pid;
      error_log stderr;
      events {}
      http {
        access_log off;
        client_body_temp_path #{tmp_dir}/body;
        proxy_temp_path #{tmp_dir}/proxy;
        fastcgi_temp_path #{tmp_dir}/fastcgi;
        uwsgi_temp_path #{tmp_dir}/uwsgi;
        scgi_temp_path #{tmp_dir}/scgi;
        map $http_upgrade $end_or_upgrade { default upgrade; '' ''; }
        server {
          listen 127.0.0.1:#{port};
          location /k8s/clusters/c-1/ {
            proxy_pass https://10.200.0.1:6443/;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $end_or_upgrade;
            proxy_set_header Authorization "Bearer #{Kubeconfig.token()}";
          }
        }
      }
      """)

      start(["nginx", "-c", file, "-e", "stderr", "-p", tmp_dir], port)

      cluster = [
        "server: http://127.0.0.1:#{port}/k8s/clusters/c-1",
        "certificate-authority: none"
      ]

      # Over plain HTTP no credentials are sent, so the gateway adds its own.
      assert_connects(kubeconfig: Kubeconfig.write(tmp_dir, cluster, []))

      authority = Base.decode64!(Kubeconfig.part("certificate-authority-data"))
      File.write!(Path.join(tmp_dir, "ca.pem"), authority)
      assert_connects(kubeconfig: Kubeconfig.write(tmp_dir, ["certificate-authority: ca.pem"]))
    end

    test "whose certificate is not valid yet, or not any more", %{tmp_dir: tmp_dir} do
      {:ok, _started} = Application.ensure_all_started(:ssl)
      year = 365 * 24 * 3600
      now = System.os_time(:second)

      for {from, to, kind} <- [
            {now + year, now + 2 * year, :server_certificate_not_yet_valid},
            {now - 2 * year, now - year, :server_certificate_expired}
          ] do
        {port, authority} = tls_server(tmp_dir, {from, to})

        cluster = [
          "server: https://127.0.0.1:#{port}",
          "certificate-authority-data: #{authority}"
        ]

        assert {:cluster, {^kind, details}} = failure(Kubeconfig.write(tmp_dir, cluster))
        assert {:ok, told, 0} = DateTime.from_iso8601(details.now)
        assert abs(DateTime.to_unix(told) - now) < 60
        assert {:ok, _time, 0} = DateTime.from_iso8601(details[:not_before] || details.not_after)
      end
    end

    # Answers its port, and the authority of its certificate as a kubeconfig has it.
    defp tls_server(folder, {from, to}) do
      folder = Path.join(folder, "#{from}")
      File.mkdir!(folder)
      File.write!(Path.join(folder, "index"), "")

      File.write!(Path.join(folder, "ca.cnf"), """
      [ca]
      default_ca = own
      [own]
      database = index
      new_certs_dir = .
      private_key = ca.key
      certificate = ca.pem
      default_md = sha256
      rand_serial = yes
      policy = any
      x509_extensions = server
      [any]
      commonName = supplied
      [server]
      subjectAltName = IP:127.0.0.1
      """)

      new_key = ~w(-newkey rsa:2048 -nodes)
      openssl(folder, ~w(req -x509 -subj /CN=ca -days 9 -keyout ca.key -out ca.pem) ++ new_key)
      openssl(folder, ~w(req -subj /CN=server -keyout server.key -out server.csr) ++ new_key)
      dates = ["-startdate", asn1(from), "-enddate", asn1(to)]

      openssl(
        folder,
        ~w(ca -config ca.cnf -batch -notext -in server.csr -out server.pem) ++ dates
      )

      options = [
        certfile: Path.join(folder, "server.pem"),
        keyfile: Path.join(folder, "server.key")
      ]

      {:ok, listener} =
        :ssl.listen(0, [ip: {127, 0, 0, 1}, active: false, log_level: :none] ++ options)

      {:ok, {_address, port}} = :ssl.sockname(listener)

      spawn_link(fn ->
        {:ok, socket} = :ssl.transport_accept(listener)
        # It fails, by what the test is about.
        _ = :ssl.handshake(socket)
        Process.sleep(:infinity)
      end)

      {port, Base.encode64(File.read!(Path.join(folder, "ca.pem")))}
    end

    defp openssl(folder, words) do
      {output, status} = System.cmd("openssl", words, cd: folder, stderr_to_stdout: true)
      assert status == 0, output
    end

    defp asn1(time), do: time |> DateTime.from_unix!() |> Calendar.strftime("%Y%m%d%H%M%SZ")

    test "that hangs up", %{tmp_dir: tmp_dir} do
      {:ok, listener} = :gen_tcp.listen(0, ip: {127, 0, 0, 1}, active: false)
      {:ok, port} = :inet.port(listener)

      spawn_link(fn ->
        for _ <- 1..2 do
          {:ok, socket} = :gen_tcp.accept(listener)
          {:ok, _hello} = :gen_tcp.recv(socket, 0)
          :gen_tcp.close(socket)
        end
      end)

      for scheme <- ["https", "http"] do
        kubeconfig = Kubeconfig.write(tmp_dir, ["server: #{scheme}://127.0.0.1:#{port}"])
        assert {:cluster, {:connection_closed, _}} = failure(kubeconfig)
      end
    end
  end

  describe "too many requests" do
    @busy {"429 Too Many Requests", ["Retry-After: 1"],
           "too many requests, please try again later"}

    test "and the server is asked again when it says", %{tmp_dir: tmp_dir} do
      counter = :counters.new(1, [])

      answer = fn _head, _body ->
        :counters.add(counter, 1, 1)
        if :counters.get(counter, 1) == 1, do: @busy, else: PlainServer.json(@no_pods)
      end

      kubeconfig = plain(tmp_dir, answer)
      {time, {:ok, []}} = :timer.tc(fn -> pods(kubeconfig) end)
      assert time > 1_000_000
      assert :counters.get(counter, 1) == 2
    end

    test "for longer than a request may take", %{tmp_dir: tmp_dir} do
      kubeconfig = plain(tmp_dir, fn _head, _body -> @busy end)
      assert {:cluster, {:too_many_requests, details}} = failure(kubeconfig, timeout: 900)
      assert details.message =~ "try again later"

      assert {:error, %Error{reason: {:too_many_requests, _}}} =
               K8sConnect.connect("app-0", kubeconfig: kubeconfig, timeout: 900)
    end
  end
end
