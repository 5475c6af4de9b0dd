defmodule Mix.Tasks.Compile.K8sConnect do
  @shortdoc "Installs the native files of k8s_connect"

  @moduledoc """
  Puts the native library and, on Linux, the helper and the program of `--exec` into `priv/native` of the
  application, under `_build`. `mix compile` runs it. The files come from the first of these:

    1. the directory `K8S_CONNECT_NATIVE_DIR`, if it is set. It has the files of a `priv/native`.
    2. the release on the web, for the platforms that it has. The package contains the SHA-256 of each archive.
       A source tree does not, so there nothing is downloaded.
    3. cargo, with `K8S_CONNECT_BUILD=1`, in a source tree, and on other platforms. It needs cargo, rustc
       (`rust-version` in `native/Cargo.toml`), and a C compiler as linker.

  ## Download

  Archives are kept in `k8s_connect` of your cache directory (`~/.cache`, or `XDG_CACHE_HOME`).

    * `K8S_CONNECT_MIRROR` - the URL of a directory with the archives, instead of the release
    * `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` - a proxy, as for curl
    * `HEX_CACERTS_PATH` - a PEM file with certificate authorities, instead of the machine's, as for Hex

  ## cargo

    * `CARGO_TARGET_DIR` - the target directory, which all Mix environments share; by default `native/target`
    * `K8S_CONNECT_PROFILE` - the profile of cargo: `dev-release`, the default, or `release`, which makes a smaller
      and faster library in a much longer build
  """

  use Mix.Task.Compiler

  alias K8sConnect.Shellwords
  alias Mix.K8sConnect.Build.{Artifact, Cargo, Target}
  alias Mix.Task.Compiler.Diagnostic

  @recursive true
  @oldest_otp 25
  @root Path.expand("../../..", __DIR__)
  @native Path.join(@root, "native")
  @manifest "compile.k8s_connect"

  @impl true
  def run(_arguments) do
    source = source()
    state = state(source)

    if installed() == state, do: {:noop, []}, else: install(source, state)
  end

  @impl true
  def manifests, do: [manifest()]

  @impl true
  def clean do
    Enum.each([manifest(), target()], &File.rm_rf!/1)
  end

  # Where the files come from

  defp source do
    directory = System.get_env("K8S_CONNECT_NATIVE_DIR")

    cond do
      directory not in [nil, ""] -> {:directory, directory}
      System.get_env("K8S_CONNECT_BUILD") in ["1", "true"] -> :cargo
      true -> artifact()
    end
  end

  defp artifact do
    config = Mix.Project.config()
    url = System.get_env("K8S_CONNECT_MIRROR") || config[:artifacts_url]

    case Artifact.find(@root, config[:version], Target.triple(), url) do
      {:ok, artifact} -> {:artifact, artifact}
      :none -> :cargo
      {:unknown_target, targets} -> {:no_artifact, targets}
    end
  end

  defp install(source, state) do
    with :ok <- check_otp(),
         {:ok, files} <- files(source) do
      Enum.each(files, fn {name, contents} -> put(contents, Path.join(target(), name)) end)
      File.mkdir_p!(Path.dirname(manifest()))
      File.write!(manifest(), :erlang.term_to_binary(state))
      {:ok, []}
    else
      {:error, message} -> failed(message)
    end
  end

  defp files({:artifact, artifact}), do: Artifact.files(artifact)

  defp files({:no_artifact, targets}) do
    Mix.shell().info(
      "The release has no files for #{Target.triple()}, only for #{Enum.join(targets, ", ")}"
    )

    files(:cargo)
  end

  defp files(:cargo), do: with({:ok, files} <- Cargo.build(@native), do: {:ok, read(files)})

  defp files({:directory, directory}) do
    files = prebuilt(directory)

    case Enum.reject(files, fn {_name, path} -> File.regular?(path) end) do
      [] ->
        {:ok, read(files)}

      [{_name, missing} | _more] ->
        {:error,
         "no such file: #{missing} (K8S_CONNECT_NATIVE_DIR). " <>
           "Copy it from a build: cp _build/dev/lib/k8s_connect/priv/native/* #{Shellwords.escape(directory)}"}
    end
  end

  defp prebuilt(directory),
    do: for(name <- Target.files(), do: {name, Path.join(directory, name)})

  defp read(files), do: for({name, path} <- files, do: {name, File.read!(path)})

  # A running VM may have mapped the old file, which has to keep its inode. Another compiler may write, too.
  defp put(contents, path) do
    File.mkdir_p!(Path.dirname(path))
    new = "#{path}.#{System.pid()}"
    File.write!(new, contents)
    File.chmod!(new, 0o755)
    File.rename!(new, path)
  end

  defp check_otp do
    case Integer.parse(System.otp_release()) do
      {release, ""} when release < @oldest_otp ->
        {:error,
         "unsupported: Erlang/OTP #{release}. k8s_connect needs OTP #{@oldest_otp} or newer"}

      _new_enough ->
        :ok
    end
  end

  # The state of the last installation

  defp installed do
    with {:ok, binary} <- File.read(manifest()),
         true <- Enum.all?(Target.files(), &File.exists?(Path.join(target(), &1))) do
      :erlang.binary_to_term(binary)
    else
      _nothing -> nil
    end
  end

  defp state({:artifact, artifact}), do: {:artifact, artifact.sha256}

  defp state({:directory, directory}) do
    {:directory,
     for(
       {_name, path} <- prebuilt(directory),
       {:ok, stat} <- [File.stat(path)],
       do: {path, stat.size, stat.mtime}
     )}
  end

  defp state(_cargo), do: {:cargo, Cargo.state(@native)}

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
