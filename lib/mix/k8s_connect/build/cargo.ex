defmodule Mix.K8sConnect.Build.Cargo do
  @moduledoc false
  # The native files from source.

  alias Mix.K8sConnect.Build.Target

  @doc """
  Builds the files with cargo and returns their paths by name.
  """
  @spec build(Path.t()) :: {:ok, [{String.t(), Path.t()}]} | {:error, String.t()}
  def build(native) do
    with {:ok, cargo} <- find_tool("cargo", "Install Rust with rustup, see https://rustup.rs"),
         {:ok, rustc} <- find_tool("rustc", "Install Rust with rustup, see https://rustup.rs"),
         {:ok, _cc} <-
           find_tool(
             System.get_env("CC", "cc"),
             "On Debian: sudo apt-get install build-essential"
           ),
         :ok <- check_rustc(rustc, rust_version(native)),
         {:ok, directory} <- run(cargo, native) do
      {:ok, for(name <- Target.files(), do: {name, Path.join(directory, built(name))})}
    end
  end

  @doc """
  What a build depends on: the profile, and names, sizes and times of the sources. cargo would need 0.3 s to find
  that nothing has changed.
  """
  @spec state(Path.t()) :: term()
  def state(native) do
    sources =
      Enum.flat_map(
        ["Cargo.{toml,lock}", ".cargo/config.toml", "*/{Cargo.toml,build.rs}", "*/src/**/*.rs"],
        &Path.wildcard(Path.join(native, &1), match_dot: true)
      )

    {profile(),
     for(path <- sources, {:ok, stat} <- [File.stat(path)], do: {path, stat.size, stat.mtime})}
  end

  # native/Cargo.toml describes the profiles.
  defp profile, do: System.get_env("K8S_CONNECT_PROFILE", "dev-release")

  defp run(cargo, native) do
    Mix.shell().info("Compiling the native parts of k8s_connect (a first build takes minutes)")
    directory = Path.expand(System.get_env("CARGO_TARGET_DIR") || Path.join(native, "target"))
    packages = Enum.flat_map(Target.files(), &["-p", Path.rootname(&1)])

    arguments =
      ["build", "--profile", profile(), "--locked", "--target-dir", directory] ++ packages

    # cargo prints its progress and diagnostics to the standard error of this VM.
    case System.cmd(cargo, arguments, cd: native) do
      {_output, 0} ->
        {:ok, Path.join(directory, profile())}

      {_output, code} ->
        {:error, "cargo build failed with exit code #{code} in #{native}, see above"}
    end
  end

  # cargo's name of a file
  defp built("k8s_connect_nif.so") do
    case :os.type() do
      {:unix, :darwin} -> "libk8s_connect_nif.dylib"
      _other -> "libk8s_connect_nif.so"
    end
  end

  defp built(program), do: program

  defp find_tool(name, remedy) do
    case System.find_executable(name) do
      nil ->
        {:error,
         "could not build k8s_connect: #{name} not found in PATH. #{remedy}. " <>
           "Or set K8S_CONNECT_NATIVE_DIR to a directory with prebuilt files"}

      path ->
        {:ok, path}
    end
  end

  defp check_rustc(rustc, required) do
    case System.cmd(rustc, ["--version"], stderr_to_stdout: true) do
      {"rustc " <> version, 0} ->
        [version | _rest] = String.split(version, [" ", "-"])

        if Version.compare(version, required) == :lt do
          {:error,
           "could not build k8s_connect: it needs rustc #{required} or newer, and #{rustc} is #{version}. " <>
             "Update it with: rustup update stable"}
        else
          :ok
        end

      {output, _code} ->
        {:error, "could not run #{rustc} --version: #{String.trim(output)}"}
    end
  end

  defp rust_version(native) do
    cargo_toml = File.read!(Path.join(native, "Cargo.toml"))
    [_line, version] = Regex.run(~r/^rust-version = "(\d+\.\d+)"/m, cargo_toml)
    version <> ".0"
  end
end
