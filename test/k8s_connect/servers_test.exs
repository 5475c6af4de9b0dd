defmodule K8sConnect.ServersTest do
  use ExUnit.Case, async: true

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

  test "not the user's own processes, and no session" do
    refute self() in Servers.pids()
    # As a session, in the tree of this application and without a name.
    task = {Task, fn -> receive do: (:end -> :ok) end}
    {:ok, session} = DynamicSupervisor.start_child(K8sConnect.Sessions.Supervisor, task)
    refute session in Servers.pids()
    :ok = DynamicSupervisor.terminate_child(K8sConnect.Sessions.Supervisor, session)
  end
end
