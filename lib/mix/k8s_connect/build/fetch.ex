defmodule Mix.K8sConnect.Build.Fetch do
  @moduledoc false
  # An archive from the cache, or else from the release. Nothing is used before its checksum is verified.

  alias Mix.K8sConnect.Build.{Artifact, Download}

  @compile_it "Compile it from source with: K8S_CONNECT_BUILD=1 mix compile"

  @doc """
  The archive of an artifact. Its checksum is correct.
  """
  @spec archive(Artifact.t()) :: {:ok, binary()} | {:error, String.t()}
  def archive(artifact) do
    with {:ok, archive} <- File.read(artifact.cached),
         :ok <- verify(archive, artifact) do
      {:ok, archive}
    else
      _missing_or_damaged -> download(artifact)
    end
  end

  defp download(artifact) do
    Mix.shell().info("Downloading #{Download.without_login(artifact.url)}")

    with {:ok, archive} <- get(artifact),
         :ok <- verify(archive, artifact) do
      store(archive, artifact.cached)
      {:ok, archive}
    end
  end

  defp get(artifact) do
    case Download.get(artifact.url, System.get_env()) do
      {:ok, archive} ->
        {:ok, archive}

      {:error, {kind, reason}} ->
        {:error,
         "could not download #{Download.without_login(artifact.url)}: #{reason}. #{next(kind, artifact)}"}
    end
  end

  defp next(:network, artifact) do
    "Behind a proxy, set HTTPS_PROXY. Without a network, copy the file from another machine to " <>
      "#{artifact.cached}. Or compile it from source with: K8S_CONNECT_BUILD=1 mix compile"
  end

  defp next(:certificate, _artifact) do
    "Behind a proxy that inspects TLS, set HEX_CACERTS_PATH to a PEM file with its authority. " <>
      "Or compile it from source with: K8S_CONNECT_BUILD=1 mix compile"
  end

  defp next(:status, _artifact),
    do: "If you have a mirror, set K8S_CONNECT_MIRROR. " <> @compile_it

  defp next(:system, _artifact), do: "On Debian: sudo apt-get install erlang-ssl erlang-inets"

  defp verify(archive, artifact) do
    case Base.encode16(:crypto.hash(:sha256, archive), case: :lower) do
      sha256 when sha256 == artifact.sha256 -> :ok
      other -> {:error, mismatch(archive, artifact, other)}
    end
  end

  # gzip's first two bytes
  defp mismatch(<<0x1F, 0x8B, _rest::binary>> = archive, artifact, sha256) do
    "checksum mismatch: #{Download.without_login(artifact.url)} (#{byte_size(archive)} bytes) has SHA-256 #{sha256}, and the package " <>
      "expects #{artifact.sha256}. It is incomplete or was changed, and is not used. #{@compile_it}"
  end

  defp mismatch(body, artifact, _sha256) do
    first = body |> String.split("\n", parts: 2) |> hd() |> beginning(60)

    "could not use #{Download.without_login(artifact.url)}: the answer is not an archive, it starts with #{inspect(first)}. " <>
      "A proxy may ask for a login: open the URL in a browser, and copy the file to #{artifact.cached}"
  end

  defp beginning(binary, most), do: binary_part(binary, 0, min(most, byte_size(binary)))

  # Renamed into place: another compiler may read or write it at the same time.
  defp store(archive, path) do
    new = "#{path}.#{System.pid()}-#{System.unique_integer([:positive])}"

    with :ok <- File.mkdir_p(Path.dirname(path)),
         :ok <- File.write(new, archive),
         :ok <- File.rename(new, path) do
      :ok
    else
      {:error, reason} ->
        _not_there = File.rm(new)

        Mix.shell().error(
          "warning: could not write #{path}: #{:file.format_error(reason)}. The next build downloads it again. " <>
            "Set XDG_CACHE_HOME to a directory that you may write"
        )
    end
  end
end
