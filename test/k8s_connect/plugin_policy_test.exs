defmodule K8sConnect.PluginPolicyTest do
  # Exec plugins that are not run, from the laptop: kuberc forbids them, or the server has no TLS.
  # Not async: the environment is changed.
  use ExUnit.Case, async: false

  import K8sConnect.{ExecPlugin, Tmp}

  alias K8sConnect.{Environment, Error, Kubeconfig, PlainServer}

  @moduletag :cluster

  @v1 v1()

  setup :tmp_dir

  describe "kuberc" do
    defp kuberc(tmp_dir, policy) do
      path = Path.join(tmp_dir, "kuberc")
      head = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n"
      File.write!(path, head <> policy)
      Environment.put("KUBERC", path)
      path
    end

    test "that forbids a plugin", %{tmp_dir: tmp_dir} do
      plugin = plugin(tmp_dir, credential(token: Kubeconfig.token()))
      kubeconfig = kubeconfig(tmp_dir, plugin)
      path = kuberc(tmp_dir, "credentialPluginPolicy: DenyAll")

      assert {:plugin_forbidden, %{program: ^plugin, path: ^path, policy: "DenyAll"}} =
               failure(kubeconfig)

      allow = "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist: [{command: "
      kuberc(tmp_dir, allow <> "aws}]")
      assert {:plugin_forbidden, %{policy: "Allowlist"}} = failure(kubeconfig)
      assert runs(plugin) == 0
      kuberc(tmp_dir, allow <> "'#{plugin}'}]")
      assert_pods(kubeconfig)
      assert runs(plugin) == 1
    end

    test "without a meaning", %{tmp_dir: tmp_dir} do
      plugin = plugin(tmp_dir, credential(token: Kubeconfig.token()))
      kuberc(tmp_dir, "credentialPluginPolicy: Deny")

      assert {:error, %Error{stage: :config, reason: {:invalid_kuberc, _details}}} =
               K8sConnect.pods(kubeconfig: kubeconfig(tmp_dir, plugin))

      assert runs(plugin) == 0
    end
  end

  test "does not run for a server without TLS, and no credentials are sent", %{tmp_dir: tmp_dir} do
    test = self()

    port =
      PlainServer.start(fn head, _body ->
        send(test, head)
        PlainServer.json(~s({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []}))
      end)

    cluster = ["server: http://127.0.0.1:#{port}", "certificate-authority: none"]
    plugin = plugin(tmp_dir, credential(token: "secret"))
    exec = "exec: {apiVersion: #{@v1}, command: '#{plugin}', interactiveMode: Never}"

    for user <- [
          exec,
          "token: secret",
          "tokenFile: /etc/hostname",
          "username: me, password: secret"
        ] do
      assert {:ok, []} = K8sConnect.pods(kubeconfig: Kubeconfig.write(tmp_dir, cluster, [user]))
      assert_received head
      refute head =~ ~r/authorization/i
    end

    assert runs(plugin) == 0
  end
end
