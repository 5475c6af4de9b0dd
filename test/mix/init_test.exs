defmodule Mix.K8sConnect.InitTest do
  use ExUnit.Case, async: true

  import K8sConnect.Tmp

  alias K8sConnect.Pod
  alias Mix.K8sConnect.Init
  alias Mix.K8sConnect.Init.ConfigFile
  alias Mix.K8sConnect.PodsOptions

  defp pod(namespace, name, owner, beam \\ true) do
    %Pod{
      name: name,
      namespace: namespace,
      owner: owner,
      beam: beam,
      uid: name,
      phase: "Running",
      status: "Running",
      ready_containers: 1,
      total_containers: 1,
      restarts: 0,
      created_at: nil,
      ip: nil,
      kubernetes_node: nil,
      evidence: [],
      node: nil,
      containers: []
    }
  end

  # The settings that a block has when it is read.
  defp evaluated(directory, text) do
    file = Path.join(directory, "config.exs")
    File.write!(file, text)
    Config.Reader.read!(file, env: :dev)[:k8s_connect]
  end

  setup :tmp_dir

  describe "targets" do
    test "one for each workload, and for each pod without one" do
      pods = [
        pod("shop", "app-0", "sts/app"),
        pod("shop", "app-1", "sts/app"),
        pod("shop", "alone", nil),
        pod("shop", "nginx", "deploy/nginx", false)
      ]

      assert Init.targets(pods, "prod", []) == [
               {"app", [context: "prod", namespace: "shop", target: "sts/app"]},
               {"alone", [context: "prod", namespace: "shop", target: "alone"]}
             ]

      # The service account of a pod is no context.
      assert [{"app", [namespace: "shop", target: "sts/app"]} | _] =
               Init.targets(pods, "in-cluster", [])
    end

    test "names differ" do
      pods = [
        pod("a", "x", "sts/app"),
        pod("b", "x", "sts/app"),
        pod("b", "x", "deploy/app"),
        pod("a", "x", "sts/taken")
      ]

      known = [taken: [target: "sts/other"]]
      names = for {name, _options} <- Init.targets(pods, "c", known), do: name
      assert names == ["app", "b-app", "b-deploy-app", "a-taken"]
    end

    test "those of the configuration are left out" do
      known = [mine: [context: "c", namespace: "a", target: "sts/app", port: 9100]]
      assert Init.targets([pod("a", "x", "sts/app")], "c", known) == []
      assert [_target] = Init.targets([pod("b", "x", "sts/app")], "c", known)
    end

    test "no more than fifty" do
      pods = for number <- 1..99, do: pod("a", "x", "sts/app-#{number}")
      assert length(Init.targets(pods, "c", [])) == 50
    end
  end

  test "contexts that look like production" do
    production = [
      "prod",
      "prod-eu",
      "eu_PRODUCTION",
      "arn:aws:eks:eu:1:cluster/prd",
      "live",
      "prod1"
    ]

    others = ["dev", "product", "alive", "reproduce", "staging"]
    assert Init.production(production ++ others) == production
  end

  test "a block is formatted, and has what the cluster sent as text", %{tmp_dir: directory} do
    hostile = "a\"b\#{System.halt()}\n"
    targets = [{"my-app.x", [context: hostile, target: "sts/app"]}]
    block = Init.block(targets, [hostile])
    assert IO.iodata_to_binary([Code.format_string!(block), "\n"]) == block
    settings = evaluated(directory, "import Config\n" <> block)
    assert settings[:protect] == [hostile]
    assert settings[:targets] == ["my-app.x": [context: hostile, target: "sts/app"]]

    assert Init.targets([pod("a", "x", "sts/" <> hostile), pod(hostile, "x", "sts/x")], "c", []) ==
             []

    assert Init.block([], ["prod"]) == ~s(config :k8s_connect,\n  protect: ["prod"]\n)
    assert Init.block([{"my-app", [target: "x"]}], []) =~ ~s("my-app": [target: "x"])
  end

  describe "the file" do
    @block ~s(config :k8s_connect,\n  targets: [app: [target: "sts/app"]]\n)

    test "is dev.exs where there is one", %{tmp_dir: directory} do
      config = Path.join(directory, "config.exs")
      assert ConfigFile.path(config) == config
      dev = Path.join(directory, "dev.exs")
      File.write!(dev, "import Config\n")
      assert ConfigFile.path(config) == dev
    end

    test "with config :k8s_connect is found", %{tmp_dir: directory} do
      config = Path.join(directory, "config.exs")
      assert ConfigFile.configured(config) == nil
      runtime = Path.join(directory, "runtime.exs")

      for text <- [
            "# config :k8s_connect\n",
            "config :k8s_connect_other, x: 1",
            "config :app, :k8s_connect"
          ] do
        File.write!(runtime, text)
        assert ConfigFile.configured(config) == nil
      end

      for text <- [
            "if true do\n  config :k8s_connect, x: 1\nend",
            "config(:k8s_connect, x: 1)",
            "config :k8s_connect,\n x: 1"
          ] do
        File.write!(runtime, text)
        assert ConfigFile.configured(config) == runtime
      end
    end

    test "is new, or gets the lines at its end" do
      assert ConfigFile.add(nil, @block) == {:ok, "import Config\n\n" <> @block}
      text = "import Config\n\nconfig   :app,   x: 1"
      assert ConfigFile.add(text, @block) == {:ok, text <> "\n\n" <> @block}
      assert ConfigFile.add(text <> "\n\n\n", @block) == {:ok, text <> "\n\n" <> @block}
    end

    test "imports those of the environments behind the lines" do
      text =
        "import Config\n\nconfig :app, x: 1\n\n# Last, so that it\n# replaces\nimport_config \"\#{config_env()}.exs\"\n"

      assert {:ok, new} = ConfigFile.add(text, @block)

      assert new ==
               "import Config\n\nconfig :app, x: 1\n\n" <>
                 @block <>
                 "\n# Last, so that it\n# replaces\nimport_config \"\#{config_env()}.exs\"\n"

      assert IO.iodata_to_binary([Code.format_string!(new), "\n"]) == new
    end

    test "that is no Elixir is not changed" do
      assert {:error, "it is no valid Elixir"} =
               ConfigFile.add("import Config\nconfig :app, [", @block)
    end
  end

  describe "the command line" do
    test "options and modes" do
      assert PodsOptions.init([]) == {:ok, [], :ask}
      assert PodsOptions.init(~w(-n shop --yes)) == {:ok, [namespace: "shop"], :yes}
      assert PodsOptions.init(~w(-A --dry-run --yes)) == {:ok, [all_namespaces: true], :dry_run}

      for words <- [["app-0"], ["--json"], ["-o", "wide"], ["-n"]] do
        assert {:error, error} = PodsOptions.init(words)
        assert K8sConnect.Error.message(error, :cli) =~ "mix help k8s.init"
      end
    end
  end
end
