defmodule K8sConnect.LauncherTest do
  # The program of `mix k8s.launcher`, outside of this project.
  use ExUnit.Case, async: false

  import K8sConnect.{Project, Tmp}

  @moduletag :project

  setup :tmp_dir

  setup %{tmp_dir: tmp_dir} do
    %{program: Path.join(tmp_dir, "bin it's/k8s_connect"), home: Path.join(tmp_dir, "home")}
  end

  defp write(arguments, env \\ []),
    do: run(path("."), "mix", ["k8s.launcher" | arguments], [{"MIX_ENV", "test"} | env])

  # In an empty folder.
  defp launch(context, arguments), do: launch_in(context.tmp_dir, context, arguments)
  defp launch_in(folder, context, arguments), do: run(folder, context.program, arguments)

  test "it runs the tasks", context do
    assert {output, 0} = write([context.program])
    assert output =~ "wrote #{context.program}\n#{Path.dirname(context.program)} is not in PATH"
    nowhere = ["--kubeconfig", "/does/not/exist"]

    commands = [["app-0"], ["connect", "app-0"], ["pods"], ["-l", "app=web"]]

    for {arguments, code} <- [{["doctor"], 3} | Enum.map(commands, &{&1, 1})] do
      assert {output, ^code} = launch(context, arguments ++ nowhere)
      assert output =~ "missing kubeconfig: no such file: /does/not/exist"
      # The same program, as there may be no Mix task here.
      assert output =~ ~r/k8s_connect (connect|pods|doctor) /
    end

    assert {output, 2} = launch(context, ["app-0", "--wrong it's \"$HOME\""])
    assert output =~ ~s(unknown option --wrong it's "$HOME")
  end

  test "no word is for elixir or erl", context do
    assert {_output, 0} = write([context.program])

    words = [
      "a",
      "--",
      "b c",
      "",
      "-S",
      "-e",
      "1",
      "-extra",
      "+S",
      "--erl",
      "-args_file",
      "--version",
      "ü'\"$`\\"
    ]

    direct = ~s(-run Elixir.Mix.K8sConnect.Launcher.Boot boot "$elixir")

    list = "lists:map(fun unicode:characters_to_binary/1,init:get_plain_arguments())"
    replace(context, direct, "-eval 'io:format(\"~w\",[#{list}]),halt().'")
    assert {output, 0} = launch(context, words)
    assert output == to_string(:io_lib.format("~w", [words]))

    # After an update in place.
    replace(context, ~r/^erts=.*$/m, "erts=/does/not/exist")
    assert {output, 0} = launch(context, words)
    assert output == to_string(:io_lib.format("~w", [words]))
    # Without that Erlang.
    replace(context, ~r/^root=.*$/m, "root=/does/not/exist")
    main = "Mix.K8sConnect.Launcher.main(System.argv())"
    replace(context, main, "IO.inspect(System.argv(), width: :infinity)")
    assert {output, 0} = launch(context, words)
    assert output == inspect(words, width: :infinity) <> "\n"
  end

  defp replace(context, pattern, replacement) do
    text = File.read!(context.program)
    assert text =~ pattern
    File.write!(context.program, String.replace(text, pattern, fn _ -> replacement end))
  end

  test "the program loads no module from the current folder", context do
    assert {_output, 0} = write([context.program])

    # The boot of OTP loads the first ones.
    for name <-
          ~w(c inet_db kernel_refc logger_sup user_sup unicode_util) ++
            ~w(Elixir.OptionParser Elixir.Mix.Tasks.Help),
        do: File.write!(Path.join(context.tmp_dir, name <> ".beam"), "no module")

    assert {output, 0} = launch(context, ["help", "pods"])
    assert output =~ "--all-namespaces"
    refute output =~ ".beam"
  end

  test "its own usage", context do
    assert {_output, 0} = write([context.program])
    assert {"usage: k8s_connect [connect] TARGET" <> _more, 0} = launch(context, ["--help"])
    assert {"missing argument: TARGET or COMMAND\n\nusage: " <> _more, 2} = launch(context, [])
    assert {output, 0} = launch(context, ["help", "pods"])
    assert output =~ "--all-namespaces"
    assert {"unknown command: node" <> _more, 2} = launch(context, ["help", "node"])
    assert {"too many arguments" <> _more, 2} = launch(context, ["help", "connect", "pods"])
  end

  test "the configuration of a project's folder is read", context do
    assert {_output, 0} = write([context.program])
    config = Path.join(context.tmp_dir, "config")
    File.mkdir!(config)
    words = ["app-0", "--kubeconfig", "/does/not/exist"]

    for name <- ["config.exs", "runtime.exs"] do
      file = Path.join(config, name)
      # The project itself is not loaded.
      File.write!(Path.join(context.tmp_dir, "mix.exs"), "raise \"not loaded\"")
      File.write!(file, "import Config\nconfig :k8s_connect, protekt: [\"prod\"]\n")
      assert {output, code} = launch(context, words)
      assert code != 0
      assert output =~ ":protekt"
      File.write!(file, "raise \"broken\"")
      assert {output, code} = launch(context, words)
      assert code != 0
      assert output =~ "config/#{name}: broken"
      File.rm!(file)
    end
  end

  test "the configuration of an umbrella is read in its apps, and none without a project",
       context do
    assert {_output, 0} = write([context.program])
    app = Path.join(context.tmp_dir, "apps/web")
    for folder <- [app, Path.join(context.tmp_dir, "config")], do: File.mkdir_p!(folder)
    config = Path.join(context.tmp_dir, "config/config.exs")
    File.write!(config, "import Config\nconfig :k8s_connect, protekt: [\"prod\"]\n")
    File.write!(Path.join(context.tmp_dir, "config/runtime.exs"), "raise \"read\"")
    words = ["app-0", "--kubeconfig", "/does/not/exist"]
    assert {output, 1} = launch(context, words)
    assert output =~ "missing kubeconfig"
    for folder <- [context.tmp_dir, app], do: File.write!(Path.join(folder, "mix.exs"), "")
    assert {output, 2} = launch_in(app, context, words)
    assert output =~ "could not read ../../config/runtime.exs: read"
    assert output =~ "mix help k8s.launcher"
    File.rm!(Path.join(context.tmp_dir, "config/runtime.exs"))
    assert {output, 2} = launch_in(app, context, words)
    assert output =~ ":protekt"

    # A folder that only looks like an umbrella
    File.mkdir!(Path.join(app, "config"))
    File.write!(Path.join(app, "config/runtime.exs"), "raise \"own\"")
    assert {output, 2} = launch_in(app, context, words)
    assert output =~ "could not read config/runtime.exs: own"
  end

  test "another file is not replaced, and its own is", context do
    File.mkdir_p!(Path.dirname(context.program))
    File.write!(context.program, "mine")
    assert {output, 1} = write([context.program])
    assert output =~ "could not write #{context.program}: it exists, and mix k8s.launcher did not"
    assert File.read!(context.program) == "mine"
    File.rm!(context.program)
    for _twice <- 1..2, do: assert({_output, 0} = write([context.program]))

    assert {output, 1} = write([Path.join(context.program, "k8s_connect")])
    assert output =~ "not a directory"
    assert {output, 2} = write(["--force"])
    assert output =~ "unknown option --force. usage: mix k8s.launcher [FILE]"
    assert {output, 2} = write(["a", "b"])
    assert output =~ "usage: mix k8s.launcher [FILE]"
  end

  test "the default is the folder of Mix's escripts", context do
    file = Path.join(context.home, "escripts/k8s_connect")
    bin = Path.dirname(file)
    env = [{"MIX_HOME", context.home}, {"PATH", "#{bin}:#{System.fetch_env!("PATH")}"}]
    assert {output, 0} = write([], env)
    assert output =~ ~r/^wrote #{file}$/m
    refute output =~ "not in PATH"
    assert {_usage, 0} = run(context.tmp_dir, file, ["--help"])
  end

  test "modules that have moved are the reason", context do
    assert {_output, 0} = write([context.program])
    text = File.read!(context.program)
    File.write!(context.program, String.replace(text, ~r/^ebin=.*$/m, "ebin=/gone/ebin"))
    assert {output, 1} = launch(context, ["app-0"])

    assert [_, again] = Regex.run(~r"/gone/ebin\. Write this program again with:\n(.*)\n", output)
    # As pasted
    assert {_output, 0} = run(path("."), "sh", ["-c", again], [{"MIX_ENV", "test"}])
    assert File.read!(context.program) == text
  end
end
