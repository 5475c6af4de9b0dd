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
    end

    # Words arrive as they are.
    assert {output, 2} = launch(context, ["app-0", "--wrong it's \"$HOME\""])
    assert output =~ ~s(unknown option --wrong it's "$HOME")
  end

  test "its own usage", context do
    assert {_output, 0} = write([context.program])
    assert {"usage: k8s_connect [connect] TARGET" <> _more, 0} = launch(context, ["--help"])
    assert {"usage: k8s_connect [connect] TARGET" <> _more, 2} = launch(context, [])
    assert {output, 0} = launch(context, ["help", "pods"])
    assert output =~ "--all-namespaces"
    assert {~s(unknown command "node") <> _more, 2} = launch(context, ["help", "node"])
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

  test "another file is not replaced, and its own is", context do
    File.mkdir_p!(Path.dirname(context.program))
    File.write!(context.program, "mine")
    assert {output, 1} = write([context.program])
    assert output =~ "could not write #{context.program}: it is another file"
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

    assert output ==
             "k8s_connect: no such directory: /gone/ebin. Write this program again with: mix k8s.launcher #{context.program}\n"
  end
end
