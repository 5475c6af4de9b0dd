defmodule K8sConnect.MixProject do
  use Mix.Project

  @version "0.1.0"
  # A placeholder until the repository is public.
  @source_url "https://github.com/k8s-connect/k8s_connect"

  def project do
    [
      app: :k8s_connect,
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
      package: package()
    ]
  end

  # Idle until it is called, and started by the first call where `runtime: false` leaves it out.
  def application, do: [mod: {K8sConnect.Application, []}]

  # No Hex dependency, not even an optional or a `:dev` one: each of them would make
  # `mix compile` fetch from Hex first, and the project must compile where Hex is out of reach.
  # Outside libraries live on the Rust side, in native/Cargo.toml.
  defp deps, do: []

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_env), do: ["lib"]

  defp package do
    [
      licenses: ["Apache-2.0"],
      links: %{},
      files:
        ~w(lib native/Cargo.* native/.cargo/config.toml native/{core,exec,helper,sock_diag,nif,wire}/{Cargo.toml,src}
                native/nif/build.rs mix.exs guides README.md SECURITY.md CHANGELOG.md LICENSE
                checksum-*.exs)
    ]
  end
end
