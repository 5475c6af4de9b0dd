defmodule K8sConnect.DependencyTest do
  # Whole projects that depend on us, each with a real call into the native library.
  use ExUnit.Case, async: false

  import K8sConnect.{Project, Tmp}

  @moduletag :project
  @moduletag timeout: 300_000

  @answer "answer: missing kubeconfig: no such file: /does/not/exist."
  @call ~s|{:error, error} = K8sConnect.pods(kubeconfig: "/does/not/exist"); IO.puts("answer: " <> Exception.message(error))|

  # One build of k8s_connect in dev for all projects.
  setup_all do
    build = Path.join(System.tmp_dir!(), "k8s_connect-#{System.pid()}-dependency")
    on_exit(fn -> File.rm_rf!(build) end)
    %{build: build}
  end

  setup :tmp_dir

  test "a path dependency starts unchanged, and the first call loads the library", %{build: build} do
    directory = path("test/fixtures/path_dependency")
    assert {output, 0} = mix(directory, build, ["run", "-e", "PathDependency.call()"])
    assert output =~ "library at boot: false"
    assert output =~ @answer
    assert output =~ "library after a call: true"

    # Nothing to do is nothing said.
    assert {"", 0} = mix(directory, build, ["compile"])
  end

  test "iex -S mix k8s.connect starts the project, and the command alone does not", context do
    directory = path("test/fixtures/path_dependency")
    words = ["k8s.connect", "app-0", "--kubeconfig", "/does/not/exist"]
    env = [{"MIX_BUILD_ROOT", context.build}, {"MIX_ENV", "dev"}]
    assert {output, 1} = run(directory, "iex", ["-S", "mix" | words], env)
    assert output =~ ~r"library at boot: false.*missing kubeconfig: no such file: /does"s
    assert {output, 1} = mix(directory, context.build, words)
    assert output =~ "missing kubeconfig"
    refute output =~ "library at boot"
  end

  test "a release that contains us", %{tmp_dir: build} do
    directory = path("test/fixtures/path_dependency")
    release = Path.join(build, "release")

    assert {output, 0} =
             mix(directory, build, ["release", "--path", release], [{"MIX_ENV", "prod"}])

    assert output =~ "Release created"

    # It boots in embedded mode, where every module is loaded before the application starts.
    env = [{"RELEASE_DISTRIBUTION", "none"}, {"CALL_AND_STOP", "yes"}]
    assert {output, 0} = run(release, Path.join(release, "bin/path_dependency"), ["start"], env)
    assert output =~ "library at boot: false"
    assert output =~ @answer

    # What ships is what runs: two files, and no source of ours.
    native = Path.wildcard(Path.join(release, "lib/k8s_connect-*/priv/native/*"))

    assert Enum.map(native, &Path.basename/1) == [
             "k8s_connect_exec",
             "k8s_connect_helper",
             "k8s_connect_nif.so"
           ]
  end

  test "a dev dependency that is not started", %{build: build, tmp_dir: tmp_dir} do
    directory = path("test/fixtures/dev_dependency")
    assert {output, 0} = mix(directory, build, ["run", "-e", @call])
    assert output =~ @answer
    assert {_output, 0} = mix(directory, tmp_dir, ["compile"], [{"MIX_ENV", "prod"}])
    refute File.exists?(Path.join(tmp_dir, "prod/lib/k8s_connect"))
  end

  test "an umbrella, from its root", %{build: build} do
    assert {output, 0} = mix(path("test/fixtures/umbrella"), build, ["run", "-e", @call])
    assert output =~ @answer
  end

  test "a script with Mix.install", %{tmp_dir: build} do
    script = path("test/fixtures/script/install.exs")
    env = [{"MIX_INSTALL_DIR", build}]
    assert {output, 0} = run(build, "elixir", [script, path(".")], env)
    assert output =~ @answer
  end
end
