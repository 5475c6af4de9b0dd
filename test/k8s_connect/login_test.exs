defmodule K8sConnect.LoginTest do
  # Logins that need no program, from the laptop.
  # Not async: the environment is changed.
  use ExUnit.Case, async: false

  import K8sConnect.{KubeconfigCalls, Tmp}

  alias K8sConnect.{Environment, Error, Kubeconfig, PlainServer}

  @moduletag :cluster

  @no_pods no_pods()

  setup :tmp_dir

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
end
