defmodule K8sConnect.ScriptsTest do
  # What the scripts say to words they do not know, and to people without root.
  use ExUnit.Case, async: true

  import K8sConnect.{Project, Tmp}

  @moduletag :project

  setup :tmp_dir

  @scripts ~w(script/bootstrap script/cluster script/demo script/release script/test script/vm)

  for script <- @scripts do
    test "#{script} --help tells its usage" do
      assert {"usage: " <> _ = output, 0} = run(path("."), path(unquote(script)), ["--help"])
      assert output =~ unquote(script)
    end

    test "#{script} refuses what it does not know" do
      assert {output, 2} = run(path("."), path(unquote(script)), ["no-such-word"])
      assert output =~ "no-such-word"
      assert output =~ "usage: #{unquote(script)}"
    end
  end

  test "script/cluster checks the words of its commands" do
    for words <- [
          [],
          ["up", "now"],
          ["logs", "a", "b"],
          ["kubectl"],
          ["app"],
          ["app", "UPPER"],
          ["app", "app", "--replicas"],
          ["app", "app", "--replicas", "many"],
          ["app", "app", "--color", "red"],
          ["laptop"],
          ["laptop", "--root"]
        ] do
      assert {^words, {output, 2}} = {words, run(path("."), path("script/cluster"), words)}
      assert output =~ "usage: script/cluster"
    end
  end

  test "a version of Kubernetes that is not supported is a usage error with those that are" do
    for {script, words} <- [{"script/cluster", ["up"]}, {"script/test", []}],
        {version, shown} <- [{["1.33"], "1.33"}, {[], "nothing"}] do
      words = words ++ ["--kubernetes" | version]
      assert {output, 2} = run(path("."), path(script), words)
      assert output =~ "unsupported version of Kubernetes: #{shown}. It can be 1.37 or 1.34\n"
    end
  end

  test "script/vm checks the words of its commands" do
    for words <- [
          [],
          ["up", "now"],
          ["up", "--kernel"],
          ["up", "--kernel", "4.19"],
          ["up", "--suite"],
          ["up", "--suite", "sid"],
          ["up", "--cgroup", "v3"],
          ["up", "--suite", "trixie", "--cgroup", "v1"],
          ["up", "--cluster", "now"],
          ["run"],
          ["login"],
          ["login", "dev"],
          ["login", "root", "id"],
          ["down", "now"]
        ] do
      assert {^words, {output, 2}} = {words, run(path("."), path("script/vm"), words)}
      assert output =~ "usage: script/vm"
    end
  end

  test "script/test checks the words of its options" do
    for words <- [
          ["--kernel"],
          ["--kernel", "4.19", "vm"],
          ["--suite"],
          ["--suite", "sid", "vm"],
          ["--suite", "trixie", "no-such-suite"],
          ["--kernel", "5.10", "vm"]
        ] do
      assert {^words, {output, 2}} = {words, run(path("."), path("script/test"), words)}
      assert output =~ "usage: script/test"
    end
  end

  test "a cluster's name must be a short word" do
    for name <- ["UP", "../x", "toolonganame"] do
      assert {output, 2} =
               run(path("."), path("script/cluster"), ["status"], [{"K8S_CONNECT_CLUSTER", name}])

      assert output =~ "K8S_CONNECT_CLUSTER must be a short word"
    end
  end

  test "script/demo checks its words" do
    for words <- [["--image"], ["--image", "debian"], ["--keep", "--container"], ["--try", "now"]] do
      assert {^words, {output, 2}} = {words, run(path("."), path("script/demo"), words)}
      assert output =~ "usage: script/demo"
    end
  end

  test "script/demo --try needs a terminal" do
    for words <- [["--try"], ["--try", "--keep"], ["--try", "--container"]] do
      assert {output, 2} = run(path("."), path("script/demo"), words)

      assert output ==
               "demo: --try opens a shell, which needs a terminal. Without one, try: script/demo\n"
    end
  end

  # Where no package is installed.
  defp bare(directory), do: [{"DPKG_ADMINDIR", directory}]

  @other """
  NAME="Fedora Linux"
  ID=fedora
  VERSION_ID=43
  PRETTY_NAME="Fedora Linux 43 (Server Edition)"
  """

  # As root of a namespace, so that all of it would go on.
  test "an unsupported system is told in one sentence, before anything is installed",
       %{tmp_dir: tmp_dir} do
    file = Path.join(tmp_dir, "os-release")
    File.write!(file, @other)

    for script <- ~w(bootstrap demo test) do
      line = ~s(mount --bind "$0" /etc/os-release && exec "$1")
      words = ["--map-root-user", "--mount", "sh", "-c", line, file, path("script/#{script}")]

      assert {output, 1} = run(path("."), "unshare", words, bare(tmp_dir))

      assert output ==
               "#{script}: unsupported: Fedora Linux 43 (Server Edition) is not Debian 12, Debian 13 or " <>
                 "Ubuntu 24.04. With docker or podman, try: script/demo --container\n"
    end
  end

  # In a user namespace without a mapping nobody is root, and the files are still ours.
  defp without_root(script, words, env) do
    run(path("."), "unshare", ["--user", path(script) | words], env)
  end

  test "without root, what needs it and why, with the packages that are missing",
       %{tmp_dir: tmp_dir} do
    for {script, words, what} <- [
          {"script/demo", ["--keep"],
           "the demo needs root for the namespaces, mounts and cgroups"},
          {"script/test", ["cluster"], "suite cluster needs root for the namespaces, mounts"},
          {"script/test", ["kernels"], "suite kernels needs root for its VMs"},
          {"script/cluster", ["down"],
           "a cluster needs root for its namespaces, mounts and cgroups"}
        ] do
      assert {output, 1} = without_root(script, words, bare(tmp_dir))
      assert output =~ "permission denied: #{what}"
      assert output =~ "Try: sudo #{path(script)} #{hd(words)}\n"
      if script != "script/cluster", do: assert(output =~ ~r/, and to install .*build-essential/)
    end
  end

  test "without root, missing packages are told with the command that installs them",
       %{tmp_dir: tmp_dir} do
    assert {output, 1} = without_root("script/bootstrap", ["unit"], bare(tmp_dir))
    assert output =~ "permission denied: installing packages needs root"

    [_all, packages] =
      Regex.run(~r/Try: sudo apt-get install --no-install-recommends (.*)/, output)

    assert "elixir" in String.split(packages)
    refute "containerd" in String.split(packages)
  end

  test "a Go or Rust that is missing or too old", %{tmp_dir: tmp_dir} do
    assert {output, 1} =
             run(path("."), path("script/bootstrap"), ["unit"], [
               fake(tmp_dir, "go", "echo go version go1.19.8 linux/amd64")
             ])

    assert output =~
             ~r/the test cluster needs Go 1\.\d+ or newer, and PATH has 1\.19\.8\. Install/

    assert {output, 1} =
             run(path("."), path("script/bootstrap"), ["unit"], [
               fake(tmp_dir, "go", "echo go version go1.99 linux/amd64"),
               fake(tmp_dir, "rustc", "exit 1")
             ])

    assert output =~ ~r/k8s_connect needs Rust 1\.\d+ or newer, and PATH has none\. Install/
  end

  test "a container without docker or podman, or without a daemon", %{tmp_dir: tmp_dir} do
    bin = Path.join(tmp_dir, "bin")
    File.mkdir_p!(bin)

    for name <- File.ls!("/usr/bin"),
        name not in ["docker", "podman"],
        do: File.ln_s!("/usr/bin/#{name}", Path.join(bin, name))

    container = fn -> run(path("."), path("script/demo"), ["--container"], [{"PATH", bin}]) end

    assert {"demo: neither docker nor podman is in PATH" <> _, 1} = container.()
    fake(bin, "docker", "exit 1")
    assert {"demo: could not reach the daemon of docker" <> _, 1} = container.()
  end

  # A program of that name, first in PATH.
  defp fake(directory, name, line) do
    file = Path.join(directory, name)
    File.write!(file, "#!/bin/sh\n#{line}\n")
    File.chmod!(file, 0o755)
    {"PATH", "#{directory}:#{System.get_env("PATH")}"}
  end
end
