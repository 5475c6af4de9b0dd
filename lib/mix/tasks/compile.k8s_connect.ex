defmodule Mix.Tasks.Compile.K8sConnect do
  @shortdoc "Builds the Rust parts of k8s_connect"

  @moduledoc """
  Builds the native library, the helper and the program of `--exec` with cargo, and copies them to `priv/native` of
  the application, under `_build`.

  `mix compile` runs it if a file under `native` has changed. It needs cargo, rustc (`rust-version` in
  `native/Cargo.toml`), and a C compiler as linker. All Mix environments share one cargo target directory:
  `CARGO_TARGET_DIR`, or `native/target`.

  ## Prebuilt files

  If `K8S_CONNECT_NATIVE_DIR` is set, nothing is built. The directory has the files of a `priv/native`:
  `k8s_connect_nif.so` and, on Linux, `k8s_connect_helper` and `k8s_connect_exec`.
  """

  use Mix.Task.Compiler

  alias K8sConnect.Shellwords
  alias Mix.Task.Compiler.Diagnostic

  @recursive true
  @oldest_otp 25
  @native Path.expand("../../../native", __DIR__)
  @manifest "compile.k8s_connect"

  @impl true
  def run(_arguments) do
    directory = System.get_env("K8S_CONNECT_NATIVE_DIR")
    state = state(directory)

    if installed() == state, do: {:noop, []}, else: install(directory, state)
  end

  @impl true
  def manifests, do: [manifest()]

  @impl true
  def clean do
    Enum.each([manifest(), target()], &File.rm_rf!/1)
  end

  defp install(directory, state) do
    with :ok <- check_otp(),
         {:ok, built} <- if(directory, do: find(directory), else: build()) do
      Enum.each(built, fn {source, name} -> put(source, Path.join(target(), name)) end)
      File.mkdir_p!(Path.dirname(manifest()))
      File.write!(manifest(), :erlang.term_to_binary(state))
      {:ok, []}
    else
      {:error, message} -> failed(message)
    end
  end

  # The files to install, as {source, name}

  defp find(directory) do
    files = prebuilt(directory)

    case Enum.reject(files, fn {source, _name} -> File.regular?(source) end) do
      [] ->
        {:ok, files}

      [{missing, _name} | _more] ->
        {:error,
         "no such file: #{missing} (K8S_CONNECT_NATIVE_DIR). " <>
           "Copy it from a build: cp _build/dev/lib/k8s_connect/priv/native/* #{Shellwords.escape(directory)}"}
    end
  end

  defp build do
    with {:ok, cargo} <- find_tool("cargo", "Install Rust with rustup, see https://rustup.rs"),
         {:ok, rustc} <- find_tool("rustc", "Install Rust with rustup, see https://rustup.rs"),
         {:ok, _cc} <-
           find_tool(
             System.get_env("CC", "cc"),
             "On Debian: sudo apt-get install build-essential"
           ),
         :ok <- check_rustc(rustc),
         {:ok, directory} <- cargo_build(cargo) do
      {:ok, for({built, name} <- products(), do: {Path.join(directory, built), name})}
    end
  end

  defp cargo_build(cargo) do
    Mix.shell().info("Compiling the native parts of k8s_connect (a first build takes minutes)")
    directory = Path.expand(System.get_env("CARGO_TARGET_DIR") || Path.join(@native, "target"))
    packages = for {_built, name} <- products(), do: ["-p", Path.rootname(name)]

    arguments =
      ["build", "--release", "--locked", "--target-dir", directory] ++ List.flatten(packages)

    # cargo prints its progress and diagnostics to the standard error of this VM.
    case System.cmd(cargo, arguments, cd: @native) do
      {_output, 0} ->
        {:ok, Path.join(directory, "release")}

      {_output, code} ->
        {:error, "cargo build failed with exit code #{code} in #{@native}, see above"}
    end
  end

  # The names of cargo and of the installed files. The VM appends `.so` on every system.
  defp products do
    case :os.type() do
      {:unix, :linux} ->
        [
          {"libk8s_connect_nif.so", "k8s_connect_nif.so"},
          {"k8s_connect_helper", "k8s_connect_helper"},
          {"k8s_connect_exec", "k8s_connect_exec"}
        ]

      {:unix, :darwin} ->
        [{"libk8s_connect_nif.dylib", "k8s_connect_nif.so"}]

      _other ->
        [{"libk8s_connect_nif.so", "k8s_connect_nif.so"}]
    end
  end

  # A running VM may have mapped the old file, which has to keep its inode.
  defp put(source, path) do
    File.mkdir_p!(Path.dirname(path))
    new = path <> ".new"
    File.cp!(source, new)
    File.rename!(new, path)
  end

  # Prerequisites

  defp check_otp do
    case Integer.parse(System.otp_release()) do
      {release, ""} when release < @oldest_otp ->
        {:error,
         "unsupported: Erlang/OTP #{release}. k8s_connect needs OTP #{@oldest_otp} or newer"}

      _new_enough ->
        :ok
    end
  end

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

  defp check_rustc(rustc) do
    required = rust_version()

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

  defp rust_version do
    cargo_toml = File.read!(Path.join(@native, "Cargo.toml"))
    [_line, version] = Regex.run(~r/^rust-version = "(\d+\.\d+)"/m, cargo_toml)
    version <> ".0"
  end

  # The state of the last installation

  defp installed do
    with {:ok, binary} <- File.read(manifest()),
         true <-
           Enum.all?(products(), fn {_built, name} -> File.exists?(Path.join(target(), name)) end) do
      :erlang.binary_to_term(binary)
    else
      _nothing -> nil
    end
  end

  # Names, sizes and times of the sources. cargo would need 0.3 s to find that nothing has changed.
  defp state(nil), do: {:built, stat(sources())}

  defp state(directory),
    do: {:prebuilt, stat(for {source, _name} <- prebuilt(directory), do: source)}

  defp sources do
    Enum.flat_map(
      [
        "Cargo.{toml,lock}",
        "*/{Cargo.toml,build.rs}",
        "*/src/**/*.rs"
      ],
      &Path.wildcard(Path.join(@native, &1))
    )
  end

  defp prebuilt(directory) do
    for {_built, name} <- products(), do: {Path.join(directory, name), name}
  end

  defp stat(paths) do
    for path <- paths, {:ok, stat} <- [File.stat(path)], do: {path, stat.size, stat.mtime}
  end

  defp target, do: Path.join(Mix.Project.app_path(), "priv/native")
  defp manifest, do: Path.join(Mix.Project.manifest_path(), @manifest)

  defp failed(message) do
    Mix.shell().error(message)

    {:error,
     [
       %Diagnostic{
         compiler_name: "k8s_connect",
         file: Path.join(@native, "Cargo.toml"),
         message: message,
         position: nil,
         severity: :error
       }
     ]}
  end
end
