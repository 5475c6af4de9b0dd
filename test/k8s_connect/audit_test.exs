defmodule K8sConnect.AuditTest do
  # Not async: the tests connect this VM.
  use ExUnit.Case, async: false

  @moduletag :cluster
  @moduletag timeout: 120_000

  setup do
    folder = Path.join(System.tmp_dir!(), "audit-#{System.unique_integer([:positive])}")
    File.mkdir_p!(folder)

    on_exit(fn ->
      for connection <- K8sConnect.connections(), do: K8sConnect.disconnect(connection)
      File.rm_rf!(folder)
    end)

    %{log: Path.join(folder, "audit"), folder: folder}
  end

  defp connect(file, options \\ []),
    do: K8sConnect.connect!("app-0", [log: false, route: :vm, audit: file] ++ options)

  # A line has the fields in a fixed order, and no value has `","`.
  defp lines(file) do
    for line <- file |> File.read!() |> String.split("\n", trim: true) do
      assert "{" <> _ = line
      assert String.ends_with?(line, "}")
      line
    end
  end

  defp line(file, parts), do: Enum.filter(lines(file), &Enum.all?(parts, fn p -> &1 =~ p end))

  defp await(file, parts, deadline \\ now() + 10_000) do
    cond do
      line(file, parts) != [] -> :ok
      now() > deadline -> flunk("no line with #{inspect(parts)} in:\n#{File.read!(file)}")
      true -> Process.sleep(20) && await(file, parts, deadline)
    end
  end

  defp now, do: System.monotonic_time(:millisecond)

  test "each request has a line before it leaves, and one for its end", %{log: file} do
    %{node: node, context: context} = connection = connect(file)
    assert :erpc.call(node, :erlang, :node, []) == node
    {user, 0} = System.cmd("id", ["-un"])

    assert [call] = line(file, [~s("module":"erlang","function":"node","arity":0)])

    for part <- [
          ~s("event":"request"),
          ~s("user":"#{String.trim(user)}"),
          ~s("context":"#{context}"),
          ~s("namespace":"#{connection.namespace}","pod":"app-0","node":"#{node}")
        ],
        do: assert(call =~ part)

    assert {:ok, _time, 0} =
             DateTime.from_iso8601(Regex.run(~r/"time":"([^"]+)"/, call) |> List.last())

    [id] = Regex.run(~r/"id":\d+/, call)
    assert [_line] = line(file, ["#{id},", ~s("event":"result"), ~s("result":"return")])

    assert catch_error(:erpc.call(node, :erlang, :error, [:oops])) != nil
    assert catch_throw(:erpc.call(node, :erlang, :throw, [:oops])) == :oops
    for result <- ["error", "throw"], do: assert([_line] = line(file, [~s("result":"#{result}")]))

    # A call of a process, a message, a process there, a signal
    {:ok, agent} = :erpc.call(node, Agent, :start, [:erlang, :node, []])
    assert Agent.get(agent, Function, :identity, []) == node
    send({:nobody, node}, :hello)
    pid = Node.spawn(node, :timer, :sleep, [60_000])
    monitor = Process.monitor(pid)
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^pid, :killed}, 5000
    await(file, [~s("kind":"message"), ~s("tag":"$gen_call")])
    await(file, [~s("kind":"message","to":"nobody","tag":"hello")])
    await(file, [~s("kind":"call","module":"timer","function":"sleep","arity":1)])
    await(file, [~s("kind":"signal","signal":"exit")])
    for result <- ["reply", "started"], do: await(file, [~s("result":"#{result}")])
    GenServer.stop(agent)

    assert K8sConnect.status(connection).audit == file
    K8sConnect.disconnect(connection)
    await(file, [~s("event":"disconnected")])
    assert [first | _lines] = lines(file)
    assert first =~ ~s("event":"connected")
    assert Bitwise.band(File.stat!(file).mode, 0o777) == 0o600
    assert [] == line(file, [~s("arguments")])
  end

  test "arguments are in it if they are wanted, and of any size", %{log: file} do
    %{node: node} = connect(file, audit_arguments: true)
    data = :binary.copy("a", 1_000_000)
    assert :erpc.call(node, :erlang, :byte_size, [data]) == 1_000_000
    assert [line] = line(file, [~s("function":"byte_size")])
    assert line =~ ~r/"arguments":"\[\\"a{900,1000}\.\.\."/
    assert :erpc.call(node, Enum, :sum, [[1, 2, 1000]]) == 1003

    assert [_line] = line(file, [~s("module":"Elixir.Enum"), ~S("arguments":"[[1, 2, 1000]]")])
  end

  test "it is a log of what is not sent, too", %{log: file} do
    %{node: node} = connect(file, read_only: true)
    assert catch_error(:erpc.call(node, :os, :cmd, [~c"id"])) == {:erpc, :read_only}
    assert [_line] = line(file, [~s("module":"os","function":"cmd"), ~s("refused":true)])
  end

  test "a file that cannot be opened is an error before anything is sent", %{folder: folder} do
    for {file, problem} <- [
          {folder, "Is a directory"},
          {Path.join(folder, "no/file"), "No such file or directory"},
          {"/dev/full", "it is a device"}
        ] do
      assert {:error, %{reason: {:no_audit_file, details}} = error} =
               K8sConnect.connect("app-0", log: false, audit: file)

      assert details.file == file
      assert Exception.message(error) =~ problem
      assert K8sConnect.connections() == []
    end
  end

  # The user's own namespaces: the tmpfs is in none of the others.
  test "a full disk ends the session, and what is not logged is not sent", %{folder: folder} do
    code = """
    file = System.fetch_env!("FOLDER") <> "/audit"
    File.write!(System.fetch_env!("FOLDER") <> "/other", :binary.copy("x", 8192))
    connection = K8sConnect.connect!("app-0", log: false, route: :vm, audit: file)
    reference = K8sConnect.subscribe(connection)
    {:ok, agent} = :erpc.call(connection.node, Agent, :start, [Kernel, :+, [0, 0]])
    add = fn -> :erpc.call(connection.node, Agent, :update, [agent, Kernel, :+, [1]]) end

    count = fn count, done ->
      try do
        add.()
        count.(count, done + 1)
      catch
        :error, {:erpc, :noconnection} -> done
      end
    end

    done = count.(count, 0)
    receive do
      {:k8s_connect, ^reference, {:down, error}} -> IO.puts(Exception.message(error))
    end

    connection = K8sConnect.connect!("app-0", log: false, route: :vm)
    there = :erpc.call(connection.node, Agent, :get, [agent, Function, :identity, []])
    :ok = :erpc.call(connection.node, Agent, :stop, [agent])
    logged = File.read!(file) |> String.split("\\n") |> Enum.count(&(&1 =~ ~s("function":"update")))
    IO.puts("logged \#{logged >= there} done \#{there - done in 0..1} \#{done > 2}")
    """

    script = """
    mount -t tmpfs -o size=32k tmpfs #{folder} && FOLDER=#{folder} exec mix run -e "$CODE"
    """

    arguments = ["--user", "--map-current-user", "--mount", "--keep-caps", "sh", "-c", script]

    {output, status} =
      System.cmd("unshare", arguments,
        env: [{"CODE", code}, {"MIX_ENV", "dev"}],
        stderr_to_stdout: true
      )

    assert status == 0, output
    assert output =~ "could not write the audit log #{folder}/audit: No space left on device"
    assert output =~ "logged true done true true"
  end

  test "a connection that has another log is not shared", %{log: file} do
    connect(file)

    for options <- [[], [audit: file <> "2"]] do
      assert {:error, %{reason: {:connected_otherwise, details}}} =
               K8sConnect.connect("app-0", [log: false, route: :vm] ++ options)

      assert details.audit == file
    end

    assert {:ok, _connection} = K8sConnect.connect("app-0", log: false, route: :vm, audit: file)
  end
end
