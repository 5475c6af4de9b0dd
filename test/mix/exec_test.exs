defmodule Mix.K8sConnect.ExecTest do
  # Commands that reach a pod by --exec: plain programs, on terminals and in pipes.
  use ExUnit.Case, async: false

  import K8sConnect.{Laptop, Project, Terminal, Tmp}

  alias K8sConnect.Kubeconfig

  @moduletag :cluster
  @moduletag timeout: 120_000
  @interrupt "\x03"
  @suspend "\x1a"
  @end_of_file "\x04"

  setup :tmp_dir

  setup_all do
    {_output, 0} = run(path("."), "mix", ["compile"], [{"MIX_ENV", "dev"}])
    {ip, 0} = System.cmd("kubectl", ~w(get pod app-0 -o jsonpath={.status.podIP}))
    %{ip: ip, node: "app@#{ip}"}
  end

  defp exec(words, env \\ []),
    do: run(path("."), "mix", ["k8s.connect", "app-0" | words], [{"MIX_ENV", "dev"} | env])

  # As a person types it.
  defp terminal(words, env \\ []),
    do: open("cd #{path(".")} && exec mix k8s.connect app-0 #{words}", [{"MIX_ENV", "dev"} | env])

  defp name(pid), do: "/proc/#{pid}/comm" |> File.read!() |> String.trim()

  defp stopped?(pid), do: File.read!("/proc/#{pid}/stat") =~ ~r/\) T /

  # The terminal's side of it is OTP's own, and the functions that IEx on the node wants to be called here are refused.
  test "IEx on the node, by a stock iex and through the guard", context do
    {cookie, 0} = System.cmd("kubectl", ~w(get secret app-cookie -o jsonpath={.data.cookie}))
    file = Path.join(context.tmp_dir, ".erlang.cookie")
    File.write!(file, Base.decode64!(cookie))
    File.chmod!(file, 0o400)
    home = "HOME=#{context.tmp_dir}"
    iex = "#{home} iex --name stock@127.0.0.1 --hidden --remsh #{context.node}"
    log = Path.join(context.tmp_dir, "audit")
    terminal = terminal("--audit #{log} --exec '#{iex}'")
    expect(terminal, ~r/iex\(app@10\.244\.1\.\d+\)1> /)
    type(terminal, "40 +\r2\r")
    expect(terminal, ~r/^42/m)
    type(terminal, ~S|IO.gets("name? ")| <> "\r")
    expect(terminal, "name? ")
    type(terminal, "Joe\r")
    expect(terminal, ~S("Joe\n"))
    type(terminal, @interrupt)
    expect(terminal, "(a)bort")
    type(terminal, "a\r")
    await_end(terminal)
    # The log of another program's requests.
    text = File.read!(log)
    assert text =~ ~s("kind":"call")
    assert length(String.split(text, ~s("kind":"input"))) > 2
    refute text =~ "Joe"
  end

  describe "exit codes are the command's" do
    test "its own, a signal's, and a shell's for what cannot be run" do
      assert {_output, 0} = exec(["--", "true"])
      assert {_output, 7} = exec(["--exec", "exit 7"])
      assert {_output, 143} = exec(["--exec", "kill -TERM $$"])
      assert {output, 127} = exec(["--", "no-such-command"])
      assert output =~ "could not run no-such-command: No such file or directory"
      assert {output, 126} = exec(["--", "/etc/passwd"])
      assert output =~ "could not run /etc/passwd: Permission denied"
    end

    test "an --exec in another one is refused" do
      assert {output, 1} = exec(["--exec", "mix k8s.connect app-0 -- true"])
      assert output =~ "already supervised by seccomp"
    end
  end

  describe "plain programs" do
    test "iex", %{node: node, tmp_dir: directory} do
      terminal = terminal("--exec 'iex --name me@127.0.0.1'", [{"HOME", home(directory)}])
      expect(terminal, ~r/iex\(me@127.0.0.1\)1> /)

      type(
        terminal,
        "Node.connect(:\"#{node}\") and :erpc.call(:\"#{node}\", :erlang, :node, [])\n"
      )

      expect(terminal, ~r/\n:"#{node}"/)
      # The pod sees a hidden node.
      type(terminal, ":erpc.call(:\"#{node}\", Node, :list, [])\n")
      expect(terminal, ~r/\n\[\]/)
      type(terminal, "System.halt(3)\n")
      assert await_end(terminal) == 3
    end

    test "erl", %{node: node, tmp_dir: directory} do
      code = "io:format(\"~p~n\", [net_adm:ping('#{node}')]), halt(4)."
      words = ~w(-- erl -noshell -name me@127.0.0.1 -eval) ++ [code]
      assert {output, 4} = exec(words, [{"HOME", home(directory)}])
      assert output =~ "\npong\n"
    end

    test "a client of the pod's epmd", %{ip: ip} do
      line = "exec 3<> /dev/tcp/#{ip}/4369; printf '\\0\\1n' >&3; tail -c +5 <&3"
      assert {output, 0} = exec(["--", "bash", "-c", line])
      assert output =~ ~r/^name app at port \d+$/m
      # curl's socket is a non-blocking one. It ends with its input, or after a while.
      input = "printf '\\0\\1n'; exec tail --pid=$$ -f /dev/null"
      line = "curl --silent --max-time 3 telnet://#{ip}:4369 < <(#{input})"
      assert {output, 28} = exec(["--", "bash", "-c", line])
      assert output =~ "name app at port"
    end

    test "several pods at once", %{ip: ip} do
      {other, 0} = System.cmd("kubectl", ~w(get pod newline-cookie -o jsonpath={.status.podIP}))
      ask = &"exec 3<> /dev/tcp/#{&1}/4369; printf '\\0\\1n' >&3; tail -c +5 <&3; "

      words = [
        "k8s.connect",
        "app-0",
        "newline-cookie",
        "--",
        "bash",
        "-c",
        ask.(ip) <> ask.(other)
      ]

      assert {output, 0} = run(path("."), "mix", words, [{"MIX_ENV", "dev"}])
      assert [_one, _other] = Regex.scan(~r/^name app at port \d+$/m, output)
    end

    test "nobody else reaches the pod", %{ip: ip} do
      line = "exec 3<> /dev/tcp/#{ip}/4369"
      terminal = terminal("--exec 'echo ready; read line'")
      expect(terminal, "ready")

      assert {_output, 1} =
               System.cmd("timeout", ["2", "bash", "-c", line], stderr_to_stdout: true)

      type(terminal, "\n")
      assert await_end(terminal) == 0
    end
  end

  describe "standard input and output" do
    test "any bytes, in and out", %{tmp_dir: directory} do
      file = Path.join(directory, "bytes")
      File.write!(file, :crypto.strong_rand_bytes(1_000_000))
      line = "mix k8s.connect app-0 -- cat < #{file} | cmp - #{file} && echo same"
      {output, 0} = run(path("."), "bash", ["-c", line], [{"MIX_ENV", "dev"}])
      assert output =~ "same"
      line = "cat #{file} | mix k8s.connect app-0 -- cat | cmp - #{file} && echo same"
      {output, 0} = run(path("."), "bash", ["-c", line], [{"MIX_ENV", "dev"}])
      assert output =~ "same"
    end

    test "are blocking ones" do
      flags = "grep -h flags /proc/self/fdinfo/0 /proc/self/fdinfo/1 /proc/self/fdinfo/2"
      # O_NONBLOCK is 04000.
      nonblocking = ~r/flags:\s+0\d*[4-7]\d{3}\s/
      terminal = terminal("--exec '#{flags}; echo end'")
      refute expect(terminal, ~r/^end/m) =~ nonblocking
      assert {output, 0} = exec(["--exec", flags])
      refute output =~ nonblocking
    end
  end

  describe "the terminal" do
    test "is the command's" do
      terminal = terminal("--exec 'test -t 0 && test -t 1 && test -t 2 && stty size && tty'")
      expect(terminal, ~r"/dev/(pts/\d+|tty)")
      assert await_end(terminal) == 0
    end

    test "Ctrl-C reaches the command and not the BEAM" do
      script =
        ~S[trap "echo caught" INT; echo ready; while read line; do echo $line; done; exit 5]

      terminal = terminal("-- bash -c '#{script}'")
      expect(terminal, "ready")

      for _time <- 1..3 do
        type(terminal, @interrupt)
        refute expect(terminal, "caught") =~ "BREAK"
      end

      # What is typed is the command's, too, and none of it the BEAM's.
      for word <- ~w(one two three four five) do
        type(terminal, "#{word}\n")
        expect(terminal, ~r/#{word}\s+#{word}/)
      end

      type(terminal, @end_of_file)
      assert await_end(terminal) == 5
    end

    test "Ctrl-C ends a command that does not catch it" do
      terminal = terminal("--exec 'echo ready; read line'")
      expect(terminal, "ready")
      type(terminal, @interrupt)
      assert await_end(terminal) == 130
    end

    test "Ctrl-Z and fg", %{tmp_dir: directory} do
      env = [{"MIX_ENV", "dev"}, {"HOME", directory}, {"PS1", "$ "}]
      terminal = open("bash --norc -i", env)
      expect(terminal, "$ ")
      kubeconfig = System.fetch_env!("KUBECONFIG")
      script = "echo ready; while read line; do echo got $line; done; exit 6"
      type(terminal, "cd #{path(".")}; export KUBECONFIG=#{kubeconfig}\n")
      type(terminal, "mix k8s.connect app-0 --exec '#{script}'\n")
      expect(terminal, ~r/^ready/m)

      for word <- ~w(one two) do
        type(terminal, @suspend)
        # The shell reads again when it has shown its prompt.
        expect(terminal, ~r/Stopped.*\$ \z/s)

        # It waits for the BEAM alone. Until the command is stopped, too, its read takes what is typed.
        await(fn -> Enum.all?(processes("echo got"), &stopped?/1) end)
        type(terminal, "echo shell: $((40 + 2))\n")
        expect(terminal, "shell: 42")
        type(terminal, "fg\n")
        # What is typed to a job that does not run again yet is lost, as everywhere.
        expect(terminal, "mix k8s.connect")
        type(terminal, "#{word}\n")
        expect(terminal, "got #{word}")
      end

      type(terminal, @end_of_file)
      type(terminal, "echo code: $?\n")
      expect(terminal, "code: 6")
      type(terminal, "exit\n")
      assert await_end(terminal) == 0
    end
  end

  describe "it ends" do
    # A command that is known by its argument, and the processes between it and the BEAM.
    defp start(mark, words \\ "") do
      port = terminal("-- bash -c 'echo ready; read line; #{mark}' #{words}")
      expect(port, "ready")
      pids = processes(mark) |> Enum.group_by(&name/1)
      %{port: port, beam: beam(pids), pids: pids}
    end

    defp beam(pids), do: Enum.find_value(pids, fn {name, [pid | _]} -> name =~ "beam" && pid end)

    for part <- ~w(beam.smp k8s_connect_exe bash) do
      test "all of it, when #{part} is killed" do
        mark = "mark-#{System.unique_integer([:positive])}"
        %{port: port, pids: pids} = start(mark)
        [pid] = Enum.filter(pids[unquote(part)], &(not script?(&1)))
        {_output, 0} = System.cmd("kill", ["-9", "#{pid}"])

        if unquote(part) =~ "exe",
          do: expect(port, "the program that runs the command was killed")

        assert await_end(port) != 0
        await(fn -> processes(mark) == [] end)
      end
    end

    # The shell of the terminal has the whole line, too.
    defp script?(pid) do
      File.read!("/proc/#{pid}/cmdline") =~ "mix k8s.connect"
    end

    test "when the connection is lost", %{tmp_dir: directory} do
      {relay, port} = relay({10, 200, 0, 1}, 6443)
      server = ["server: https://127.0.0.1:#{port}", "tls-server-name: 10.200.0.1"]
      kubeconfig = Kubeconfig.write(directory, server)
      script = ~S(trap "echo hung up; exit 9" HUP; echo ready; read line)
      terminal = terminal("--kubeconfig #{kubeconfig} -- bash -c '#{script}'")
      expect(terminal, "ready")
      Process.unlink(relay)
      Process.exit(relay, :kill)
      expect(terminal, ~r/hung up.*lost the connection to app@/s)
      assert await_end(terminal) == 1
    end

    # Passes bytes until it is killed, with all its connections.
    defp relay(host, port) do
      options = [:binary, active: true]
      {:ok, listener} = :gen_tcp.listen(0, options ++ [ip: {127, 0, 0, 1}])
      {:ok, own} = :inet.port(listener)
      relay = spawn_link(fn -> relay(listener, %{}, {host, port, options}) end)
      :ok = :gen_tcp.controlling_process(listener, relay)
      {relay, own}
    end

    defp relay(listener, other, {host, port, options} = target) do
      receive do
        {:tcp, socket, data} ->
          :gen_tcp.send(other[socket], data)
          relay(listener, other, target)

        {:tcp_closed, socket} ->
          :gen_tcp.close(other[socket])
          relay(listener, other, target)
      after
        1 ->
          case :gen_tcp.accept(listener, 0) do
            {:ok, client} ->
              {:ok, server} = :gen_tcp.connect(host, port, options)
              relay(listener, Map.merge(other, %{client => server, server => client}), target)

            {:error, :timeout} ->
              relay(listener, other, target)
          end
      end
    end
  end
end
