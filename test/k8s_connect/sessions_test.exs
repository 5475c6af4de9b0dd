defmodule K8sConnect.SessionsTest do
  use ExUnit.Case, async: false

  alias K8sConnect.{Connection, Error, Sessions}

  test "the sessions of a node, whatever its name means in an ETS pattern" do
    {:ok, _started} = Application.ensure_all_started(:k8s_connect)
    test = self()
    :ok = Sessions.register({"uid", :"a@10.1.2.3"}, test)
    assert Sessions.of(:"a@10.1.2.3") == [test]
    for name <- [:_, :"$1", :"$2"], do: assert(Sessions.of(name) == [])
    true = Sessions.unregister(test)
    assert Sessions.of(:"a@10.1.2.3") == []
  end

  # With `reconnect: false`, a session whose connection is lost is in state reconnecting before it ends.
  test "a connect that waits for a session connects itself when that session ends" do
    {:ok, _started} = Application.ensure_all_started(:k8s_connect)
    test = self()
    lost = Error.new(:connect, {:lost, %{node: :"a@10.1.2.3", reason: :connection_closed}})

    for answer <- [nil, {:error, lost}] do
      session =
        spawn_link(fn ->
          true = Sessions.put({"uid", :"a@10.1.2.3"}, reconnecting())
          send(test, :registered)

          receive do:
                    ({:"$gen_call", from, :await_up} -> answer && :gen_statem.reply(from, answer))
        end)

      assert_receive :registered

      assert {:error, %Error{reason: reason}} =
               K8sConnect.connect("app-0", kubeconfig: unreachable())

      assert {:unreachable, %{server: "https://127.0.0.1:1"}} = reason
      refute Process.alive?(session)
    end
  end

  test "a connect that waits for a session returns an error when the application stops" do
    {:ok, _started} = Application.ensure_all_started(:k8s_connect)
    test = self()

    session =
      spawn_link(fn ->
        true = Sessions.put({"uid", :"a@10.1.2.3"}, reconnecting())
        send(test, :registered)
        receive do: ({:"$gen_call", _from, :await_up} -> send(test, :await_up_called))
        receive do: (:end -> :ok)
      end)

    assert_receive :registered
    kubeconfig = unreachable()
    connecting = Task.async(fn -> K8sConnect.connect("app-0", kubeconfig: kubeconfig) end)
    assert_receive :await_up_called
    # As when the application stops.
    :ok = Supervisor.terminate_child(K8sConnect.Supervisor, Sessions.Supervisor)
    send(session, :end)
    assert {:error, %Error{reason: {:lost, _details}}} = Task.await(connecting)
    {:ok, _pid} = Supervisor.restart_child(K8sConnect.Supervisor, Sessions.Supervisor)
  end

  defp reconnecting do
    %Connection{
      state: :reconnecting,
      node: :"a@10.1.2.3",
      pod: "app-0",
      target: "app-0",
      uid: "uid",
      ip: "10.1.2.3",
      namespace: "default",
      context: "c",
      others: [],
      route: :vm,
      cookie_source: nil,
      session: self()
    }
  end

  # A cluster whose port is closed.
  defp unreachable do
    file = Path.join(System.tmp_dir!(), "unreachable-#{System.pid()}")

    File.write!(file, """
    current-context: c
    contexts: [{name: c, context: {cluster: c, user: u}}]
    clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
    users: [{name: u, user: {token: t}}]
    """)

    on_exit(fn -> File.rm(file) end)
    file
  end
end
