defmodule Mix.Tasks.K8s.ObserverTest do
  # The command itself, in BEAMs of its own, on the laptop.
  use ExUnit.Case, async: false

  import K8sConnect.{Laptop, Project, Terminal, Tmp}

  @moduletag :cluster
  @moduletag timeout: 120_000

  @no_display [{"DISPLAY", nil}, {"WAYLAND_DISPLAY", nil}]

  setup :tmp_dir

  setup_all do
    {_output, 0} = run(path("."), "mix", ["compile"], env())
    :ok
  end

  defp env(more \\ []), do: [{"MIX_ENV", "dev"} | more]

  defp observer(words, more \\ []),
    do: run(path("."), "mix", ["k8s.observer" | OptionParser.split(words)], env(more))

  # What the terminal's settings are, before and after, and the process id of the BEAM.
  defp view(directory, words) do
    open(
      "stty rows 24 cols 100; stty -a > #{directory}/before; " <>
        "sh -c 'echo $$ > #{directory}/pid; exec mix k8s.observer #{words}'; code=$?; " <>
        "stty -a > #{directory}/after; exit $code",
      env([{"DISPLAY", ""}, {"WAYLAND_DISPLAY", ""}])
    )
  end

  defp assert_restored(directory),
    do: assert(File.read!("#{directory}/before") == File.read!("#{directory}/after"))

  defp beam(directory), do: directory |> Path.join("pid") |> File.read!() |> String.trim()

  test "the view sorts, looks into a process, shows tables and applications, and quits", %{
    tmp_dir: directory
  } do
    terminal = view(directory, "app-0 --interval 500")
    seen = expect(terminal, "REDS/S*")
    assert seen =~ "no display (neither DISPLAY nor WAYLAND_DISPLAY is set): using the terminal"
    assert seen =~ ~r/app@10\.244\.1\.\d+  OTP \d+ /
    type(terminal, "m")
    expect(terminal, ~r/MEMORY\*/)
    type(terminal, "\e[B\r")
    expect(terminal, ~r/stack trace\s+:?[\w.]+/)
    type(terminal, "\e")
    expect(terminal, ~r/NAME OR INITIAL CALL/)
    type(terminal, "e")
    expect(terminal, ":ac_tab")
    type(terminal, "a")
    expect(terminal, ~r/kernel +\d/)
    type(terminal, "q")
    assert await_end(terminal) == 0
    assert_restored(directory)
  end

  test "SIGTERM and SIGKILL restore the terminal", %{tmp_dir: directory} do
    for signal <- ["TERM", "KILL"] do
      terminal = view(directory, "app-0 --text")
      expect(terminal, "REDS/S*")
      {_output, 0} = System.cmd("kill", ["-#{signal}", beam(directory)])
      await_end(terminal)
      # After SIGKILL by the shell that holds the terminal, a moment later.
      await(fn -> match?({:ok, <<_, _::binary>>}, File.read("#{directory}/after")) end)
      if signal == "TERM", do: assert_restored(directory)
    end
  end

  test "a terminal that cannot be set to raw mode ends it with a reason", %{tmp_dir: directory} do
    stty = Path.join(directory, "stty")
    File.write!(stty, "#!/bin/sh\nexit 1\n")
    File.chmod!(stty, 0o755)
    terminal = open("PATH=#{directory}:$PATH exec mix k8s.observer app-0 --text", env())
    seen = expect(terminal, "--once")
    assert seen =~ "could not show the view on this terminal: stty could not set it to raw mode"
    assert seen =~ "mix k8s.observer app-0"
    assert await_end(terminal) == 1
  end

  test "a lost connection ends it with a reason", %{tmp_dir: directory} do
    terminal = view(directory, "app-0 --text")
    expect(terminal, "REDS/S*")
    as_admin("kubectl delete pod app-0 --grace-period=0 --force --wait=false 2> /dev/null")
    assert expect(terminal, "mix k8s.connect app-0") =~ ~r/lost the connection to|was deleted/
    assert await_end(terminal) == 1
    assert_restored(directory)
  after
    as_admin("kubectl rollout status sts app --timeout=90s")
  end

  test "--once prints a snapshot as plain text" do
    assert {output, 0} = observer("app-0 --once --limit 5 --sort memory")
    assert output =~ ~r/^app@10\.244\.1\.\d+  OTP \d+/m
    for text <- ["MEMORY*", "ETS TABLE", "APPLICATION"], do: assert(output =~ text)
    refute output =~ "\e"
  end

  test "--json prints it for programs, alone on standard output" do
    words = ~w(k8s.observer app-0 --json --limit 3 --sort messages)
    {output, 0} = System.cmd("mix", words, cd: path("."), env: env())

    script = """
    import json, sys
    s = json.loads(sys.argv[1])
    print(s['node'], s['sort'], len(s['processes']), s['memory']['total'] > 0, s['processes'][0]['pid'])
    """

    assert {shown, 0} = System.cmd("python3", ["-c", script, output])
    assert shown =~ ~r/\Aapp@10\.244\.1\.\d+ messages 3 True <0\.\d+\.\d+>\n\z/

    {output, 1} =
      System.cmd("mix", ~w(k8s.observer no-such-pod --json), cd: path("."), env: env())

    assert output =~ ~s("kind":"no_such_pod")
  end

  test "usage errors" do
    for {words, text} <- [
          {"app-0 --frob", "unknown option --frob"},
          {"app-0 --read-only", "--read-only cannot be used"},
          {"app-0 --text", "the view in the terminal needs a terminal"}
        ] do
      assert {output, 2} = observer(words, @no_display)
      assert output =~ text
      assert output =~ "See: mix help k8s.observer"
      refute output =~ ~r/^server /m
    end
  end

  defp observer?,
    do: Path.wildcard("#{:code.lib_dir()}/{wx,observer}-*/ebin") |> length() == 2

  # The release of the app has no runtime_tools; app-0 may have got its modules by another test. Whether
  # this machine has wx depends on its packages.
  test "what Observer needs" do
    assert {output, 1} = observer("env-from", [{"DISPLAY", ":1"}])

    if observer?(),
      do: assert(output =~ ~r/app@10\.244\.1\.\d+ has no runtime_tools, which Observer needs/),
      else: assert(output =~ ~r/of this machine has no (wx|observer)\..*apt-get install/)

    assert output =~ ~r/mix k8s\.observer env-from .*--text/
  end

  # A release without runtime_tools has its modules for as long as its pod lives. Of this machine, because app-0 has the
  # same OTP.
  test "the window is announced only once it is open", %{tmp_dir: directory} do
    for module <- [:observer_backend, :appmon_info] do
      [file] = Path.wildcard("#{:code.lib_dir()}/runtime_tools-*/ebin/#{module}.beam")
      binary = file |> File.read!() |> Base.encode64()
      code = ":code.load_binary(:#{module}, 'x', Base.decode64!(\"#{binary}\"))"
      assert {_output, 0} = run(path("."), "mix", ["k8s.connect", "app-0", "--rpc", code], env())
    end

    assert {output, 1} = observer("app-0", [{"DISPLAY", ":77"}, {"WAYLAND_DISPLAY", nil}])
    assert output =~ "could not open Observer"
    refute output =~ "close its window"

    if observer?() and System.find_executable("xvfb-run") do
      line = "echo $$ > #{directory}/pid; exec mix k8s.observer app-0"
      terminal = open("xvfb-run -a sh -c '#{line}'", env())
      expect(terminal, ~r/Observer of app@10\.244\.1\.\d+: close its window to end/)
      {_output, 0} = System.cmd("kill", [beam(directory)])
      await_end(terminal)
    end
  end
end
