defmodule Mix.Tasks.K8s.ConnectTest do
  # The command itself, in BEAMs of its own, on the laptop.
  use ExUnit.Case, async: false

  import K8sConnect.{Project, Terminal, Tmp}

  @moduletag :cluster
  @moduletag timeout: 120_000

  @node ~r/app@10\.244\.1\.\d+/

  setup_all do
    {_output, 0} = run(path("."), "mix", ["compile"], env())
    :ok
  end

  defp connect(words, env \\ []),
    do: run(path("."), "mix", ["k8s.connect" | OptionParser.split(words)], env(env))

  # The dev build of the laptop, beside the one that runs the tests.
  defp env(more \\ []), do: [{"MIX_ENV", "dev"} | more]

  defp vm(elixir_words, code) do
    run(path("."), "elixir", elixir_words ++ ["-S", "mix", "run", "-e", code], env())
  end

  defp listening do
    for file <- ["tcp", "tcp6", "unix"],
        do:
          File.read!("/proc/net/#{file}")
          |> String.split("\n")
          |> Enum.filter(&(&1 =~ ~r/ 0A | 00010000 /))
  end

  # Processes of this user; those of the pods are in sight as well.
  defp processes(pattern) do
    own = File.stat!("/proc/self").uid

    for folder <- Path.wildcard("/proc/[0-9]*"),
        match?({:ok, %{uid: ^own}}, File.stat(folder)),
        {:ok, text} <- [File.read(Path.join(folder, "cmdline"))],
        text =~ pattern,
        do: Path.basename(folder)
  end

  defp files, do: Path.wildcard(Path.join(System.tmp_dir!(), "k8s_connect-[0-9]*-[0-9]*"))

  test "--rpc prints the value and nothing else on standard output" do
    {output, 0} =
      System.cmd("mix", ["k8s.connect", "app-0", "--rpc", "node()"],
        cd: path("."),
        env: env(),
        stderr_to_stdout: false
      )

    assert output =~ ~r/\A:"app@10\.244\.1\.\d+"\n\z/
  end

  test "the first line says where, and steps have milliseconds" do
    assert {output, 0} = connect("app-0 --rpc 1")

    assert output =~
             ~r"\Aconnecting testcluster / default / app-0 / route vm, because no helper is installed \(mix help k8s.helper; for other programs: --exec\) \(\d+ ms\)\n"

    assert output =~ ~r"^server +https://10\.200\.0\.1:6443 \(\d+ ms\)\n"m

    for step <- ~w(pod cookie link node connected),
        do: assert(output =~ ~r/^#{step} .* \(\d+ ms\)$/m)
  end

  test "--rpc of what raises, throws or exits there" do
    assert {output, 1} = connect("app-0 --rpc 'raise(\"boom\")'")

    assert output =~
             ~r/could not evaluate the expression on app@10\.244\.1\.\d+: \*\* \(RuntimeError\) boom/

    assert output =~ ":elixir.eval_forms"
    assert {output, 1} = connect("app-0 --rpc 'throw(:boom)'")
    assert output =~ "(throw) :boom"
    assert {output, 1} = connect("app-0 --rpc 'exit(:boom)'")
    assert output =~ "(exit) :boom"
    assert {output, 1} = connect("app-0 --rpc 'Process.exit(self(), :kill)'")
    assert output =~ "(exit) :killed"
    assert {output, 1} = connect("app-0 --rpc '1 +'")
    assert output =~ "TokenMissingError"
  end

  test "--rpc shows a value as its node does, which knows its structs" do
    code = "defmodule Known do defstruct [:name] end; struct(Known, name: 1)"
    assert {output, 0} = run(path("."), "mix", ["k8s.connect", "app-0", "--rpc", code], env())
    assert output =~ "%Known{name: 1}"
    refute output =~ "__struct__"
  end

  test "several connections in one mix do" do
    words = ~w(do k8s.connect app-0 --no-wait + k8s.connect newline-cookie --no-wait + run -e)
    code = "IO.inspect(length(K8sConnect.connections()), label: \"connections\")"
    assert {output, 0} = run(path("."), "mix", words ++ [code], env())
    assert output =~ "connections: 2"
  end

  test "failures are sentences with an exit code, and no stack trace" do
    assert {output, 1} = connect("no-such-pod --rpc 1")
    assert output =~ ~s(no such pod: "no-such-pod" in namespace "default")
    refute output =~ "(k8s_connect "
    assert {output, 2} = connect("app-0 --frob")
    assert output =~ "unknown option --frob"
    assert output =~ "mix help k8s.connect"
  end

  test "--verbose shows what the protocols do, and no secret" do
    token = Path.expand("~/.kube/token")
    [_line, secret] = Regex.run(~r/token: (\S+)/, File.read!(token))
    {encoded, 0} = System.cmd("kubectl", ~w(get secret app-cookie -o jsonpath={.data.cookie}))
    assert {output, 0} = connect("app-0 --verbose --rpc 1 --kubeconfig #{token}")
    path = "path=/api/v1/namespaces/default/pods/app-0"
    assert output =~ ~r/^  tcp +to=10\.200\.0\.1:6443 \(\d+\.\d ms, took \d+\.\d ms\)$/m
    assert output =~ ~r"^  request +method=GET #{path} status=200 \("m
    assert output =~ ~r"^  request +method=POST #{path}/portforward status=101 \("m
    assert output =~ ~r/^  epmd +node=app port=5555 \(/m
    assert output =~ ~r/^  handshake +port=5555 name=app@10\.244\.1\.\d+ flags=0x[0-9a-f]+ \(/m
    for text <- [secret, Base.decode64!(encoded), "Bearer"], do: refute(output =~ text)
  end

  test "--json has results and errors as one object, alone on standard output" do
    json = fn words, code ->
      {output, ^code} = System.cmd("mix", ["k8s.connect" | words], cd: path("."), env: env())
      # Anything that reads it: a program of another language.
      {shown, 0} =
        System.cmd("python3", ["-c", "import json,sys; print(json.loads(sys.argv[1]))", output])

      shown
    end

    assert json.(["app-0", "--rpc", "node()", "--json"], 0) =~ ~r/{'result': ':"app@10[^"]*"'}/
    assert json.(~w(app-0 --no-wait --json), 0) =~ ~r/'connection': .*'node': 'app@10/
    assert json.(["--json"], 0) =~ "'pods': [{"
    error = json.(~w(no-such-pod --json), 1)
    assert error =~ "'stage': 'target'"
    assert error =~ "'kind': 'no_such_pod'"
    assert error =~ "'command': 'kubectl get pods -n default --context testcluster'"
    assert json.(~w(app-0 --frob --json), 2) =~ "'kind': 'usage'"
  end

  test "a protected context is typed in, or confirmed by --yes" do
    %{tmp_dir: directory} = tmp_dir(%{})
    config = Path.join(directory, "config.exs")
    File.write!(config, ~s(import Config\nconfig :k8s_connect, protect: ["test*"]\n))
    words = &["k8s.connect", "app-0", "--rpc", "node()" | &1]
    protected = &run(path("."), "mix", ["do", "loadconfig", config, "+"] ++ words.(&1), env())
    assert {output, 1} = protected.([])
    assert output =~ ~s(context "testcluster" is protected by "test*")
    refute output =~ "server "
    assert {output, 0} = protected.(["--yes"])
    assert output =~ @node
    line = "mix do loadconfig #{config} + k8s.connect app-0 --no-wait"

    for {typed, expected} <- [{"testcluster", "connected "}, {"yes", "was not confirmed"}] do
      terminal = K8sConnect.Terminal.open(line, env())
      expect(terminal, "Type its name")
      type(terminal, typed <> "\n")
      expect(terminal, expected)
      await_end(terminal)
    end
  end

  test "--trust is in the first line, and for a protected context it is typed in" do
    assert {output, 0} = connect("app-0 --trust --rpc 'node()'")
    assert output =~ ~r/^connecting .*trusted: the pod can run code here/m
    assert {output, 0} = connect("app-0 --rpc 'node()'")
    refute output =~ "trusted"

    %{tmp_dir: directory} = tmp_dir(%{})
    config = Path.join(directory, "config.exs")
    File.write!(config, ~s(import Config\nconfig :k8s_connect, protect: ["test*"]\n))
    words = ["do", "loadconfig", config, "+", "k8s.connect", "app-0", "--trust", "--yes"]
    assert {output, 1} = run(path("."), "mix", words ++ ["--rpc", "1"], env())
    assert output =~ "its name was not typed"
    terminal = K8sConnect.Terminal.open(Enum.join(["mix" | words] ++ ["--no-wait"], " "), env())
    expect(terminal, "Type its name")
    type(terminal, "testcluster\n")
    expect(terminal, "connected ")
    await_end(terminal)
  end

  test "--audit logs what is asked of the pod's node, and is in the first line" do
    %{tmp_dir: directory} = tmp_dir(%{})
    log = Path.join(directory, "audit")
    assert {output, 0} = connect("app-0 --audit #{log} --audit-arguments --rpc '40 + 2'")
    assert output =~ ~r/^connecting .* \/ logged in #{log}/m
    assert output =~ ~r/^42$/m
    assert File.read!(log) =~ ~r/"kind":"message".*"arguments":".*40 \+ 2/
    assert {output, 2} = connect("app-0 --audit #{log} --trust --rpc 1")
    assert output =~ "--audit cannot be combined with --trust"
    assert {output, 2} = connect("app-0 --audit-arguments --rpc 1")
    assert output =~ "--audit-arguments needs --audit, too"
    assert {output, 1} = connect("app-0 --audit #{directory} --rpc 1")
    assert output =~ "could not open the audit log #{directory}: Is a directory"
  end

  test "what a pod tries is printed once", %{} do
    code =
      ~S|for _ <- 1..3, do: :erlang.spawn_request(node(Process.group_leader()), :os, :cmd, [~c"x"], [])|

    terminal = open("mix k8s.connect app-0 --remsh", env())
    expect(terminal, ~r/iex\(app@10\.244\.1\.\d+\)/)
    type(terminal, code <> "\r")
    expect(terminal, ~r/refused: app@.* tried to start a process here \(os:cmd\/1\). See --trust/)
    type(terminal, ~S|IO.write("\e]0;title\a" <> "a clean " <> "line\n")| <> "\r")
    assert expect(terminal, "a clean line") =~ "a clean line"
    type(terminal, <<3>>)
    expect(terminal, "(a)bort")
    type(terminal, "a\r")
    await_end(terminal)
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

  test "without a target it lists the pods that look like nodes" do
    assert {output, 0} = connect("")
    assert output =~ ~r/^NAME +READY +STATUS +RESTARTS +AGE +NODE NAME$/m
    assert output =~ ~r/^app-0 +1\/1 +Running /m
    refute output =~ "pending"
    assert output =~ "mix k8s.connect sts/app"
  end

  test "mix k8s.pods prints a table, objects, and targets of mix k8s.connect" do
    assert {output, 0} = run(path("."), "mix", ["k8s.pods"], env())
    assert output =~ ~r/^NAME +READY +STATUS +RESTARTS +AGE +NODE NAME$/m
    assert output =~ ~r/^app-0 +1\/1 +Running +\d+ +\w+ /m
    refute output =~ "pending"

    assert {output, 0} = run(path("."), "mix", ~w(k8s.pods sts/app -o wide), env())
    assert output =~ ~r/^app-0 .* 10\.244\.1\.\d+ .*RELEASE_COOKIE/m

    assert {"pod/app-0\n" <> _, 0} = run(path("."), "mix", ~w(k8s.pods sts/app -o name), env())
    assert {output, 0} = connect("pod/app-0 --rpc node()")
    assert output =~ @node

    assert {output, 0} = run(path("."), "mix", ~w(k8s.pods -l app=nobody), env())
    assert output == "no pods look like Erlang nodes\n"

    assert {output, 1} = run(path("."), "mix", ~w(k8s.pods -A), env())
    assert output =~ "permission denied: could not list pods in all namespaces (403)"
    assert output =~ "mix k8s.pods --context testcluster -n NAMESPACE"

    assert {output, 1} = run(path("."), "mix", ~w(k8s.pods -n kube-system --json), env())
    assert output =~ ~s("kind":"forbidden")
    assert {output, 2} = run(path("."), "mix", ~w(k8s.pods -A app-0), env())
    assert output =~ "mix help k8s.pods"
  end

  test "the first line of mix k8s.pods -o name is an argument of mix k8s.connect" do
    # `head` closes the pipe before it has read all pods.
    line = "mix k8s.connect $(mix k8s.pods -o name | head -n 1) --no-wait"
    assert {output, 0} = run(path("."), "sh", ["-c", line], env())
    assert output =~ ~r/^connected +to app@/m
    refute output =~ "ErlangError"
  end

  test "targets for the completion of a shell" do
    assert {output, 0} = run(path("."), "mix", ~w(k8s.complete targets -- k8s.connect), env())
    targets = String.split(output, "\n", trim: true)
    assert "app-0" in targets
    assert "sts/app" in targets
    refute "pending" in targets
    assert {"testcluster\n", 0} = run(path("."), "mix", ~w(k8s.complete contexts --), env())
    assert {"default\n", 0} = run(path("."), "mix", ~w(k8s.complete namespaces --), env())

    nobody = ~w(k8s.complete targets -- k8s.connect -n kube-system)
    assert {"", 0} = run(path("."), "mix", nobody, env())
  end

  test "mix k8s.init configures targets that mix k8s.connect connects to" do
    %{tmp_dir: directory} = tmp_dir(%{})
    write_project(directory, :init)

    config = Path.join(directory, "config/config.exs")
    init = fn words -> run(directory, "mix", ["k8s.init", "-l", "app=app" | words], env()) end
    assert {output, 0} = init.(["--dry-run"])
    assert output =~ ~s(app: [context: "testcluster", namespace: "default", target: "sts/app"])
    assert output =~ "resources: [pods/portforward], verbs: [get, create]"
    assert {output, 2} = init.([])
    assert output =~ "not running on a terminal: config/config.exs was not changed"
    refute File.exists?(config)
    assert {_output, 0} = init.(["--yes"])
    text = File.read!(config)
    assert {output, 0} = init.(["--yes"])
    assert output =~ "nothing to add"
    assert File.read!(config) == text
    assert {output, 0} = run(directory, "mix", ~w(k8s.connect app --rpc node\(\)), env())
    assert output =~ @node
    assert {output, 1} = init.(["-l", "app=nobody"])
    assert output =~ "no pods look like Erlang nodes"
  end

  test "a project that does not compile connects all the same", %{} do
    %{tmp_dir: directory} = tmp_dir(%{})
    write_project(directory, :broken)
    File.write!(Path.join(directory, "lib/broken.ex"), "defmodule Broken do")

    assert {output, 0} = run(directory, "mix", ["k8s.connect", "app-0", "--rpc", "node()"], env())
    assert output =~ @node
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
    for pid <- processes("epmd"), do: System.cmd("kill", [pid])
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

  test "on a terminal it is IEx here, connected, with completion" do
    terminal = open("mix k8s.connect app-0", env())
    assert expect(terminal, ~r/iex\(rem-dev-[\w-]+@127\.0\.0\.1\)/) =~ ":erpc.call(:\"app@"
    type(terminal, "Node.list(:connected)\r")
    expect(terminal, ~r/\[:"app@10\.244\.1\.\d+"\]/)
    type(terminal, "Enum.cou\t")
    expect(terminal, "Enum.count")
    type(terminal, "([1, 2]) + 40\r")
    expect(terminal, "42")
    type(terminal, "System.halt(0)\r")
    assert await_end(terminal) == 0
  end

  test "--remsh is IEx there, with completion" do
    terminal = open("mix k8s.connect app-0 --remsh", env())
    expect(terminal, ~r/iex\(app@10\.244\.1\.\d+\)/)
    type(terminal, "node()\r")
    expect(terminal, ~r/:"app@10\.244\.1\.\d+"/)
    type(terminal, "Enum.cou\t")
    expect(terminal, "Enum.count")
    type(terminal, "([1, 2]) + 40\r")
    expect(terminal, "42")
    # ^C a: this side ends, the node goes on.
    type(terminal, <<3>>)
    expect(terminal, "(a)bort")
    type(terminal, "a\r")
    await_end(terminal)
    assert {_output, 0} = connect("app-0 --rpc 1")
  end

  test "iex -S mix k8s.connect" do
    terminal = open("iex -S mix k8s.connect app-0", env())
    expect(terminal, ~r/iex\(rem-dev-[\w-]+@127\.0\.0\.1\)/)
    type(terminal, "Node.list(:connected)\r")
    expect(terminal, ~r/\[:"app@10\.244\.1\.\d+"\]/)
    type(terminal, "System.halt(0)\r")
    assert await_end(terminal) == 0
  end

  test "iex -S mix k8s.connect --remsh is refused: both shells would read from the terminal" do
    terminal = open("iex -S mix k8s.connect app-0 --remsh", env())
    expect(terminal, "--remsh cannot be used in iex -S mix")
    assert await_end(terminal) == 2
  end

  defp start_holding do
    Port.open({:spawn_executable, System.find_executable("mix")}, [
      :binary,
      :exit_status,
      :stderr_to_stdout,
      cd: path("."),
      args: ["k8s.connect", "app-0", "--hold"],
      env: [{~c"MIX_ENV", ~c"dev"}]
    ])
  end

  defp hold do
    port = start_holding()
    [_, pid] = Regex.run(~r/end it with: kill (\d+)/, expect(port, ~r/end it with: kill \d+/))
    {port, pid}
  end

  test "--hold ends in order with SIGTERM" do
    {port, pid} = hold()
    {_output, 0} = System.cmd("kill", [pid])
    assert await_end(port) == 0
  end

  test "nothing is opened, and nothing is left after SIGKILL" do
    before = {listening(), processes("epmd"), files()}
    {port, pid} = hold()
    assert {listening(), processes("epmd"), files()} == before
    # No secret is on a command line of ours.
    refute File.read!("/proc/#{pid}/cmdline") =~ "cookie"
    {_output, 0} = System.cmd("kill", ["-KILL", pid])
    assert await_end(port) != 0
    assert {listening(), processes("epmd"), files()} == before
    assert {_output, 0} = connect("app-0 --rpc 1")
  end

  test "nothing is left after SIGKILL at any step" do
    before = {listening(), processes("epmd")}

    # From before the VM has read its code to after it is connected, 40 ms apart.
    for delay <- 100..900//40 do
      port = start_holding()
      {:os_pid, pid} = Port.info(port, :os_pid)
      # The moment is what the test is about: nothing is waited for here.
      Process.sleep(delay)
      {_output, 0} = System.cmd("kill", ["-KILL", to_string(pid)])
      await_end(port)
    end

    assert {listening(), processes("epmd")} == before

    # The next BEAM removes what a kill has left in the moment between the creation and the removal of a folder.
    for folder <- files(), do: File.touch(folder, 0)
    assert {_output, 0} = connect("app-0 --rpc 1")
    assert files() == []
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
