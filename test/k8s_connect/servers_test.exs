defmodule K8sConnect.ServersTest do
  use ExUnit.Case, async: false

  alias K8sConnect.Servers

  setup do
    {:ok, _started} = Application.ensure_all_started(:k8s_connect)
    :ok
  end

  test "the processes of OTP and Elixir, also those that began before any application" do
    for name <- [:init, :kernel_sup, :code_server, :user, :application_controller, :logger],
        pid = Process.whereis(name),
        do: assert(pid in Servers.pids(), "#{name}")

    assert Process.whereis(K8sConnect.Route) in Servers.pids()
  end

  test "a session in the tree of this application" do
    task = {Task, fn -> receive do: (:end -> :ok) end}
    {:ok, session} = DynamicSupervisor.start_child(K8sConnect.Sessions.Supervisor, task)
    assert session in Servers.pids()
    :ok = DynamicSupervisor.terminate_child(K8sConnect.Sessions.Supervisor, session)
  end

  test "not the user's own processes, but a session among them" do
    refute self() in Servers.pids()
    session = session()
    assert session.pid in Servers.pids()
    send(session.pid, :end)
    Task.await(session)
    refute session.pid in Servers.pids()
  end

  test "a session that outlives the application" do
    session = session()
    :ok = Application.stop(:k8s_connect)
    :ok = Application.start(:k8s_connect)
    assert session.pid in Servers.pids()
    send(session.pid, :end)
    Task.await(session)
    :ok = Application.stop(:k8s_connect)
    :ok = Application.start(:k8s_connect)
    refute session.pid in Servers.pids()
  end

  defp session do
    test = self()

    session =
      Task.async(fn ->
        :ok = Servers.add()
        send(test, :added)
        receive do: (:end -> :ok)
      end)

    assert_receive :added
    session
  end
end
