defmodule K8sConnect.ServersTest do
  use ExUnit.Case, async: false

  alias K8sConnect.{Native, Servers}

  setup do
    {:ok, _started} = Application.ensure_all_started(:k8s_connect)
    {:ok, _library} = Native.library()
    for function <- [:servers, :add_server], do: trace_pattern(function, true)
    trace_servers()
    on_exit(fn -> for function <- [:servers, :add_server], do: trace_pattern(function, false) end)
  end

  test "the processes of OTP and Elixir, also those that began before any application" do
    pids = listed()

    for name <- [:init, :kernel_sup, :code_server, :user, :application_controller, :logger],
        pid = Process.whereis(name),
        do: assert(pid in pids, "#{name}")

    assert Process.whereis(K8sConnect.Route) in pids
  end

  test "a session in the tree of this application" do
    task = {Task, fn -> receive do: (:end -> :ok) end}
    {:ok, session} = DynamicSupervisor.start_child(K8sConnect.Sessions.Supervisor, task)
    :ok = Servers.add(session)
    assert Enum.count(listed(), &(&1 == session)) == 1
    :ok = DynamicSupervisor.terminate_child(K8sConnect.Sessions.Supervisor, session)
  end

  test "not the user's own processes, but a session among them" do
    refute self() in listed()
    session = session()
    assert session.pid in listed()
    send(session.pid, :end)
    Task.await(session)
    refute session.pid in listed()
  end

  test "there are fewer lists than sessions, and one more with what has started meanwhile" do
    _ = listed()
    sessions = for _number <- 1..100, do: session()
    given = given()
    added = Enum.flat_map(given, fn {_function, pids} -> List.wrap(pids) end)
    assert Enum.all?(sessions, &(&1.pid in added))
    assert Enum.count(given, &match?({:servers, _pids}, &1)) < 50
    # As a process of OTP that starts then.
    agent = {Agent, fn -> 1 end}
    {:ok, late} = DynamicSupervisor.start_child(K8sConnect.Sessions.Supervisor, agent)
    last = session()
    await_quiet()
    assert {:servers, pids} = List.last(given())
    for pid <- [late, last.pid], do: assert(pid in pids)
    # The last list is too old, so the next session makes one.
    next = session()
    assert [{:servers, pids} | _more] = given()
    assert next.pid in pids
    for session <- [last, next | sessions], do: send(session.pid, :end)
    :ok = DynamicSupervisor.terminate_child(K8sConnect.Sessions.Supervisor, late)
  end

  test "a session that outlives the application" do
    session = session()
    :ok = Application.stop(:k8s_connect)
    :ok = Application.start(:k8s_connect)
    trace_servers()
    assert session.pid in listed()
    send(session.pid, :end)
    Task.await(session)
    :ok = Application.stop(:k8s_connect)
    :ok = Application.start(:k8s_connect)
    trace_servers()
    refute session.pid in listed()
  end

  defp listed do
    :ok = Servers.share()
    assert {:servers, pids} = List.last(given())
    pids
  end

  # What the native library has been given since the last call.
  defp given do
    servers = Process.whereis(Servers)
    reference = :erlang.trace_delivered(servers)
    assert_receive {:trace_delivered, ^servers, ^reference}
    received()
  end

  defp received do
    receive do
      {:trace, _pid, :call, {Native, function, [binary]}} ->
        [{function, :erlang.binary_to_term(binary)} | received()]
    after
      0 -> []
    end
  end

  defp await_quiet do
    unless :sys.get_state(Servers).timer == nil do
      Process.sleep(10)
      await_quiet()
    end
  end

  defp session do
    test = self()

    session =
      Task.async(fn ->
        :ok = Servers.add(self())
        send(test, :added)
        receive do: (:end -> :ok)
      end)

    assert_receive :added
    session
  end

  defp trace_servers do
    1 = :erlang.trace(Process.whereis(Servers), true, [:call])
    :ok
  end

  defp trace_pattern(function, pattern),
    do: :erlang.trace_pattern({Native, function, 1}, pattern, [])
end
