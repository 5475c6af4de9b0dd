defmodule Mix.Tasks.K8s.ConnectTest do
  # The command itself, in BEAMs of its own, on the laptop.
  use K8sConnect.CommandCase

  import K8sConnect.{Terminal, Tmp}

  @node ~r/app@10\.244\.1\.\d+/

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
             ~r"\Aconnecting +testcluster / default / app-0 / route vm, because no helper is installed \(mix help k8s.helper; for other programs: --exec\) \(\d+ ms\)\n"

    assert output =~ ~r"^server +https://10\.200\.0\.1:6443 \(\d+ ms\)\n"m

    for step <- ~w(pod cookie port-forward node connected),
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
    assert File.read!(log) =~ ~r/"kind":"call".*"arguments":".*40 \+ 2/
    assert {output, 2} = connect("app-0 --audit #{log} --trust --rpc 1")
    assert output =~ "--audit cannot be combined with --trust"
    assert {output, 2} = connect("app-0 --audit-arguments --rpc 1")
    assert output =~ "--audit-arguments needs --audit, too"
    assert {output, 1} = connect("app-0 --audit #{directory} --rpc 1")
    assert output =~ "could not open the audit log #{directory}: Is a directory"
  end

  test "--remsh needs a terminal" do
    assert {output, 1} = connect("app-0 --remsh")
    assert output =~ "could not start a shell: standard input is not a terminal"
    assert output =~ ~r/mix k8s\.connect app-0 .*--rpc/
  end

  test "what a pod tries during --rpc is printed after the results, and not with --quiet" do
    code = ~S|:erlang.spawn_request(node(Process.group_leader()), :os, :cmd, [[1]], []); :sent|
    tried = ~r/^refused: app@.* tried to start a process here \(os:cmd\/1\)\. See --trust$/m
    assert {output, 0} = connect("app-0 --rpc '#{code}'")
    assert output =~ ~r/^:sent$/m and output =~ tried
    assert {output, 0} = connect("sts/app --all --rpc '#{code}'")
    assert output =~ ~r/^app-0: :sent$/m and output =~ ~r/^app-0: refused: /m
    assert {":sent\n", 0} = connect("app-0 --quiet --rpc '#{code}'")
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
end
