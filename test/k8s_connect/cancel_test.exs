defmodule K8sConnect.CancelTest do
  # An attempt can be ended at any time, and fails nobody else's connection. On the laptop, as `dev`.
  use ExUnit.Case, async: false

  import K8sConnect.Laptop, only: [await: 1, await: 2]

  alias K8sConnect.{Error, Session, Sessions}

  @moduletag :cluster
  @moduletag timeout: 120_000

  setup do
    on_exit(fn ->
      for connection <- K8sConnect.connections(), do: K8sConnect.disconnect(connection)
      if Node.alive?(), do: :net_kernel.stop()
    end)
  end

  defp connect!(target, options \\ []), do: K8sConnect.connect!(target, options)

  defp sessions do
    for {_id, pid, _type, _modules} <- DynamicSupervisor.which_children(Sessions.Supervisor),
        is_pid(pid),
        do: pid
  end

  # A node that has nothing to do with k8s_connect.
  defp start_node(name) do
    {:ok, _pid} =
      :net_kernel.start(name, %{name_domain: :longnames, dist_listen: false, hidden: true})
  end

  # As with a slow name lookup: net_kernel is inside of a callback, and answers nobody.
  defp busy(fun) do
    test = self()

    wait = fn state ->
      send(test, :busy)
      receive do: (:go_on -> state)
    end

    spawn(fn -> :sys.replace_state(:net_kernel, wait, :infinity) end)
    assert_receive :busy
    fun.()
  after
    send(:net_kernel, :go_on)
  end

  describe "while net_kernel is busy" do
    test "an attempt ends with its deadline, and other connections stay" do
      other = connect!("newline-cookie")

      busy(fn ->
        {time, result} = :timer.tc(fn -> K8sConnect.connect("app-0", connect_timeout: 1_000) end)
        assert {:error, %Error{stage: :connect, reason: {:timeout, details}}} = result
        assert %{ms: 1000, target: "app-0"} = details
        # net_kernel has to answer before the route is gone.
        assert time < 15_000_000
      end)

      assert K8sConnect.connections() == [other]
      assert :erpc.call(other.node, :erlang, :node, []) == other.node
      await(fn -> length(sessions()) == 1 end)
      assert connect!("app-0").pod == "app-0"
    end

    test "an attempt without a deadline says what it waits for" do
      start_node(:"me@127.0.0.1")

      busy(fn ->
        assert {:error, %Error{reason: {:net_kernel_busy, _details}} = error} =
                 K8sConnect.connect("app-0", connect_timeout: :infinity)

        assert Exception.message(error) =~ "timed out after 5 s waiting for net_kernel"
      end)

      assert connect!("app-0").pod == "app-0"
    end

    test "an attempt ends with its caller, and by disconnect" do
      start_node(:"me@127.0.0.1")

      busy(fn ->
        caller = spawn(fn -> K8sConnect.connect("app-0") end)
        await(fn -> sessions() != [] end)
        Process.exit(caller, :kill)
        # 10 s if it waits for net_kernel already
        await(fn -> sessions() == [] end, 1_500)

        task = Task.async(fn -> K8sConnect.connect("app-0") end)
        await(fn -> sessions() != [] end)
        [session] = sessions()
        assert Session.disconnect(session) == :ok
        assert {:error, %Error{stage: :connect}} = Task.await(task)
      end)

      assert connect!("app-0").pod == "app-0"
    end
  end

  describe "the local node" do
    test "stays as long as something else is connected through it" do
      connection = connect!("app-0")
      name = "peer-#{System.pid()}@127.0.0.1"
      cookie = "cookie-of-the-peer"
      code = "erlang:set_cookie('#{cookie}'), io:put_chars(\"ready\"), io:get_line(\"\"), halt()."
      words = ~w(-noinput -noshell -name #{name} -hidden -eval) ++ [code]

      peer =
        Port.open({:spawn_executable, System.find_executable("erl")}, [
          :binary,
          args: words -- ["-noinput"]
        ])

      assert_receive {^peer, {:data, "ready"}}, 20_000
      node = String.to_atom(name)
      Node.set_cookie(node, String.to_atom(cookie))
      assert Node.connect(node)
      K8sConnect.disconnect(connection)
      assert Node.list(:connected) == [node]
      Port.command(peer, "\n")
      await(fn -> Node.list(:connected) == [] end)
      System.cmd("epmd", ["-kill"], stderr_to_stdout: true)
    end

    test "has the cookies back that it had" do
      start_node(:"me@127.0.0.1")
      connection = connect!("app-0")
      node = connection.node
      K8sConnect.disconnect(connection)

      # No exception for this node is left: it has whatever the default is.
      Node.set_cookie(:another_default)
      assert :erlang.get_cookie(node) == :another_default

      Node.set_cookie(node, :of_this_node)
      K8sConnect.disconnect(connect!("app-0"))
      assert :erlang.get_cookie(node) == :of_this_node
    end

    test "cannot connect to a node of its own name" do
      %{node: node} = connection = connect!("app-0")
      K8sConnect.disconnect(connection)
      start_node(node)
      cookie = Node.get_cookie()

      assert {:error, %Error{stage: :route, reason: {:own_name, %{node: ^node}}}} =
               K8sConnect.connect("app-0")

      assert Node.get_cookie() == cookie
    end
  end
end
