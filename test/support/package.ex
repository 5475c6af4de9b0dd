defmodule Mix.K8sConnect.Package do
  @moduledoc """
  The package as a user gets it, and a release of it on a local server.
  """

  alias Mix.K8sConnect.Build.Target

  @version Mix.Project.config()[:version]
  @files Mix.Project.config()[:package][:files]

  @doc """
  The files of the package, relative to this checkout.
  """
  def files do
    Enum.sort(
      for pattern <- @files,
          path <- Path.wildcard(pattern, match_dot: true),
          file <- below(path),
          do: file
    )
  end

  defp below(path) do
    if File.dir?(path),
      do: Path.wildcard(Path.join(path, "**"), match_dot: true) |> Enum.filter(&File.regular?/1),
      else: [path]
  end

  @doc """
  Copies the files of the package to a new directory.
  """
  def unpack(directory) do
    for file <- files() do
      path = Path.join(directory, file)
      File.mkdir_p!(Path.dirname(path))
      File.cp!(file, path)
    end

    directory
  end

  @doc """
  The name of the archive for a target, by default for this machine's.
  """
  def archive_name(target \\ Target.triple()),
    do: "libk8s_connect_nif-v#{@version}-nif-2.15-#{target}.so.tar.gz"

  @doc """
  An archive with the native files of this build.
  """
  def archive do
    path =
      Path.join(
        System.tmp_dir!(),
        "k8s_connect-#{System.pid()}-#{System.unique_integer([:positive])}.tar.gz"
      )

    native = Path.join(Mix.Project.app_path(), "priv/native")

    files =
      for name <- Target.files(), do: {to_charlist(name), to_charlist(Path.join(native, name))}

    :ok = :erl_tar.create(to_charlist(path), files, [:compressed])
    archive = File.read!(path)
    File.rm!(path)
    archive
  end

  @doc """
  Writes the checksum file of a package, with one archive.
  """
  def write_checksum(directory, archive, target \\ Target.triple()) do
    sha256 = Base.encode16(:crypto.hash(:sha256, archive), case: :lower)

    File.write!(
      Path.join(directory, "checksum-Elixir.K8sConnect.Native.exs"),
      ~s|%{\n  "#{archive_name(target)}" => "sha256:#{sha256}",\n}\n|
    )
  end
end
