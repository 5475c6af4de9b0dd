defmodule Mix.K8sConnect.CompletionTest do
  # The scripts, run by the shells. A `mix` of the test answers what depends on the machine.
  # Not async: candidates read the environment and the configuration.
  use ExUnit.Case, async: false

  import ExUnit.CaptureIO
  import K8sConnect.Tmp

  alias K8sConnect.Shellwords
  alias Mix.K8sConnect.{Completion, Options}
  alias Mix.K8sConnect.Completion.Tasks

  @contexts ["prod-eu", "arn:aws:eks:eu:1:cluster/x", "me@work", "od'd $x", "a=b"]

  setup :tmp_dir

  # Prints contexts, and what it was called with to a file.
  defp fake_mix(directory) do
    lines = Enum.map_join(@contexts, "\n", &Shellwords.escape/1)

    File.write!(Path.join(directory, "mix"), """
    #!/bin/sh
    printf '%s\\n' "$@" > #{directory}/called
    # Otherwise Mix prints what it compiles.
    [ "$MIX_QUIET" = 1 ] || echo noise
    case $2 in
      contexts) printf '%s\\n' #{String.replace(lines, "\n", " ")} ;;
      targets) printf '%s\\n' app-0 sts/app prod ;;
    esac
    """)

    File.chmod!(Path.join(directory, "mix"), 0o755)
  end

  defp called(directory),
    do: directory |> Path.join("called") |> File.read!() |> String.split("\n")

  defp sh(shell, directory, script) do
    file = Path.join(directory, "script")
    File.write!(file, script)
    env = [{"PATH", "#{directory}:#{System.fetch_env!("PATH")}"}, {"HOME", directory}]
    words = if shell == "bash", do: ["--norc", file], else: [file]
    {output, 0} = System.cmd(shell, words, env: env, stderr_to_stdout: true)
    String.split(output, "\n", trim: true)
  end

  # What bash is told to insert for a line with the cursor at its end.
  defp bash(directory, line, before \\ "") do
    fake_mix(directory)

    sh("bash", directory, """
    #{before}
    #{Completion.script("bash")}
    COMP_LINE=#{Shellwords.escape(line)} COMP_POINT=#{String.length(line)}
    __k8s_connect_complete mix '' ''
    [ ${#COMPREPLY[@]} = 0 ] || printf '%s\\n' "${COMPREPLY[@]}"
    """)
  end

  describe "bash" do
    test "tasks, options and values", %{tmp_dir: directory} do
      assert bash(directory, "mix k8s.p") == ["k8s.pods"]
      assert "k8s.connect" in bash(directory, "mix ")
      assert bash(directory, "mix k8s.pods --al") == ["--all-namespaces"]
      assert "--no-wait" in bash(directory, "mix k8s.connect app-0 --no-")
      assert bash(directory, "mix k8s.pods -o ") == ~w(wide json name)
      assert bash(directory, "mix k8s.pods --output=j") == ["json"]
      assert bash(directory, "mix k8s.helper un") == ["uninstall"]
      assert bash(directory, "mix do k8s.connect app-0 --route ke") == ["kernel"]
      # Files and commands are left to bash.
      assert bash(directory, "mix k8s.connect app-0 --audit x") == []
      assert bash(directory, "mix k8s.connect app-0 -- er") == []
      refute File.exists?(Path.join(directory, "called"))
    end

    test "targets, with what the line says so far", %{tmp_dir: directory} do
      assert bash(directory, "mix k8s.connect ") == ["app-0", "sts/app", "prod"]
      assert bash(directory, "mix k8s.doctor --context 'a b' sts/") == ["sts/app"]

      assert ["k8s.complete", "targets", "--line", "mix k8s.doctor --context 'a b'" | _] =
               called(directory)
    end

    test "names with special characters", %{tmp_dir: directory} do
      assert bash(directory, "mix k8s.pods --context ") ==
               ["prod-eu", "arn:aws:eks:eu:1:cluster/x", "me@work", ~S(od\'d\ \$x), "a=b"]

      # Bash replaces what is behind the last colon, at sign or equals sign.
      assert bash(directory, "mix k8s.pods --context arn:aws:e") == ["eks:eu:1:cluster/x"]
      assert bash(directory, "mix k8s.pods --context me@w", "COMP_WORDBREAKS+=@") == ["work"]
      assert bash(directory, "mix k8s.pods --context=arn:a") == ["aws:eks:eu:1:cluster/x"]
      assert bash(directory, ~S(mix k8s.pods --context od\'d\ )) == [~S(od\'d\ \$x)]
      assert bash(directory, "mix k8s.pods --context 'pro") == ["prod-eu"]
      assert bash(directory, ~S(mix k8s.pods --context "od)) == []
    end

    test "nothing of the line or of a name is run", %{tmp_dir: directory} do
      for line <- [
            "mix k8s.pods $(touch owned) `touch owned` ",
            "mix k8s.pods --context $(touch owned)"
          ] do
        bash(directory, line)
        refute File.exists?("owned")
      end
    end

    test "a completion of mix that was there first goes on", %{tmp_dir: directory} do
      before = "_mix() { COMPREPLY=(test); }; complete -F _mix mix"
      assert ["test", "k8s.connect" | _] = bash(directory, "mix ", before)
      assert bash(directory, "mix test te", before) == ["test"]
      assert bash(directory, "mix k8s.pods -o w", before) == ["wide"]
      twice = before <> "\n" <> Completion.script("bash")
      assert bash(directory, "mix test te", twice) == ["test"]
    end

    test "silent when mix fails", %{tmp_dir: directory} do
      fake_mix(directory)
      File.write!(Path.join(directory, "mix"), "#!/bin/sh\necho oops >&2\nexit 1\n")

      assert sh("bash", directory, """
             #{Completion.script("bash")}
             COMP_LINE='mix k8s.connect ' COMP_POINT=16
             __k8s_connect_complete mix '' ''
             echo ${#COMPREPLY[@]}
             """) == ["0"]
    end
  end

  # Where they are installed
  if System.find_executable("zsh") do
    test "zsh", %{tmp_dir: directory} do
      fake_mix(directory)

      complete = fn words, before ->
        sh("zsh", directory, """
        typeset -A _comps
        compdef() { }
        compset() { }
        compadd() { print -rl -- ${(P)@[-1]} }
        _files() { print files }
        #{before}
        #{Completion.script("zsh")}
        words=(mix #{Enum.map_join(words, " ", &Shellwords.escape/1)}) CURRENT=#{length(words) + 1}
        _k8s_connect
        """)
      end

      assert complete.(["k8s.pods", "-o", ""], "") == ~w(wide json name)
      assert complete.(["k8s.pods", "--output=w"], "") == ~w(wide json name)
      assert "--all-namespaces" in complete.(["k8s.pods", "--a"], "")
      assert complete.(["k8s.pods", "--context", ""], "") == @contexts
      assert complete.(["k8s.doctor", "--context", "od\\'d", ""], "") == ~w(app-0 sts/app prod)

      assert ["k8s.complete", "targets", "--", "k8s.doctor", "--context", "od'd" | _] =
               called(directory)

      assert complete.(["k8s.connect", "--audit", ""], "") == ["files"]

      before = "_comps[mix]=_mix; _mix() { print before }"
      assert ["k8s.connect" | _] = tasks = complete.([""], before)
      assert List.last(tasks) == "before"
    end
  end

  if System.find_executable("fish") do
    test "fish", %{tmp_dir: directory} do
      fake_mix(directory)
      before = "complete -c mix -a before"

      complete = fn line ->
        sh("fish", directory, """
        #{before}
        #{Completion.script("fish")}
        complete -C #{Shellwords.escape(line)}
        """)
      end

      assert Enum.sort(complete.("mix k8s.pods -o ")) == ~w(json name wide)
      assert complete.("mix k8s.pods --all-") == ["--all-namespaces"]
      assert Enum.sort(complete.("mix k8s.pods --context ")) == Enum.sort(@contexts)
      assert "sts/app" in complete.("mix k8s.doctor --context \"od'd\" ")

      assert ["k8s.complete", "targets", "--", "k8s.doctor", "--context", "od'd" | _] =
               called(directory)

      assert "before" in complete.("mix b")
      assert complete.("mix k8s.p") == ["k8s.pods"]
    end
  end

  describe "candidates" do
    setup %{tmp_dir: directory} do
      before = System.get_env("KUBECONFIG")

      on_exit(fn ->
        if before, do: System.put_env("KUBECONFIG", before), else: System.delete_env("KUBECONFIG")
        Application.delete_env(:k8s_connect, :targets)
      end)

      path = Path.join(directory, "kubeconfig")
      System.put_env("KUBECONFIG", path)

      # No server answers there.
      File.write!(path, """
      current-context: prod
      clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
      users: [{name: u, user: {}}]
      contexts:
      - {name: prod, context: {cluster: c, user: u}}
      - {name: "od'd $x", context: {cluster: c, user: u, namespace: shop}}
      - {name: "a\\nb", context: {cluster: c, user: u}}
      """)

      :ok
    end

    defp candidates(words), do: capture_io(fn -> Mix.Tasks.K8s.Complete.run(words) end)

    test "contexts and namespaces of the kubeconfig, configured targets" do
      assert candidates(~w(contexts --)) |> String.split("\n", trim: true) |> Enum.sort() == [
               "od'd $x",
               "prod"
             ]

      assert candidates(~w(namespaces --)) == "default\nshop\n" or
               candidates(~w(namespaces --)) == "shop\ndefault\n"

      assert candidates(["namespaces", "--line", ~S(mix k8s.pods --context od\'d\ \$x)]) ==
               "shop\n"

      Application.put_env(:k8s_connect, :targets, prod: [target: "sts/app"])
      assert candidates(~w(targets -- k8s.connect)) == "prod\n"
    end

    test "none without a kubeconfig, and for what is not known" do
      assert candidates(~w(contexts -- --kubeconfig /does/not/exist)) == ""
      assert candidates(~w(namespaces -- --kubeconfig /does/not/exist)) == ""
      assert candidates(~w(targets -- --kubeconfig /does/not/exist)) == ""
      assert candidates(~w(nothing -- x)) == ""
      assert candidates([]) == ""
      Application.put_env(:k8s_connect, :targets, :invalid)
      assert candidates(~w(targets --)) == ""
    end
  end

  test "the words of a line that is not finished" do
    for {line, words} <- [
          {"", []},
          {" a  b ", ["a", "b"]},
          {~S(a\ b 'c d'e "f\"g"), ["a b", "c de", "f\"g"]},
          {"a 'b c", ["a", "b c"]},
          {~S(a "b c), ["a", "b c"]},
          {"''", [""]},
          {"a\\", ["a\\"]},
          {"é\\é", ["éé"]}
        ],
        do: assert(Shellwords.split(line) == words)
  end

  test "every task is completed" do
    {:ok, modules} = :application.get_key(:k8s_connect, :modules)

    tasks =
      for module <- modules,
          Code.ensure_loaded?(module) and function_exported?(module, :run, 1),
          String.starts_with?(Atom.to_string(module), "Elixir.Mix.Tasks."),
          task = Mix.Task.task_name(module),
          task not in ["compile.k8s_connect", "k8s.complete"],
          do: task

    assert Enum.sort(tasks) ==
             Enum.sort(for {task, _kind, _options} <- Tasks.all(), do: task)
  end

  test "the command line" do
    assert Options.parse(~w(--completion bash)) == {:ok, {:completion, "bash"}, :text}

    for line <- [
          ~w(--completion csh),
          ~w(--completion bash app-0),
          ~w(--completion bash -n x),
          ~w(--completion)
        ] do
      assert {:error, error, :text} = Options.parse(line)
      assert K8sConnect.Error.exit_code(error) == 2
    end
  end
end
