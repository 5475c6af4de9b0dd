defmodule K8sConnect.ArchiveTest do
  # k8s_connect without a dependency: `mix archive.install` in an empty HOME.
  use ExUnit.Case, async: false

  import K8sConnect.{Project, Tmp}

  alias Mix.K8sConnect.Package

  @moduletag :project
  @moduletag timeout: 300_000

  @version Mix.Project.config()[:version]
  @name "k8s_connect-#{@version}-x86_64-unknown-linux-gnu"
  @missing "missing kubeconfig: no such file: /does/not/exist."
  @words ["k8s.connect", "app-0", "--kubeconfig", "/does/not/exist"]

  # As script/release makes it, of this build.
  setup_all do
    directory = Path.join(System.tmp_dir!(), "k8s_connect-#{System.pid()}-ez")
    File.mkdir_p!(directory)
    on_exit(fn -> File.rm_rf!(directory) end)
    ez = Path.join(directory, @name <> ".ez")
    build = Mix.Project.app_path()

    arguments = [
      path("script/lib/archive.exs"),
      build,
      Path.join(build, "priv/native"),
      @name,
      ez
    ]

    assert {"", 0} = run(directory, "elixir", arguments, [{"SOURCE_DATE_EPOCH", "1700000000"}])
    %{ez: ez}
  end

  setup :tmp_dir

  setup context do
    home = Path.join(context.tmp_dir, "home")
    File.mkdir!(home)

    environment = [
      {"HOME", home},
      {"MIX_HOME", nil},
      {"MIX_ARCHIVES", nil},
      {"MIX_BUILD_ROOT", Path.join(context.tmp_dir, "build")}
    ]

    %{home: home, environment: environment}
  end

  defp mix_in(directory, arguments, context),
    do: run(directory, "mix", arguments, context.environment)

  defp install(context, source, more \\ []) do
    arguments = ["archive.install", source, "--force"] ++ more
    assert {output, 0} = mix_in(context.tmp_dir, arguments, context)
    assert output =~ "creating"
  end

  defp installed(context, file),
    do: Path.join([context.home, ".mix/archives", @name, @name, file])

  test "from a file: works in any folder, and uninstall leaves nothing", context do
    install(context, context.ez)
    assert {output, 1} = mix_in(context.tmp_dir, @words, context)
    assert output =~ @missing

    # archive.install does not keep the permission to execute a program. The first use restores it.
    exec = installed(context, "priv/native/k8s_connect_exec")
    File.chmod!(exec, 0o644)
    program = "IO.puts K8sConnect.Native.program(\"k8s_connect_exec\")"
    ebin = installed(context, "ebin")
    assert {output, 0} = run(context.tmp_dir, "elixir", ["-pa", ebin, "-e", program])
    assert String.trim(output) == exec
    assert Bitwise.band(File.stat!(exec).mode, 0o111) == 0o111

    assert {_output, 0} =
             mix_in(context.tmp_dir, ["archive.uninstall", @name, "--force"], context)

    assert Path.wildcard(Path.join(context.home, "**/*k8s*"), match_dot: true) == []
    assert {output, 1} = mix_in(context.tmp_dir, @words, context)
    assert output =~ ~s|The task "k8s.connect" could not be found|
  end

  test "from a URL, with the checksum of SHA512SUMS", context do
    archive = File.read!(context.ez)
    port = K8sConnect.PlainServer.start(fn _head, _body -> {"200 OK", [], archive} end)
    sum = Base.encode16(:crypto.hash(:sha512, archive), case: :lower)
    install(context, "http://localhost:#{port}/#{@name}.ez", ["--sha512", sum])
    assert {output, 1} = mix_in(context.tmp_dir, @words, context)
    assert output =~ @missing

    wrong = [
      "archive.install",
      "http://localhost:#{port}/#{@name}.ez",
      "--force",
      "--sha512",
      "0"
    ]

    assert {output, 1} = mix_in(context.tmp_dir, wrong, context)
    assert output =~ "Data does not match the given SHA-512 checksum"
  end

  test "in a project that does not depend on it, and does not compile", context do
    install(context, context.ez)
    project = Path.join(context.tmp_dir, "plain")
    File.mkdir_p!(Path.join(project, "lib"))
    File.write!(Path.join(project, "lib/broken.ex"), "defmodule Broken do")
    File.write!(Path.join(project, "mix.exs"), project("[]"))
    assert {output, 1} = mix_in(project, @words, context)
    assert output =~ @missing
  end

  test "beside a dependency of another version, which is the one that runs", context do
    install(context, context.ez)
    dependency = Package.unpack(Path.join(context.tmp_dir, "package"))
    replace(dependency, "mix.exs", ~s|@version "#{@version}"|, ~s|@version "0.0.9"|)
    said = "k8s_connect 0.0.9 of this project runs, and not version #{@version} of the archive"
    task = "lib/mix/tasks/k8s.connect.ex"

    code = """
     do
        IO.puts("here is 0.0.9, \#{:code.priv_dir(:k8s_connect)}")
        execute(arguments)
      end
    """

    replace(dependency, task, ", do: Archive.run(__MODULE__, arguments, &execute/1)", code)
    File.rm!(Path.join(dependency, "lib/mix/tasks/k8s.doctor.ex"))

    project = Path.join(context.tmp_dir, "project")
    File.mkdir!(project)
    File.write!(Path.join(project, "mix.exs"), project(~s|[{:k8s_connect, path: "../package"}]|))

    native = {"K8S_CONNECT_NATIVE_DIR", Path.join(Mix.Project.app_path(), "priv/native")}
    context = %{context | environment: [native | context.environment]}
    assert {output, 1} = mix_in(project, @words, context)
    assert output =~ said
    refute output =~ "redefining module"
    assert output =~ ~r"here is 0.0.9, \S+/build/dev/lib/k8s_connect/priv\n"
    assert output =~ @missing

    assert {output, 1} = mix_in(project, ["k8s.doctor"], context)

    assert output =~
             "no such task in k8s_connect 0.0.9 of this project: k8s.doctor. Update it with: mix deps.update k8s_connect"
  end

  defp replace(directory, file, text, other) do
    path = Path.join(directory, file)
    before = File.read!(path)
    assert before =~ text
    File.write!(path, String.replace(before, text, other))
  end

  defp project(dependencies) do
    """
    defmodule Plain.MixProject do
      use Mix.Project
      def project, do: [app: :plain, version: "1.0.0", deps: #{dependencies}]
    end
    """
  end
end
