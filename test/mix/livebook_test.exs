defmodule Mix.K8sConnect.LivebookTest do
  # `mix k8s.livebook` with a stand-in, which attaches to the node by what it gets from the environment.
  use ExUnit.Case, async: false

  import K8sConnect.{Laptop, Project, Terminal, Tmp}

  alias K8sConnect.FakeLivebook

  @moduletag :cluster
  @moduletag timeout: 120_000
  @interrupt "\x03"

  setup :tmp_dir

  setup_all do
    {_output, 0} = run(path("."), "mix", ["compile"], [{"MIX_ENV", "dev"}])
    :ok
  end

  defp livebook(path, words) do
    run(path("."), "mix", ["k8s.livebook" | OptionParser.split(words)], env(path))
  end

  defp env(path), do: [path, {"MIX_ENV", "dev"}]

  test "Livebook attaches to the node with what it gets", %{tmp_dir: directory} do
    path = FakeLivebook.install(directory)
    log = Path.join(directory, "audit")
    assert {output, 7} = livebook(path, "sts/app --audit #{log} -- --port 8090 @new")
    assert [_all, node] = Regex.run(~r/^attached true '(app@10\.244\.1\.\d+)'$/m, output)
    assert output =~ "starting Livebook, with #{node} as the runtime of its notebooks\n"
    assert output =~ ~s(arguments ["--port","8090","@new"]\n)
    assert output =~ "command lines []\n"
    refute output =~ cookie()
    # Of both connections: that of the checks, and that of Livebook.
    assert File.read!(log) =~ ~r/"function":"version".*"function":"node"/s
  end

  test "Livebook with another Elixir than the node's is not started", %{tmp_dir: directory} do
    path = FakeLivebook.install(directory, "1.99.0")
    assert {output, 1} = livebook(path, "app-0")
    assert output =~ "the node runs Elixir #{System.version()}, and Livebook runs Elixir 1.99.0."
    refute output =~ "starting Livebook"
  end

  test "a wrong cookie is an error before Livebook starts", %{tmp_dir: directory} do
    path = FakeLivebook.install(directory)
    assert {output, 1} = livebook(path, "wrong-cookie")
    assert output =~ "cookie mismatch"
    refute output =~ "--route vm"
    refute output =~ "starting Livebook"
  end

  test "Ctrl-C ends both", %{tmp_dir: directory} do
    terminal = waiting(directory)
    type(terminal, @interrupt)
    assert await_end(terminal) == 130
    await(fn -> processes(directory) == [] end)
  end

  test "SIGTERM ends both", %{tmp_dir: directory} do
    terminal = waiting(directory)
    beams = for pid <- processes("k8s.livebook"), name(pid) =~ "beam", do: pid
    assert [beam] = beams
    {_output, 0} = System.cmd("kill", ["#{beam}"])
    await_end(terminal)
    await(fn -> processes(directory) == [] end)
  end

  defp waiting(directory) do
    path = FakeLivebook.install(directory)
    terminal = open("cd #{path(".")} && exec mix k8s.livebook app-0 -- wait", env(path))
    expect(terminal, "attached true")
    assert processes(directory) != []
    terminal
  end

  defp name(pid), do: "/proc/#{pid}/comm" |> File.read!() |> String.trim()
end
