defmodule Mix.Tasks.K8s.Connect.RpcTest do
  # `--rpc` and its companions in BEAMs of their own, on the laptop, against real nodes.
  use ExUnit.Case, async: false

  import K8sConnect.{Laptop, Project, Terminal, Tmp}

  @moduletag :cluster
  @moduletag timeout: 180_000

  @env [{"MIX_ENV", "dev"}]
  # test/host/versions_test.exs runs this with each OTP on both sides.
  @pod System.get_env("K8S_CONNECT_POD", "app-0")

  setup_all do
    {_output, 0} = run(path("."), "mix", ["compile"], @env)
    :ok
  end

  setup :tmp_dir

  # What it prints to standard output and to standard error, and its exit code.
  defp connect(arguments, %{tmp_dir: directory}, input \\ "") do
    [stdin, stderr] = for name <- ["stdin", "stderr"], do: Path.join(directory, name)
    File.write!(stdin, input)
    script = ~s(exec mix k8s.connect "$@" < "#{stdin}" 2> "#{stderr}")
    options = [cd: path("."), env: @env]
    {output, code} = System.cmd("sh", ["-c", script, "sh" | arguments], options)
    {output, File.read!(stderr), code}
  end

  defp rpc(expressions), do: Enum.flat_map(expressions, &["--rpc", &1])

  defp start(arguments) do
    Port.open({:spawn_executable, System.find_executable("mix")}, [
      :binary,
      :exit_status,
      :stderr_to_stdout,
      cd: path("."),
      args: ["k8s.connect", @pod | arguments],
      env: for({name, value} <- @env, do: {to_charlist(name), to_charlist(value)})
    ])
  end

  # Whether a process of this name runs on the node.
  defp alive?(name),
    do: on_node(&(:erpc.call(&1, Process, :whereis, [String.to_atom(name)]) != nil))

  # Asks the node from this BEAM, which is faster than to start a command.
  defp on_node(fun) do
    connection = K8sConnect.connect!(@pod, log: false)
    result = fun.(connection.node)
    :ok = K8sConnect.disconnect(connection)
    result
  end

  defp name, do: "rpc_#{System.unique_integer([:positive])}_#{System.pid()}"

  # It ignores exit signals, and so does a process that it is linked to.
  defp forever(name) do
    "Process.register(self(), :#{name}); Process.flag(:trap_exit, true); IO.puts(\"it runs\"); Process.sleep(:infinity)"
  end

  @tag :each_otp
  test "expressions from the command line, a file and standard input, in their order", context do
    file = Path.join(context.tmp_dir, "two.exs")
    File.write!(file, "y = x + 1\nimport String, only: [upcase: 1]\n[x, y]\n")
    arguments = [@pod, "--rpc", "x = 1", "--rpc-file", file, "--rpc", "-", "--rpc", "z"]
    input = "z = %{ü: upcase(\"ü\"), sum: x + y}\nz.sum\n"
    assert {output, steps, 0} = connect(arguments, context, input)
    assert output == "1\n[1, 2]\n3\n%{sum: 3, ü: \"Ü\"}\n"
    assert steps =~ ~r/^connected /m
  end

  @tag :each_otp
  test "the first that fails is the last, and says where", context do
    assert {"1\n", stderr, 1} = connect([@pod | rpc(["1", "raise(\"boom\")", "2"])], context)
    assert stderr =~ ~r/could not evaluate the expression on \S+@\S+: \*\* \(RuntimeError\) boom/
    file = Path.join(context.tmp_dir, "broken.exs")
    File.write!(file, "1\n2 +\n")
    assert {"1\n", stderr, 1} = connect([@pod, "--rpc", "1", "--rpc-file", file], context)
    assert stderr =~ ~r/\(TokenMissingError\).*broken\.exs:\d/s

    # The compiler of the node prints these to its own log since Elixir 1.15.
    File.write!(file, "1\nno_such_variable + 2\n")
    assert {"", stderr, 1} = connect([@pod, "--rpc-file", file], context)
    assert stderr =~ "no_such_variable"
    assert stderr =~ ~r/broken\.exs:2/
  end

  test "files and input that cannot be read are usage errors, before anything connects",
       context do
    missing = Path.join(context.tmp_dir, "missing.exs")

    for {arguments, input, sentence} <- [
          {["--rpc-file", missing], "", "could not read #{missing}: no such file or directory"},
          {["--rpc-file", context.tmp_dir], "", "illegal operation on a directory"},
          {["--rpc", "-"], "", "no expression in standard input: it is empty"},
          {["--rpc", "-"], <<0xFF>>, "the expression in standard input: it is not UTF-8"}
        ] do
      assert {"", stderr, 2} = connect([@pod | arguments], context, input)
      assert stderr =~ sentence
      refute stderr =~ "connecting"
    end
  end

  @tag :each_otp
  test "what an expression prints appears while it runs, without escape sequences" do
    name = name()

    code =
      ~s|IO.puts("a \\e]0;title\\acle" <> "an line"); receive do :go -> IO.puts("it goes " <> "on") end|

    port = start(rpc(["Process.register(self(), :#{name})", code, ":end_of_" <> name]))
    screen = expect(port, "a clean line\n")
    refute screen =~ "title"

    on_node(&:erpc.call(&1, :erlang, :send, [String.to_atom(name), :go]))
    expect(port, ~r/it goes on\n:ok\n:end_of_#{name}\n/)
    assert await_end(port) == 0
  end

  test "standard input is for the expressions that read it, and has an end", context do
    reads = [~s|IO.gets("name? ")|, ~s|IO.gets("")|, ":after"]
    assert {output, _steps, 0} = connect([@pod | rpc(reads)], context, "Ada\n")
    assert output =~ ~s("Ada\\n"\n)
    assert output =~ ~r/:eof\n:after\n\z/
  end

  test "--quiet prints only results, and errors", context do
    assert {"printed\n:ok\n", "", 0} =
             connect([@pod, "--quiet", "--rpc", "IO.puts(\"printed\")"], context)

    assert {"", stderr, 1} = connect([@pod, "--quiet", "--rpc", "raise(\"boom\")"], context)
    assert stderr =~ ~r/\Acould not evaluate/
    assert {output, "", 0} = connect(["sts/app", "--all", "--quiet", "--rpc", "1"], context)
    assert output =~ ~r"\A(app-\d: 1\n)+\z"
  end

  test "--json prints an object for each result", context do
    assert {output, _steps, 1} =
             connect([@pod, "--json" | rpc(["1", "\"ü\"", "raise(\"boom\")"])], context)

    assert [~s({"result":"1"}), second, error] = String.split(output, "\n", trim: true)
    assert second =~ "ü"
    assert error =~ ~s("kind":"raised")
  end

  test "--all prints the pod before each result", context do
    words = ["sts/app", "--all" | rpc(["x = 1", "x + 1"])]
    assert {output, steps, 0} = connect(words, context)
    [_all, pods] = Regex.run(~r/^connected to (app-0.*)$/m, steps)
    pods = String.split(pods, ", ")
    assert output == Enum.map_join(pods, &"#{&1}: 1\n#{&1}: 2\n")
    code = "if :erlang.phash2(node(), 1) == 0, do: raise(\"boom\")"

    assert {output, stderr, 1} = connect(["sts/app", "--all" | rpc(["1", code, "2"])], context)
    assert output == Enum.map_join(pods, &"#{&1}: 1\n")
    for pod <- pods, do: assert(stderr =~ ~r/^#{pod}: could not evaluate/m)
  end

  @tag :each_otp
  test "after the timeout nothing of it runs on the node", context do
    name = name()
    arguments = [@pod, "--rpc-timeout", "1000" | rpc(["1", forever(name), "2"])]
    assert {"1\nit runs\n", stderr, 1} = connect(arguments, context)

    assert stderr =~
             ~r/timed out after 1000 ms evaluating the expression on \S+@\S+\. Its process there was killed/

    refute alive?(name)

    # One that waits for input that does not come
    port =
      start(["--rpc-timeout", "1000" | rpc(["Process.register(self(), :#{name}); IO.gets(\"\")"])])

    expect(port, "timed out after 1000 ms")
    assert await_end(port) == 1
    refute alive?(name)
  end

  @tag :each_otp
  test "after SIGKILL here nothing of it runs on the node" do
    name = name()
    port = start(rpc([forever(name)]))
    expect(port, "it runs")
    assert alive?(name)
    {:os_pid, pid} = Port.info(port, :os_pid)
    {_output, 0} = System.cmd("kill", ["-KILL", "#{pid}"])
    assert await_end(port) != 0
    await(fn -> not alive?(name) end)
  end

  @tag :each_otp
  test "a result that is too large is an error, and the node goes on", context do
    assert {"1\n", stderr, 1} =
             connect([@pod | rpc(["1", "Enum.to_list(1..3_000_000)"])], context)

    assert stderr =~ ~r/could not print the result .* it has \d+ bytes, and the limit is 1048576/
    words = rpc(["list = Enum.to_list(1..3_000_000); length(list)", "Enum.sum(list)"])
    assert {"3000000\n4500001500000\n", _steps, 0} = connect([@pod | words], context)
  end

  test "Erlang, on a node that has Elixir, and on one that has not", context do
    words = ["--erl" | rpc(["X = [1, \"ü\"]", "{X, node()}."])]
    assert {output, steps, 0} = connect([@pod | words], context)
    assert output =~ ~r/\A\[1,"ü"\]\n\{\[1,"ü"\],'?\S+@\S+\}\n\z/
    refute steps =~ "no Elixir"

    only_erlang = ["two-nodes", "--node", "second"]

    assert {output, steps, 0} =
             connect(only_erlang ++ rpc(["X = 1", "io:format(\"printed~n\"), X + 1"]), context)

    assert output == "1\nprinted\n2\n"
    assert steps =~ ~r/^language +Erlang, because the node has no Elixir$/m
    quiet = only_erlang ++ ["--quiet" | rpc(["1", "raise(\"boom\")"])]
    assert {"1\n", stderr, 1} = connect(quiet, context)
    assert stderr =~ ", as Erlang because the node has no Elixir: "
    file = Path.join(context.tmp_dir, "broken.erl")
    File.write!(file, "X = 1,\nX + .\n")
    assert {"", stderr, 1} = connect(only_erlang ++ ["--quiet", "--rpc-file", file], context)
    assert stderr =~ "broken.erl:2: syntax error before: "
  end

  test "--audit has a line for each expression", context do
    log = Path.join(context.tmp_dir, "audit")
    words = ["--audit", log, "--audit-arguments" | rpc([":first_one", ":second_one"])]
    assert {_output, _steps, 0} = connect([@pod | words], context)
    lines = log |> File.read!() |> String.split("\n")
    assert Enum.any?(lines, &(&1 =~ ~s("module":"erlang","function":"spawn","arity":3)))

    evaluation = ~s("kind":"call","module":"erl_eval","function":"exprs","arity":2)

    for expression <- [":first_one", ":second_one"],
        do: assert([_one] = Enum.filter(lines, &(&1 =~ evaluation and &1 =~ expression)))
  end
end
