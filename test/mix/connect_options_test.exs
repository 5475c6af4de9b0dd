defmodule Mix.K8sConnect.OptionsTest do
  # Not async: it changes the application's environment.
  use ExUnit.Case, async: false

  alias Mix.K8sConnect.Options

  defp parse(line) do
    case Options.parse(OptionParser.split(line)) do
      {:ok, parsed, :text} -> {:ok, parsed}
      {:error, error, :text} -> {:error, K8sConnect.Error.message(error, :cli)}
      json -> json
    end
  end

  test "targets, kubectl's letters, and modes" do
    assert parse("app-0") == {:ok, {:connect, "app-0", [], :default}}

    assert parse("app-0 -n shop -c app") ==
             {:ok, {:connect, "app-0", [namespace: "shop", container: "app"], :default}}

    assert parse("-l app=web") == {:ok, {:connect, nil, [selector: "app=web"], :default}}
    assert parse("app-0 --remsh") == {:ok, {:connect, "app-0", [], :remsh}}
    assert parse("app-0 --hold") == {:ok, {:connect, "app-0", [], :hold}}
    assert parse("app-0 --no-wait") == {:ok, {:connect, "app-0", [], :return}}
  end

  @rpc %{expressions: [], erlang: false, timeout: :infinity, quiet: false}

  test "--rpc and --rpc-file, in their order" do
    rpc = fn fields -> {:ok, {:connect, "app-0", [], {:rpc, Map.merge(@rpc, fields)}}} end
    assert parse("app-0 --rpc node()") == rpc.(%{expressions: [rpc: "node()"]})

    assert parse("app-0 --rpc 'x = 1' --rpc-file a.exs --rpc - --rpc-file b.exs --rpc=-x") ==
             rpc.(%{
               expressions: [
                 rpc: "x = 1",
                 rpc_file: "a.exs",
                 rpc: "-",
                 rpc_file: "b.exs",
                 rpc: "-x"
               ]
             })

    assert parse("app-0 --quiet --erl --rpc-timeout 500 --rpc 1") ==
             rpc.(%{expressions: [rpc: "1"], erlang: true, timeout: 500, quiet: true})

    assert {:ok, {:connect_all, "app-0", [], {:rpc, %{expressions: [rpc_file: "a"]}}}} =
             parse("app-0 --all --rpc-file a")

    for {line, part} <- [
          {"app-0 --quiet", "--quiet needs --rpc or --rpc-file"},
          {"app-0 --hold --erl", "--erl needs --rpc or --rpc-file"},
          {"app-0 --rpc-timeout 5 -- cmd", "--rpc-timeout needs --rpc or --rpc-file"},
          {"app-0 --rpc 1 --rpc-timeout 0",
           "invalid value for --rpc-timeout: expected a positive number of milliseconds, got 0"},
          {"app-0 --rpc 1 --rpc-timeout 4294967296", "invalid value for --rpc-timeout"},
          {"app-0 --rpc 1 --rpc-timeout soon", "invalid value for --rpc-timeout: \"soon\""},
          {"app-0 --rpc", "missing value for --rpc"},
          {"app-0 --rpc-file", "missing value for --rpc-file"},
          {"app-0 --rpc - --rpc -", "--rpc - can be given only once"},
          {"app-0 --rpc-file a --hold", "exclude each other"},
          {"app-0 --rpc 1 --quiet --verbose", "--quiet and --verbose exclude each other"},
          {"app-0 --rpc-file a --read-only", "cannot be used with --read-only"}
        ] do
      assert {:error, sentence} = parse(line)
      assert sentence =~ part
    end
  end

  test "files of expressions are read" do
    %{tmp_dir: directory} = K8sConnect.Tmp.tmp_dir(%{})

    file = fn name, text ->
      path = Path.join(directory, name)
      File.write!(path, text)
      path
    end

    read = fn arguments ->
      with {:error, error, :text} <- ["app-0" | arguments] |> Options.parse() |> Options.check() do
        assert K8sConnect.Error.exit_code(error) == 2
        K8sConnect.Error.message(error, :cli)
      end
    end

    good = file.("good.exs", "ü = 1\n")

    assert {:ok, {:connect, "app-0", [], {:rpc, %{expressions: expressions}}}, :text} =
             read.(["--rpc", "1", "--rpc-file", good])

    assert expressions == [{"--rpc", "1"}, {good, "ü = 1\n"}]

    missing = Path.join(directory, "missing.exs")
    unreadable = file.("unreadable.exs", "1")
    File.chmod!(unreadable, 0o000)

    for {arguments, part} <- [
          {["--rpc-file", missing], "could not read #{missing}: no such file or directory"},
          {["--rpc-file", directory], "could not read #{directory}: illegal operation on a dir"},
          {["--rpc-file", file.("empty.exs", " \n")], "empty.exs: it is empty"},
          {["--rpc", ""], "no expression in --rpc: it is empty"},
          {["--rpc-file", file.("latin1.exs", <<0xFC>>)], "latin1.exs: it is not UTF-8"}
        ],
        do: assert(read.(arguments) =~ part)

    # Root can read it.
    if {:error, :eacces} == File.read(unreadable),
      do: assert(read.(["--rpc-file", unreadable]) =~ "unreadable.exs: permission denied")
  end

  test "--exec and -- CMD, with one target or several" do
    assert parse("app-0 --exec 'iex --name me'") ==
             {:ok, {:exec, [{"app-0", []}], ["/bin/sh", "-c", "iex --name me"]}}

    assert parse("app-0 app-1 -n shop -- erl -name me --rpc x") ==
             {:ok,
              {:exec, [{"app-0", [namespace: "shop"]}, {"app-1", [namespace: "shop"]}],
               ["erl", "-name", "me", "--rpc", "x"]}}

    assert parse("-l app=web -- a -- b") ==
             {:ok, {:exec, [{nil, [selector: "app=web"]}], ["a", "--", "b"]}}

    for {line, part} <- [
          {"app-0 --", "missing command after --"},
          {"-- cmd", "missing argument TARGET"},
          {"app-0 --exec a -- b", "exclude each other"},
          {"app-0 --hold -- b", "exclude each other"},
          {"app-0 --exec a --rpc b", "exclude each other"},
          {"app-0 --no-wait --exec a", "exclude each other"},
          {"app-0 --route vm -- b", "--route cannot be used"},
          {"app-0 --sudo -- b", "--sudo cannot be used"},
          {"app-0 -l a=b -- c", "exclude each other"},
          {"app-0 --frob -- c", "unknown option --frob"}
        ] do
      assert {:error, sentence} = parse(line)
      assert sentence =~ part
    end

    assert {:error, _error, :json} = Options.parse(~w(app-0 --json -- b))
  end

  test "without a target the pods are listed" do
    assert parse("") == {:ok, {:list, []}}
    assert parse("--context prod") == {:ok, {:list, [context: "prod"]}}
  end

  test "usage errors" do
    for {line, part} <- [
          {"app-0 --frob", "unknown option --frob"},
          {"app-0 --route tunnel",
           "invalid value for --route: expected auto, vm, kernel, got \"tunnel\""},
          {"app-0 --protocol http",
           "invalid value for --protocol: expected auto, spdy, websocket, v4, got"},
          {"app-0 --timeout soon", "invalid value for --timeout: \"soon\""},
          {"app-0 -n", "missing value for -n"},
          {"app-0 --cookie-file", "missing value for --cookie-file"},
          {"app-0 app-1", "expected one TARGET, got app-0 app-1"},
          {"app-0 -l a=b", "TARGET and --selector exclude each other"},
          {"app-0 --remsh --hold", "exclude each other"}
        ] do
      assert {:error, sentence} = parse(line)
      assert sentence =~ part
    end
  end

  test "routes and protocols" do
    for {word, route} <- [{"auto", :auto}, {"vm", :vm}, {"kernel", :kernel}] do
      assert {:ok, {:connect, "app-0", [route: ^route], :default}} =
               parse("app-0 --route #{word}")
    end

    assert {:ok, {:connect, "app-0", [protocol: :v4], :default}} = parse("app-0 --protocol v4")
    assert {:ok, {:connect, "app-0", options, :default}} = parse("app-0 --sudo --visible")
    assert Enum.sort(options) == [sudo: true, visible: true]
  end

  test "--json" do
    assert {:ok, {:connect, "app-0", [], :default}, :json} = parse("app-0 --json")
    assert {:error, error, :json} = parse("app-0 --json --frob")
    assert %{stage: :options, kind: :usage, exit_code: 2} = K8sConnect.Error.to_map(error)
  end

  test "invalid values are usage errors" do
    for {line, part} <- [
          {"app-0 --timeout 0", "invalid value for --timeout: expected a positive number"},
          {"app-0 --sudo --route vm", "--sudo requires --route kernel, got --route vm"},
          {"-l a=b --port 70000", "invalid value for --port"},
          {"--timeout 0", "invalid value for --timeout"},
          {"app-0 --timeout 0 -- cmd", "invalid value for --timeout"}
        ] do
      parsed = line |> OptionParser.split() |> Options.parse()
      assert {:ok, _parsed, :text} = parsed
      assert {:error, error, :text} = Options.check(parsed)
      assert K8sConnect.Error.message(error, :cli) =~ part
      assert K8sConnect.Error.exit_code(error) == 2
    end

    for line <- ["app-0 --timeout 5", "-l a=b -- cmd", "--context x --node y"] do
      parsed = line |> OptionParser.split() |> Options.parse()
      assert Options.check(parsed) == parsed
    end
  end

  test "--read-only of the configuration excludes what evaluates, unless it is switched off" do
    on_exit(fn ->
      for key <- [:read_only, :targets], do: Application.delete_env(:k8s_connect, key)
    end)

    check = fn line -> line |> OptionParser.split() |> Options.parse() |> Options.check() end
    assert {:ok, _parsed, :text} = check.("prod --rpc 1")
    Application.put_env(:k8s_connect, :targets, prod: [target: "sts/app", read_only: true])

    for line <- ["prod --rpc 1", "prod --all --rpc 1", "prod --remsh"] do
      assert {:error, error, :text} = check.(line)
      assert K8sConnect.Error.message(error, :cli) =~ "cannot be used with --read-only"
    end

    for line <- ["prod --hold", "other --rpc 1", "prod --no-read-only --rpc 1"],
        do: assert({:ok, _parsed, :text} = check.(line))

    Application.put_env(:k8s_connect, :read_only, true)
    assert {:error, _error, :text} = check.("other --rpc 1")
  end
end
