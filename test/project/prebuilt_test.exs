defmodule K8sConnect.PrebuiltTest do
  # The package as a user gets it, whose Mix compiler downloads from a local server.
  use ExUnit.Case, async: false

  import K8sConnect.{Project, Tmp}

  alias K8sConnect.PlainServer
  alias Mix.K8sConnect.Package

  @moduletag :project
  @moduletag timeout: 300_000

  @answer "answer: missing kubeconfig: no such file: /does/not/exist."

  # One build for all tests: each of them compiles no Elixir, and installs again.
  setup_all do
    directory = Path.join(System.tmp_dir!(), "k8s_connect-#{System.pid()}-package")
    on_exit(fn -> File.rm_rf!(directory) end)
    package = Package.unpack(Path.join(directory, "package"))
    %{package: package, build: Path.join(directory, "build"), archive: Package.archive()}
  end

  setup :tmp_dir

  setup context do
    Package.write_checksum(context.package, context.archive)
    File.rm_rf!(native(context.build))
    :ok
  end

  defp native(build), do: Path.join(build, "dev/lib/k8s_connect/priv/native")

  defp cached(cache, target \\ nil) do
    name = if target, do: Package.archive_name(target), else: Package.archive_name()
    Path.join([cache, "k8s_connect", name])
  end

  defp serve(status, body), do: PlainServer.start(fn _head, _body -> {status, [], body} end)

  # A machine without Rust, whose cache is empty.
  defp environment(cache, port, more) do
    folders = String.split(System.fetch_env!("PATH"), ":")
    path = folders |> Enum.reject(&File.exists?(Path.join(&1, "cargo"))) |> Enum.join(":")

    [
      {"PATH", path},
      {"XDG_CACHE_HOME", cache},
      {"K8S_CONNECT_MIRROR", "http://localhost:#{port}/v0"},
      {"K8S_CONNECT_NATIVE_DIR", nil},
      {"K8S_CONNECT_BUILD", nil}
    ] ++ more
  end

  defp compile(context, port, more \\ []) do
    environment = environment(context.tmp_dir, port, more)
    {output, code} = mix(context.package, context.build, ["compile"], environment)
    {String.replace(output, "\n", " "), code}
  end

  test "the library is downloaded once, and then found in the cache", context do
    port = serve("200 OK", context.archive)
    assert {output, 0} = compile(context, port)
    assert output =~ "Downloading http://localhost:#{port}/v0/#{Package.archive_name()}"
    assert {"", 0} = compile(context, port)

    for name <- Mix.K8sConnect.Build.Target.files() do
      file = Path.join(native(context.build), name)
      built = Path.join([Mix.Project.app_path(), "priv/native", name])
      assert File.read!(file) == File.read!(built)
      assert Bitwise.band(File.stat!(file).mode, 0o111) == 0o111
    end

    # Without a network.
    File.rm_rf!(native(context.build))
    assert {"", 0} = compile(context, 1)
    assert File.read!(cached(context.tmp_dir)) == context.archive
  end

  test "a damaged file in the cache is replaced", context do
    File.mkdir_p!(Path.dirname(cached(context.tmp_dir)))
    File.write!(cached(context.tmp_dir), binary_part(context.archive, 0, 1000))
    assert {output, 0} = compile(context, serve("200 OK", context.archive))
    assert output =~ "Downloading"
    assert File.read!(cached(context.tmp_dir)) == context.archive
  end

  test "two compilers at once", context do
    port = serve("200 OK", context.archive)
    # The Elixir compiler of 1.14 fails beside another one in a new build: only ours runs twice.
    assert {_output, 0} = compile(context, port)
    Enum.each([native(context.build), Path.dirname(cached(context.tmp_dir))], &File.rm_rf!/1)

    results =
      [context.build, context.build]
      |> Enum.map(fn _build -> Task.async(fn -> compile(context, port) end) end)
      |> Task.await_many(:infinity)

    assert [{_first, 0}, {_second, 0}] = results
    assert File.ls!(Path.dirname(cached(context.tmp_dir))) == [Package.archive_name()]
    assert length(File.ls!(native(context.build))) == 3
  end

  test "a changed archive is refused and not kept", context do
    changed = context.archive <> "x"
    assert {output, 1} = compile(context, serve("200 OK", changed))
    assert output =~ ~r/checksum mismatch: \S+ \(#{byte_size(changed)} bytes\) has SHA-256/
    assert output =~ "Compile it from source with: K8S_CONNECT_BUILD=1 mix compile"
    refute File.exists?(cached(context.tmp_dir))
    refute File.exists?(native(context.build))
  end

  test "half an archive", context do
    half = binary_part(context.archive, 0, div(byte_size(context.archive), 2))
    assert {output, 1} = compile(context, serve("200 OK", half))
    assert output =~ ~r/checksum mismatch: \S+ \(#{byte_size(half)} bytes\).*It is incomplete/
  end

  test "a proxy's web page", context do
    page = "<!DOCTYPE html>\n<title>Please log in</title>"
    assert {output, 1} = compile(context, serve("200 OK", page))
    assert output =~ ~s|the answer is not an archive, it starts with "<!DOCTYPE html>"|
    assert output =~ "open the URL in a browser, and copy the file to #{cached(context.tmp_dir)}"
  end

  test "a missing archive", context do
    assert {output, 1} = compile(context, serve("404 Not Found", ""))
    assert output =~ "could not download http://localhost:"
    assert output =~ ": HTTP status 404. If you have a mirror, set K8S_CONNECT_MIRROR."
  end

  test "no network", context do
    assert {output, 1} = compile(context, 1)
    assert output =~ ": connection refused. Behind a proxy, set HTTPS_PROXY."
    assert output =~ "copy the file from another machine to #{cached(context.tmp_dir)}"
  end

  test "a certificate that is not trusted, and one whose authority is given", context do
    %{port: port, authority: authority} = K8sConnect.TlsServer.start(context.archive, "localhost")
    mirror = {"K8S_CONNECT_MIRROR", "https://localhost:#{port}/v0"}
    assert {output, 1} = compile(context, port, [mirror])
    assert output =~ ~r"could not download https://localhost:\d+/\S+: TLS client: .*Unknown CA"
    assert output =~ "Behind a proxy that inspects TLS, set HEX_CACERTS_PATH to a PEM file"
    assert {output, 0} = compile(context, port, [mirror, {"HEX_CACERTS_PATH", authority}])
    assert output =~ "Downloading https://localhost:"
  end

  test "a cache that cannot be written", context do
    cache = [{"XDG_CACHE_HOME", "/dev/null"}]
    assert {output, 0} = compile(context, serve("200 OK", context.archive), cache)
    assert output =~ "warning: could not write #{cached("/dev/null")}: not a directory."
    assert output =~ "Set XDG_CACHE_HOME to a directory that you may write"
    assert length(File.ls!(native(context.build))) == 3
  end

  test "an archive with a path that leaves the folder", context do
    path = Path.join(context.tmp_dir, "x")
    File.write!(path, "x")
    files = [{'../../escaped', to_charlist(path)}]
    :ok = :erl_tar.create(to_charlist(path <> ".tar.gz"), files, [:compressed])
    archive = File.read!(path <> ".tar.gz")
    Package.write_checksum(context.package, archive)
    assert {output, 1} = compile(context, serve("200 OK", archive))
    assert output =~ ~s|it contains "../../escaped", and not exactly|
  end

  test "a platform without an archive is compiled from source", context do
    Package.write_checksum(context.package, context.archive, "riscv64gc-unknown-linux-gnu")
    assert {output, 1} = compile(context, 1)
    assert output =~ ~r/The release has no files for \S+, only for riscv64gc-unknown-linux-gnu/
    assert output =~ "cargo not found in PATH. Install Rust with rustup"
  end

  test "K8S_CONNECT_BUILD=1 compiles from source", context do
    assert {output, 1} = compile(context, 1, [{"K8S_CONNECT_BUILD", "1"}])
    assert output =~ "cargo not found in PATH. Install Rust with rustup"
  end

  test "a script with Mix.install, on a machine without Rust", context do
    port = serve("200 OK", context.archive)
    more = [{"MIX_INSTALL_DIR", Path.join(context.tmp_dir, "install")}]
    environment = environment(context.tmp_dir, port, more)
    script = path("test/fixtures/script/install.exs")
    assert {output, 0} = run(context.tmp_dir, "elixir", [script, context.package], environment)
    assert output =~ "Downloading"
    assert output =~ @answer
  end
end
