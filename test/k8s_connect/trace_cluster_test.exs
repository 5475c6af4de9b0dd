defmodule K8sConnect.TraceClusterTest do
  # Traces in the pods, from the laptop as `dev`. K8S_CONNECT_TRACE_TARGETS has more pods, with another OTP.
  use ExUnit.Case, async: false

  import ExUnit.CaptureIO
  import K8sConnect.{Laptop, Project, Tmp}

  alias K8sConnect.{Error, Trace}

  @moduletag :cluster
  @moduletag timeout: 120_000
  @targets "K8S_CONNECT_TRACE_TARGETS" |> System.get_env("app-0") |> String.split(" ", trim: true)

  setup_all do
    {_output, 0} = run(path("."), "mix", ["compile"], env())
    :ok
  end

  setup do
    on_exit(fn ->
      for connection <- K8sConnect.connections(), do: K8sConnect.disconnect(connection)
    end)
  end

  setup :tmp_dir

  defp env, do: [{"MIX_ENV", "dev"}]

  defp connect(target, options \\ []) do
    assert {:ok, connection} = K8sConnect.connect(target, [route: :vm] ++ options)
    connection
  end

  # Calls on the node, until the test ends.
  defp calling(node) do
    code = "F = fun F() -> lists:nth(2, [a, <<\"b\">>]), timer:sleep(5), F() end, F()."
    {:ok, tokens, _end} = :erl_scan.string(to_charlist(code))
    {:ok, forms} = :erl_parse.parse_exprs(tokens)
    pid = Node.spawn(node, :erl_eval, :exprs, [forms, []])
    pid
  end

  defp clean?(node) do
    info = &:erpc.call(node, :erlang, :trace_info, [&1, &2])

    info.({:lists, :nth, 2}, :traced) == {:traced, false} and
      info.(:new_processes, :flags) == {:flags, []} and sessions(node) == 0
  end

  defp sessions(node) do
    if :erpc.call(node, :code, :which, [:trace]) == :non_existing,
      do: 0,
      else: length(:erpc.call(node, :trace, :session_info, [:all])) - 1
  end

  for target <- @targets do
    test "#{target}: calls come through the guard" do
      connection = connect(unquote(target))
      caller = calling(connection.node)
      assert {:ok, trace} = Trace.calls(connection, "lists:nth/2", limit: 3)
      assert %{stopped: :limit, calls: 3} = trace
      assert [%{arguments: ["2", _list]}, %{event: :return}] = Enum.take(trace.events, 2)
      assert K8sConnect.status(connection).refused == %{}
      assert clean?(connection.node)
      Process.exit(caller, :kill)
    end

    test "#{target}: nothing is left on the node when this BEAM is killed" do
      words = ["k8s.trace", unquote(target), "lists:nth/2", "--time", "60m", "--limit", "100000"]
      connection = connect(unquote(target))
      caller = calling(connection.node)

      port =
        Port.open({:spawn_executable, System.find_executable("mix")}, [
          :binary,
          :stderr_to_stdout,
          :exit_status,
          args: words,
          cd: path("."),
          env: for({name, value} <- env(), do: {to_charlist(name), to_charlist(value)})
        ])

      {:os_pid, pid} = Port.info(port, :os_pid)
      await_output(port, ":lists.nth(2, ")
      refute clean?(connection.node)
      {_output, 0} = System.cmd("kill", ["-9", "#{pid}"])
      await(fn -> clean?(connection.node) end)
      Process.exit(caller, :kill)
    end
  end

  defp await_output(port, text, seen \\ "") do
    receive do
      {^port, {:data, data}} ->
        if seen <> data =~ text, do: :ok, else: await_output(port, text, seen <> data)

      {^port, {:exit_status, status}} ->
        flunk("ended with #{status}: #{seen}")
    after
      30_000 -> flunk("no #{text} in: #{seen}")
    end
  end

  test "a read-only connection does not trace" do
    connection = connect("app-0", read_only: true)
    assert {:error, %Error{} = error} = Trace.calls(connection, "lists:nth/2")
    assert {:remote, {:read_only, _details}} = {error.stage, error.reason}
    assert Exception.message(error) =~ "read-only"
  end

  test "the task: lines, JSON and the audit log", %{tmp_dir: directory} do
    connection = connect("app-0")
    caller = calling(connection.node)
    log = Path.join(directory, "audit.json")
    mix = &run(path("."), "mix", ["k8s.trace", "app-0" | &1], env())

    assert {output, 0} = mix.(~w(lists:nth/2 --limit 2 --audit #{log}))
    assert output =~ ~r/\n\d\d:\d\d:\d\d\.\d{6} <0\.\d+\.0> :lists\.nth\(2, \[:a, "b"\]\)\n/
    assert output =~ ~r/ :lists\.nth\/2 -> "b" \(\d+ µs\)\n/
    assert output =~ "stopped after 2 calls: the limit is reached"
    assert File.read!(log) =~ "erl_eval"

    {json, 0} =
      System.cmd("mix", ~w(k8s.trace app-0 lists:nth/2 --limit 1 --json),
        cd: path("."),
        env: env()
      )

    assert [call, return, stopped] = String.split(json, "\n", trim: true)
    assert call =~ ~s("event":"call") and return =~ ~s("result":"\\"b\\"")
    assert stopped == ~s({"calls":1,"event":"stopped","reason":"limit"})

    assert {output, 1} = mix.(["lists:nht/2"])
    assert output =~ "no such function :lists.nht/2 on app@"
    assert output =~ "nth/2"
    Process.exit(caller, :kill)
  end

  test "the helpers of IEx" do
    import K8sConnect.IEx
    assert capture_io(fn -> pods() end) =~ ~r/^app-0  Running$/m

    output =
      capture_io(fn ->
        assert on("app-0", "node()") == K8sConnect.node!(hd(K8sConnect.connections()))
      end)

    assert output =~ ~r/^connecting /
    # The connection is used again.
    assert capture_io(fn -> assert is_integer(on("app-0", :erlang, :memory, [:total])) end) == ""
    assert capture_io(fn -> top("app-0", limit: 1) end) =~ ~r/^<0\.\d+\.0> .*\n\z/m
    assert capture_io(fn -> nodes() end) =~ ~r/^app@\S+  up  default\/app-0  /
    assert capture_io(fn -> on("app-0", "raise \"boom\"") end) =~ "boom"
    assert capture_io(fn -> trace("app-0", "lists:nht/2") end) =~ "no such function"
  end
end
