defmodule K8sConnect.EarlierAttemptTest do
  # A process of this VM has connected to the name of the node before it was attached, and reached another machine.
  use K8sConnect.ConnectCase, protocol: :auto, portable: false

  alias K8sConnect.{Distribution, Native}
  alias K8sConnect.Route.NetKernel
  alias K8sConnect.Route.VM.{Dist, Table}

  setup do
    %{node: node} = connection = connect()
    :ok = K8sConnect.disconnect(connection)
    :ok = Distribution.ensure(node)

    on_exit(fn ->
      NetKernel.remove(Dist)
      Table.clear()
      await(fn -> :net_kernel.stop() != :ok end)
    end)

    {cookie, 0} = System.cmd("kubectl", ~w(get secret app-cookie -o jsonpath={.data.cookie}))
    %{node: node, cookie: Base.decode64!(cookie), fake: fake(node)}
  end

  # Ends as the test does. The distribution module of this VM stands for that of OTP.
  defp fake(node) do
    path = Path.join(System.tmp_dir!(), "fake-#{System.unique_integer([:positive])}")
    on_exit(fn -> File.rm(path) end)
    options = [:binary, active: false, packet: 2, ifaddr: {:local, path}]
    {:ok, listener} = :gen_tcp.listen(0, options)
    test = self()
    :ok = NetKernel.install(Dist, :first)
    Table.put(node, path)
    fake = spawn_link(fn -> serve(listener, node, test) end)
    :ok = :gen_tcp.controlling_process(listener, fake)
    fake
  end

  defp serve(listener, node, test) do
    {:ok, socket} = :gen_tcp.accept(listener)
    {:ok, <<"N", flags::64, _rest::binary>>} = :gen_tcp.recv(socket, 0)
    :ok = :gen_tcp.send(socket, "sok")
    send(test, :attempted)
    receive do: (:challenge -> :ok)
    name = Atom.to_string(node)
    challenge = <<"N", flags::64, 4711::32, 7::32, byte_size(name)::16, name::binary>>
    :ok = :gen_tcp.send(socket, challenge)
    {:ok, <<"r", theirs::32, digest::binary-16>>} = :gen_tcp.recv(socket, 0)
    send(test, {:digest, digest})
    # It knows the cookie of the node.
    receive do: ({:acknowledge, cookie} -> :gen_tcp.send(socket, ["a", digest(cookie, theirs)]))
    send(test, {:end, :gen_tcp.recv(socket, 0)})
  end

  defp digest(cookie, challenge), do: :erlang.md5([cookie, Integer.to_string(challenge)])

  test "is ended before the node is attached", %{node: node} do
    attempt = Task.async(fn -> Node.connect(node) end)
    assert_receive :attempted, 5_000
    assert {:ok, %{node: ^node}} = K8sConnect.connect("app-0")
    refute Task.await(attempt)
    assert :erpc.call(node, Node, :self, []) == node
  end

  test "proves nothing there", %{node: node, cookie: cookie, fake: fake} do
    attempt = Task.async(fn -> Node.connect(node) end)
    assert_receive :attempted, 5_000
    Distribution.set_cookie(node, Native.local_cookie(Atom.to_string(node)))
    send(fake, :challenge)
    assert_receive {:digest, digest}, 5_000
    refute digest == digest(cookie, 4711)
    send(fake, {:acknowledge, cookie})
    assert_receive {:end, {:error, :closed}}, 5_000
    refute Task.await(attempt)
    Distribution.restore_cookie(node)
  end

  test "is ended on the kernel route", %{node: node} do
    attempt = Task.async(fn -> Node.connect(node) end)
    assert_receive :attempted, 5_000
    assert Distribution.end_attempt(node)
    refute Task.await(attempt)
    # There is none any more.
    assert Distribution.end_attempt(node)
  end

  test "is not taken for the connection if it was accepted before, either", context do
    %{node: node, fake: fake} = context
    attempt = Task.async(fn -> Node.connect(node) end)
    assert_receive :attempted, 5_000
    send(fake, :challenge)
    assert_receive {:digest, _digest}, 5_000
    send(fake, {:acknowledge, Atom.to_string(Node.get_cookie())})
    assert Task.await(attempt)
    assert {:error, %{reason: {:node_taken, %{node: ^node}}}} = K8sConnect.connect("app-0")
    refute Distribution.end_attempt(node)
    assert Node.disconnect(node)
  end
end
