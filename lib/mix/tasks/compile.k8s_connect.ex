defmodule Mix.Tasks.Compile.K8sConnect do
  @shortdoc "Builds the Rust parts of k8s_connect"

  @moduledoc """
  Builds the native library, the helper and the program of `--exec` with cargo and puts them into the
  `priv/native` of the application, under `_build`.

  Runs as a part of `mix compile`, and only when a file under `native` has changed. Needs cargo,
  a rustc that is new enough (`rust-version` in `native/Cargo.toml`), and a C compiler as linker.
  All Mix environments share one cargo target directory, `native/target` unless
  `CARGO_TARGET_DIR` says otherwise.

  ## Prebuilt files

  With `K8S_CONNECT_NATIVE_DIR` the files are taken from that directory and nothing is built: it
  holds what a `priv/native` holds, `k8s_connect_nif.so` and, on Linux, `k8s_connect_helper` and
  `k8s_connect_exec`.
  """

  use Mix.Task.Compiler

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
      {:error, sentence} -> failed(sentence)
    end
  end

  # What there is to install, as {source, name}

  defp find(directory) do
    files = prebuilt(directory)

    case Enum.reject(files, fn {source, _name} -> File.regular?(source) end) do
      [] ->
        {:ok, files}

      [{missing, _name} | _more] ->
        {:error,
         "K8S_CONNECT_NATIVE_DIR is #{directory}, and there is no #{missing}. " <>
           "Fill it from a build: cp _build/dev/lib/k8s_connect/priv/native/* #{directory}"}
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

    # cargo writes its progress and diagnostics to stderr, which it shares with us.
    case System.cmd(cargo, arguments, cd: @native) do
      {_output, 0} -> {:ok, Path.join(directory, "release")}
      {_output, code} -> {:error, "cargo build failed with #{code} in #{@native}, see above"}
    end
  end

  # cargo's name for a file and the installed one; the VM appends `.so` to a library everywhere.
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

  # A running VM may have the old file mapped: it must keep its inode.
  defp put(source, path) do
    File.mkdir_p!(Path.dirname(path))
    new = path <> ".new"
    File.cp!(source, new)
    File.rename!(new, path)
  end

  # What the machine must have

  defp check_otp do
    case Integer.parse(System.otp_release()) do
      {release, ""} when release < @oldest_otp ->
        {:error, "k8s_connect needs Erlang/OTP #{@oldest_otp} or newer, this is #{release}"}

      _new_enough ->
        :ok
    end
  end

  defp find_tool(name, cure) do
    case System.find_executable(name) do
      nil ->
        {:error,
         "building k8s_connect needs #{name}, and there is none in PATH. #{cure}. " <>
           "Or point K8S_CONNECT_NATIVE_DIR to prebuilt files"}

      path ->
        {:ok, path}
    end
  end

  defp check_rustc(rustc) do
    wanted = rust_version()

    case System.cmd(rustc, ["--version"], stderr_to_stdout: true) do
      {"rustc " <> version, 0} ->
        [version | _rest] = String.split(version, [" ", "-"])

        if Version.compare(version, wanted) == :lt do
          {:error,
           "building k8s_connect needs rustc #{wanted} or newer, and #{rustc} is #{version}. " <>
             "Update it with: rustup update stable"}
        else
          :ok
        end

      {output, _code} ->
        {:error, "#{rustc} --version failed: #{String.trim(output)}"}
    end
  end

  defp rust_version do
    cargo_toml = File.read!(Path.join(@native, "Cargo.toml"))
    [_line, version] = Regex.run(~r/^rust-version = "(\d+\.\d+)"/m, cargo_toml)
    version <> ".0"
  end

  # What was installed last

  defp installed do
    with {:ok, binary} <- File.read(manifest()),
         true <-
           Enum.all?(products(), fn {_built, name} -> File.exists?(Path.join(target(), name)) end) do
      :erlang.binary_to_term(binary)
    else
      _nothing -> nil
    end
  end

  # Names, sizes and times tell whether cargo needs to be asked at all: asking costs 0.3 s.
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

  defp failed(sentence) do
    Mix.shell().error(sentence)

    {:error,
     [
       %Diagnostic{
         compiler_name: "k8s_connect",
         file: Path.join(@native, "Cargo.toml"),
         message: sentence,
         position: nil,
         severity: :error
       }
     ]}
  end
end
