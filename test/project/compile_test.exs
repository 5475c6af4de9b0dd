defmodule K8sConnect.CompileTest do
  # The Mix compiler, on this very project.
  use ExUnit.Case, async: false

  import K8sConnect.{Project, Tmp}

  @moduletag :project
  @moduletag timeout: 300_000

  # One build for all tests: each of them compiles no Elixir, and installs again.
  setup_all do
    build = Path.join(System.tmp_dir!(), "k8s_connect-#{System.pid()}-compile")
    on_exit(fn -> File.rm_rf!(build) end)
    %{build: build}
  end

  setup :tmp_dir

  setup %{build: build} do
    File.rm_rf!(native(build))
    :ok
  end

  # A program in front of the others in PATH.
  defp fake(tmp_dir, name, script) do
    directory = Path.join(tmp_dir, "bin")
    File.mkdir_p!(directory)
    file = Path.join(directory, name)
    File.write!(file, "#!/bin/sh\n" <> script)
    File.chmod!(file, 0o755)
    {"PATH", "#{directory}:#{System.fetch_env!("PATH")}"}
  end

  # PATH without the folders that have the program.
  defp path_without(program) do
    folders = String.split(System.fetch_env!("PATH"), ":")
    {"PATH", folders |> Enum.reject(&File.exists?(Path.join(&1, program))) |> Enum.join(":")}
  end

  defp compile(build, env), do: mix(path("."), build, ["compile"], env)

  defp native(build), do: Path.join(build, "dev/lib/k8s_connect/priv/native")

  test "builds once, and asks cargo again only when a source has changed", %{build: build} do
    assert {output, 0} = compile(build, [])
    assert output =~ "Compiling the native parts"

    assert ["k8s_connect_exec", "k8s_connect_helper", "k8s_connect_nif.so"] =
             native(build) |> File.ls!() |> Enum.sort()

    assert {"", 0} = compile(build, [path_without("cargo")])

    File.rm!(Path.join(native(build), "k8s_connect_helper"))
    assert {output, 0} = compile(build, [])
    assert output =~ "Compiling the native parts"

    assert {version, 0} =
             System.cmd(Path.join(native(build), "k8s_connect_helper"), ["--version"])

    assert version =~ Mix.Project.config()[:version]
  end

  test "a running VM keeps the library that it has loaded", %{build: build} do
    assert {_output, 0} = compile(build, [])
    library = Path.join(native(build), "k8s_connect_nif.so")
    before = File.stat!(library)
    File.rm!(Path.join(build, "dev/lib/k8s_connect/.mix/compile.k8s_connect"))
    assert {_output, 0} = compile(build, [])
    assert File.stat!(library).inode != before.inode
  end

  test "clean takes the files away", %{build: build} do
    assert {_output, 0} = compile(build, [])
    assert {_output, 0} = mix(path("."), build, ["clean"])
    refute File.exists?(native(build))
  end

  test "without cargo", %{build: build} do
    assert {output, 1} = compile(build, [path_without("cargo")])

    assert output =~
             "could not build k8s_connect: cargo not found in PATH. Install Rust with rustup"
  end

  test "with a rustc that is too old", %{build: build, tmp_dir: tmp_dir} do
    rustc = "echo rustc 1.80.1 '(3f5fd8dd4 2024-08-06)'"
    assert {output, 1} = compile(build, [fake(tmp_dir, "rustc", rustc)])

    assert output =~
             ~r/needs rustc 1\.91\.0 or newer, and \S+ is 1\.80\.1\. Update it with: rustup update/
  end

  test "with a rustc that does not run", %{build: build, tmp_dir: tmp_dir} do
    assert {output, 1} = compile(build, [fake(tmp_dir, "rustc", "echo no toolchain >&2; exit 1")])
    assert output =~ "rustc --version: no toolchain"
  end

  test "without a C compiler", %{build: build} do
    assert {output, 1} = compile(build, [{"CC", "no-such-cc"}])

    assert output =~
             "no-such-cc not found in PATH. On Debian: sudo apt-get install build-essential"
  end

  test "what cargo says is shown, and its failure is ours", %{build: build, tmp_dir: tmp_dir} do
    script = "echo 'error[E0308]: mismatched types' >&2; exit 101"
    assert {output, 1} = compile(build, [fake(tmp_dir, "cargo", script)])
    assert output =~ "error[E0308]: mismatched types"
    assert output =~ "cargo build failed with exit code 101"
  end

  test "prebuilt files, without any toolchain", %{build: build} do
    prebuilt = path("_build/test/lib/k8s_connect/priv/native")
    env = [{"K8S_CONNECT_NATIVE_DIR", prebuilt}, path_without("cargo")]
    assert {output, 0} = compile(build, env)
    refute output =~ "Compiling the native parts"
    assert {"", 0} = compile(build, env)

    library = &Path.join(&1, "k8s_connect_nif.so")
    assert File.read!(library.(native(build))) == File.read!(library.(prebuilt))
  end

  test "prebuilt files that are not there", %{build: build} do
    assert {output, 1} = compile(build, [{"K8S_CONNECT_NATIVE_DIR", build}])

    assert output =~
             "no such file: #{build}/k8s_connect_nif.so (K8S_CONNECT_NATIVE_DIR)"
  end
end
