defmodule Mix.Tasks.K8s.LivebookTest do
  # What is wrong before anything is sent. Not async: it changes the environment.
  use ExUnit.Case, async: false

  import ExUnit.CaptureIO
  import K8sConnect.Tmp

  alias K8sConnect.{Error, FakeLivebook}
  alias Mix.K8sConnect.{Livebook, NodeOptions}

  setup :tmp_dir

  defp run(line, code) do
    capture_io(:stderr, fn ->
      exit = catch_exit(Mix.Tasks.K8s.Livebook.run(OptionParser.split(line)))
      assert exit == {:shutdown, code}
    end)
  end

  defp put_env(name, value) do
    before = System.get_env(name)

    on_exit(fn ->
      if before, do: System.put_env(name, before), else: System.delete_env(name)
    end)

    System.put_env(name, value)
  end

  for {line, problem} <- [
        {"", "missing argument TARGET"},
        {"-- @new", "missing argument TARGET"},
        {"app-0 notes.livemd", "too many arguments"},
        {"app-0 --frob", "unknown option --frob"},
        {"app-0 --route kernel", "unknown option --route"},
        {"app-0 --rpc 1", "unknown option --rpc"},
        {"app-0 --timeout x", "invalid value for --timeout"},
        {"app-0 --read-only", "--read-only cannot be used with k8s.livebook"}
      ] do
    test "mix k8s.livebook #{line}" do
      output = run(unquote(line), 2)
      assert output =~ unquote(problem)
      assert output =~ "See: mix help k8s.livebook"
    end
  end

  test "the arguments after -- are those of livebook server" do
    arguments = ~w(app-0 -n shop -- --port 8090 -- @new)

    assert NodeOptions.livebook(arguments) ==
             {:ok, "app-0", [namespace: "shop"], ~w(--port 8090 -- @new)}

    assert NodeOptions.livebook(~w(-l app=web)) == {:ok, nil, [selector: "app=web"], []}
  end

  test "every option is in mix help" do
    {:docs_v1, _, _, _, %{"en" => help}, _, _} = Code.fetch_docs(Mix.Tasks.K8s.Livebook)
    {switches, letters} = Mix.K8sConnect.Switches.of("k8s.livebook")

    for {name, _type} <- switches do
      long = "--" <> (name |> Atom.to_string() |> String.replace("_", "-"))
      letter = Enum.find_value(letters, fn {letter, of} -> of == name && "-#{letter}" end)
      assert help =~ "`#{long}`" or help =~ "`#{letter}`"
    end
  end

  test "without Livebook", %{tmp_dir: directory} do
    put_env("PATH", "/nowhere")
    put_env("MIX_HOME", directory)
    output = run("app-0", 127)

    assert output ==
             "could not start Livebook: no program livebook in PATH or in #{directory}/escripts. " <>
               "Install it with: mix escript.install hex livebook\n"
  end

  test "Livebook where mix escript.install puts it", %{tmp_dir: directory} do
    put_env("PATH", "/nowhere")
    put_env("MIX_HOME", directory)
    File.mkdir!(Path.join(directory, "escripts"))
    FakeLivebook.install(Path.join(directory, "escripts"))
    assert Livebook.find() == {:ok, Path.join(directory, "escripts/livebook")}
  end

  test "the version of Elixir that Livebook prints", %{tmp_dir: directory} do
    program = Path.join(directory, "livebook")
    ask = fn -> program |> Livebook.ask_elixir() |> Livebook.elixir() end
    assert ask.() == nil
    FakeLivebook.install(directory, "1.18.4")
    assert ask.() == "1.18.4"
    FakeLivebook.install(directory)
    assert ask.() == nil
  end

  describe "nodes that Livebook cannot attach to" do
    defp message(node, cookie) do
      assert {:error, error} = Livebook.runtime(node, cookie, nil)
      message = Error.message(error, :cli)
      refute message =~ Atom.to_string(cookie)
      message
    end

    test "with a short name" do
      assert message(:"app@app-0", :secret) =~ "connects only to nodes with long names"
    end

    test "with a colon in the cookie" do
      assert message(:"app@10.0.0.1", :"se:cret") =~ "cookie has a colon"
    end
  end

  describe "the environment of Livebook" do
    defp environment(node, ip), do: Livebook.environment(%{node: node, ip: ip}, "attached:x:y")

    test "is the runtime, where the host is the pod's address" do
      assert environment(:"app@10.0.0.1", "10.0.0.1") ==
               [{"LIVEBOOK_DEFAULT_RUNTIME", "attached:x:y"}]
    end

    test "has flags for a host that resolves only in the cluster, after those of the user" do
      put_env("ERL_AFLAGS", "+sbwt none")

      assert [_runtime, {"ERL_AFLAGS", "+sbwt none -eval " <> code}] =
               environment(:"app@app-0.app", "10.0.0.1")

      assert code ==
               "inet_db:set_lookup([file,native]),inet_db:add_host({10,0,0,1},[[97,112,112,45,48,46,97,112,112]])."
    end

    test "has a flag for an IPv6 address" do
      assert [_runtime, {"ERL_AFLAGS", "-proto_dist inet6_tcp"}] =
               environment(:"app@fd00::1", "fd00::1")
    end
  end
end
