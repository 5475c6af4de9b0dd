defmodule Mix.K8sConnect.Build.Artifact do
  @moduledoc false
  # The prebuilt native files of a release: one archive for each target. Names and checksum file are those of
  # rustler_precompiled, which packagers know. A source tree has no checksum file, so it never downloads.

  alias Mix.K8sConnect.Build.{Archive, Download, Fetch, Target}

  @enforce_keys [:file, :sha256, :url, :cached]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          file: String.t(),
          sha256: String.t(),
          url: String.t(),
          cached: Path.t()
        }

  @checksums "checksum-Elixir.K8sConnect.Native.exs"
  @compile_it "Compile it from source with: K8S_CONNECT_BUILD=1 mix compile"

  @doc """
  The artifact for a target, from the checksum file in `root`. `url` is the directory of the release.
  """
  @spec find(Path.t(), String.t(), String.t(), String.t()) ::
          {:ok, t()} | :none | {:unknown_target, [String.t()]}
  def find(root, version, target, url) do
    case File.read(Path.join(root, @checksums)) do
      {:ok, text} -> text |> checksums() |> artifact(version, target, url)
      {:error, _reason} -> :none
    end
  end

  defp checksums(text) do
    {checksums, _binding} = Code.eval_string(text)
    checksums
  end

  defp artifact(checksums, version, target, url) do
    file = file(version, target)

    case checksums do
      %{^file => "sha256:" <> sha256} ->
        cached = Path.join(:filename.basedir(:user_cache, "k8s_connect"), file)

        {:ok, %__MODULE__{file: file, sha256: sha256, url: Path.join(url, file), cached: cached}}

      _others ->
        {:unknown_target, for({file, _sum} <- checksums, do: target(file, version))}
    end
  end

  defp file(version, target), do: "libk8s_connect_nif-v#{version}-nif-2.15-#{target}.so.tar.gz"

  defp target(file, version) do
    [before, rest] = String.split(file(version, "|"), "|")
    file |> String.replace_prefix(before, "") |> String.replace_suffix(rest, "")
  end

  @doc """
  The native files of an artifact, from the cache or from the release.
  """
  @spec files(t()) :: {:ok, [{String.t(), binary()}]} | {:error, String.t()}
  def files(artifact) do
    with {:ok, archive} <- Fetch.archive(artifact) do
      case Archive.unpack(archive, Target.files()) do
        {:ok, files} ->
          {:ok, files}

        {:error, reason} ->
          {:error,
           "could not unpack #{Download.without_login(artifact.url)}: #{reason}. #{@compile_it}"}
      end
    end
  end
end
