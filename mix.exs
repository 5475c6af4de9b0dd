defmodule K8sConnect.MixProject do
  use Mix.Project

  @version "0.1.0"
  # A placeholder until the repository is public.
  @source_url "https://github.com/k8s-connect/k8s_connect"

  def project do
    [
      app: :k8s_connect,
      name: "k8s_connect",
      source_url: @source_url,
      version: @version,
      elixir: "~> 1.14",
      description: "Connects the BEAM in front of you to the Erlang node in a Kubernetes pod",
      # A compiler that the project itself defines can only be found after `:elixir`.
      compilers: Mix.compilers() ++ [:k8s_connect],
      elixirc_paths: elixirc_paths(Mix.env()),
      # Only the Mix compiler uses them, and starts them itself.
      xref: [exclude: [:crypto, :httpc, :inets, :public_key, :ssl]],
      deps: deps(),
      # The directory of the archives that script/release makes. `mix compile` downloads from it.
      artifacts_url: "#{@source_url}/releases/download/v#{@version}",
      package: package(),
      docs: docs()
    ]
  end

  # Idle until it is called, and started by the first call where `runtime: false` leaves it out.
  def application, do: [mod: {K8sConnect.Application, []}]

  # No Hex dependency, not even an optional or a `:dev` one: each of them would make
  # `mix compile` fetch from Hex first, and the project must compile where Hex is out of reach.
  # Outside libraries live on the Rust side, in native/Cargo.toml. Only `K8S_CONNECT_DOCS=1 mix docs` needs one.
  defp deps, do: if(System.get_env("K8S_CONNECT_DOCS"), do: [{:ex_doc, "~> 0.40"}], else: [])

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_env), do: ["lib"]

  defp package do
    [
      licenses: ["Apache-2.0"],
      links: %{
        "GitHub" => @source_url,
        "Changelog" => "#{@source_url}/blob/v#{@version}/CHANGELOG.md"
      },
      files:
        ~w(lib native/Cargo.* native/.cargo/config.toml native/{core,exec,helper,sock_diag,nif,wire}/{Cargo.toml,src}
                native/nif/build.rs mix.exs .formatter.exs guides usage-rules.md README.md SECURITY.md CHANGELOG.md
                LICENSE checksum-*.exs)
    ]
  end

  # test/package_test.exs compares these lists with the files and modules.
  defp docs do
    [
      main: "readme",
      source_ref: "v#{@version}",
      assets: %{"guides/images" => "guides/images"},
      extras: [
        "README.md",
        "guides/cheatsheet.cheatmd",
        "guides/trust.md",
        "guides/production.md",
        "guides/tracing.md",
        "guides/observer.md",
        "guides/keeping-a-connection.md",
        "guides/nodes.md",
        "guides/logins-and-gateways.md",
        "guides/configuration.md",
        "guides/exec.md",
        "guides/kernel-route.md",
        "guides/livebook.livemd",
        "guides/troubleshooting.md",
        "guides/performance.md",
        "guides/versions.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "LICENSE"
      ],
      groups_for_extras: [Guides: ~r/^guides/, About: ~r/^[A-Z]+(\.md)?$/],
      groups_for_modules: [
        Connecting: [K8sConnect, K8sConnect.Connection, K8sConnect.Pod, K8sConnect.Pod.Container],
        "On the node": [K8sConnect.IEx, K8sConnect.Snapshot, K8sConnect.Trace],
        "When it fails": [K8sConnect.Error, K8sConnect.Doctor],
        Tasks: ~r/^Mix\.Tasks\./
      ]
    ]
  end
end
