defmodule Mix.Tasks.K8s.ConnectProjectTest do
  # `mix k8s.connect` in projects, with other tasks, in nodes and in releases: on the laptop as `dev`.
  use K8sConnect.CommandCase

  import K8sConnect.Laptop, only: [processes: 1]
  import K8sConnect.Tmp

  @node ~r/app@10\.244\.1\.\d+/

  defp vm(elixir_words, code) do
    run(path("."), "elixir", elixir_words ++ ["-S", "mix", "run", "-e", code], env())
  end

  test "several connections in one mix do" do
    words = ~w(do k8s.connect app-0 --no-wait + k8s.connect newline-cookie --no-wait + run -e)
    code = "IO.inspect(length(K8sConnect.connections()), label: \"connections\")"
    assert {output, 0} = run(path("."), "mix", words ++ [code], env())
    assert output =~ "connections: 2"
  end

  test "config/runtime.exs protects a context, and has to be readable" do
    %{tmp_dir: directory} = tmp_dir(%{})
    write_project(directory, :protected)
    File.mkdir_p!(Path.join(directory, "config"))

    runtime = Path.join(directory, "config/runtime.exs")
    File.write!(runtime, "import Config\nconfig :k8s_connect, protect: [\"test*\"]\n")
    words = ["k8s.connect", "app-0", "--rpc", "node()"]
    assert {output, 1} = run(directory, "mix", words, env())
    assert output =~ ~s(context "testcluster" is protected by "test*")

    # The doctor connects, too.
    assert {output, _code} = run(directory, "mix", ["k8s.doctor", "app-0"], env())
    assert output =~ ~s(context "testcluster" is protected by "test*")

    File.write!(runtime, "import Config\nconfig :k8s_connect, protekt: [\"test*\"]\n")
    assert {output, 2} = run(directory, "mix", words, env())
    assert output =~ "unknown key :protekt in config :k8s_connect"

    File.write!(runtime, "raise \"no such variable\"")
    assert {output, 2} = run(directory, "mix", words, env())
    assert output =~ "could not read config/runtime.exs: no such variable"
    assert {output, 2} = System.cmd("mix", words ++ ["--json"], cd: directory, env: env())
    assert output =~ ~s("kind":"unreadable_configuration")
  end

  test "a project that does not compile connects all the same", %{} do
    %{tmp_dir: directory} = tmp_dir(%{})
    write_project(directory, :broken)
    File.write!(Path.join(directory, "lib/broken.ex"), "defmodule Broken do")

    assert {output, 0} = run(directory, "mix", ["k8s.connect", "app-0", "--rpc", "node()"], env())
    assert output =~ @node
  end

  test "the program of mix k8s.launcher, in any folder" do
    %{tmp_dir: directory} = tmp_dir(%{})
    program = Path.join(directory, "k8s_connect")
    assert {_output, 0} = run(path("."), "mix", ["k8s.launcher", program], env())
    assert {output, 0} = run(directory, program, ["app-0", "--rpc", "node()"], env())
    assert output =~ @node
    assert {output, 0} = run(directory, program, ["pods"], env())
    assert output =~ ~r"^app-0 +1/1 +Running"m
    assert {output, 1} = run(directory, program, ["app-0", "--rpc", "raise(\"boom\")"], env())
    assert output =~ "(RuntimeError) boom"
  end

  test "a project with us as a dev dependency, and a script with Mix.install" do
    %{tmp_dir: build} = tmp_dir(%{})
    directory = path("test/fixtures/dev_dependency")
    arguments = ["k8s.connect", "app-0", "--rpc", "node()"]
    assert {output, 0} = mix(directory, build, arguments)
    assert output =~ @node

    script = Path.join(build, "install.exs")

    File.write!(script, """
    Mix.install([{:k8s_connect, path: #{inspect(path("."))}}])
    IO.inspect(K8sConnect.connect!("app-0").node)
    """)

    assert {output, 0} =
             run(build, "elixir", [script], [{"MIX_INSTALL_DIR", Path.join(build, "installs")}])

    assert output =~ @node
  end

  test "--no-wait goes on with the next task" do
    words = [
      "do",
      "k8s.connect",
      "app-0",
      "--no-wait",
      "+",
      "run",
      "-e",
      "IO.inspect(Node.list(:connected))"
    ]

    assert {output, 0} = run(path("."), "mix", words, env())
    assert output =~ ~r/\[:"app@10\.244\.1\.\d+"\]/
  end

  test "from a BEAM that is a node already, with a short name and with a long one" do
    code = """
    {:ok, connection} = K8sConnect.connect("app-0")
    IO.inspect({Node.self(), Node.list(), :erpc.call(connection.node, Node, :list, [:hidden]) |> Enum.member?(Node.self())})
    K8sConnect.disconnect(connection)
    IO.inspect(Node.alive?())
    """

    assert {output, 0} = vm(["--sname", "short"], code)
    assert output =~ ~r/\{:short@\w+, \[\], true\}\ntrue/
    assert {output, 0} = vm(["--name", "long@127.0.0.1"], code)
    assert output =~ ~r/\{:"long@127.0.0.1", \[\], true\}\ntrue/
  after
    # Named nodes start epmd, and that is theirs, not ours.
    for pid <- processes("epmd"), do: System.cmd("kill", ["#{pid}"])
  end

  test "with options that make a distribution of another kind" do
    code = "IO.inspect(K8sConnect.connect!(\"app-0\").node)"

    for flags <- [
          "-kernel dist_auto_connect once",
          "-kernel inet_backend socket",
          "-kernel net_ticktime 8",
          "-proto_dist inet_tls"
        ] do
      assert {^flags, {output, 0}} = {flags, vm(["--erl", flags], code)}
      assert output =~ @node
    end
  end

  test "from a release without distribution" do
    %{tmp_dir: build} = tmp_dir(%{})
    release = Path.join(build, "release")
    arguments = ["release", "--quiet", "--path", release]

    assert {_output, 0} =
             mix(path("test/fixtures/path_dependency"), build, arguments, [{"MIX_ENV", "prod"}])

    program = Path.join(release, "bin/path_dependency")
    code = "IO.inspect(K8sConnect.connect!(\"app-0\").node)"
    env = [{"RELEASE_DISTRIBUTION", "none"}]
    assert {output, 0} = run(release, program, ["eval", code], env)
    assert output =~ @node
  end
end
