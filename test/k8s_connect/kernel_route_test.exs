defmodule K8sConnect.KernelRouteTest do
  # The pod's own address on the laptop, with the helper installed: from this BEAM, from BEAMs
  # without our code, and from those of another user.
  use ExUnit.Case, async: false

  import K8sConnect.{KernelConnections, Laptop, Tmp}

  alias K8sConnect.Distribution.Cookies
  alias K8sConnect.{Error, Native, PlainNode, Route}

  @moduletag :kernel
  @moduletag timeout: 120_000

  setup_all :use_helper
  setup :tmp_dir
  setup :disconnect_all

  # Another BEAM of ours: with our code, and connected to app-0 by the kernel.
  defp other_beam(options \\ []) do
    words = ["-pa", Path.dirname(:code.which(K8sConnect))]
    env = [{"KUBECONFIG", options[:kubeconfig] || System.get_env("KUBECONFIG")}]
    port = PlainNode.start([words: words, env: env] ++ options)
    on_exit(fn -> if Port.info(port), do: Port.close(port) end)
    connected = PlainNode.eval(port, ~s|K8sConnect.connect!("app-0", route: :kernel).node|)
    {port, connected}
  end

  defp hidden_there(connection), do: :erpc.call(connection.node, Node, :list, [:hidden])
  defp visible_there(connection), do: :erpc.call(connection.node, Node, :list, [])

  test "this BEAM is connected by its pod's own address, hidden, and gone after disconnect" do
    connection = connect()
    assert connection.route == :kernel
    assert Node.list(:hidden) == [connection.node]
    assert Enum.member?(hidden_there(connection), Node.self())
    assert visible_there(connection) == []
    refute Route.NetKernel.installed?(Route.VM.Dist)
    data = :binary.copy("0123456789", 1_000_000)
    assert :erpc.call(connection.node, :erlang, :md5, [data]) == :erlang.md5(data)
    assert [_helper] = helpers()
    K8sConnect.disconnect(connection)
    # When it returns.
    assert_nothing_left()
    refute Node.alive?()
  end

  # Another process may begin to connect at any time, and the other side chooses when OTP reads the cookie.
  test "a secret is the cookie, while the name stops leading to the listener" do
    %{node: node} = connection = connect()
    secret = node |> Atom.to_string() |> Native.local_cookie() |> String.to_atom()
    calls = [{Cookies, :put, 2}, {Route.Kernel, :detach, 2}, {Cookies, :restore, 1}]
    for call <- calls, do: 1 = :erlang.trace_pattern(call, true, [:local])
    _existing = :erlang.trace(:new_processes, true, [:call])
    K8sConnect.disconnect(connection)
    :erlang.trace(:new_processes, false, [:call])
    for call <- calls, do: :erlang.trace_pattern(call, false, [:local])

    assert [
             {Cookies, :put, [^node, ^secret]},
             {Route.Kernel, :detach, [^node, _prepared]},
             {Cookies, :restore, [^node]}
           ] = traced_calls()
  end

  defp traced_calls do
    receive do
      {:trace, _pid, :call, call} -> [call | traced_calls()]
    after
      0 -> []
    end
  end

  test "the end of the application ends the connection" do
    %{session: session, node: node} = connect()
    monitor = Process.monitor(session)
    :ok = Application.stop(:k8s_connect)
    assert_receive {:DOWN, ^monitor, :process, ^session, _reason}, 5_000
    assert node not in Node.list(:connected)
    assert_nothing_left()
    {:ok, _started} = Application.ensure_all_started(:k8s_connect)
  end

  test "whatever is spoken on the way to the pod", context do
    home = home(context.tmp_dir)
    data = :binary.copy("0123456789", 1_000_000)

    for protocol <- [:websocket, :v4] do
      connection = connect("app-0", protocol: protocol)
      assert :erpc.call(connection.node, :erlang, :md5, [data]) == :erlang.md5(data)
      copied = :erpc.call(connection.node, :binary, :copy, ["0123456789", 1_000_000])
      assert :erlang.md5(copied) == :erlang.md5(data)

      {plain, name} = plain(home: home)
      assert PlainNode.eval(plain, "Node.connect(#{inspect(connection.node)})") == "true"
      assert Enum.member?(hidden_there(connection), String.to_atom(name))
      assert PlainNode.stop(plain) == 0
      K8sConnect.disconnect(connection)
      assert_nothing_left()
    end
  end

  test "a plain node of this user connects, and the pod sees a hidden node", context do
    connection = connect()
    {plain, name} = plain(home: home(context.tmp_dir))
    assert PlainNode.eval(plain, "Node.connect(#{inspect(connection.node)})") == "true"
    call = ":erpc.call(#{inspect(connection.node)}, :erlang, :node, [])"
    assert PlainNode.eval(plain, call) == inspect(connection.node)

    assert PlainNode.eval(plain, "{Node.list(), Node.list(:hidden)}") ==
             inspect({[], [connection.node]})

    assert Enum.member?(hidden_there(connection), String.to_atom(name))
    assert visible_there(connection) == []
    # epmd answers every name that the pod's epmd knows.
    names = "Tuple.to_list(:erl_epmd.names(~c\"#{connection.ip}\")) |> inspect() |> IO.puts()"
    PlainNode.eval(plain, names)
    PlainNode.stop(plain)
  end

  test "with visible: true a plain node is a visible one", context do
    connection = connect("app-0", visible: true)
    {plain, name} = plain(home: home(context.tmp_dir))
    assert PlainNode.eval(plain, "Node.connect(#{inspect(connection.node)})") == "true"
    assert Enum.member?(visible_there(connection), String.to_atom(name))
    PlainNode.stop(plain)
    await(fn -> visible_there(connection) == [] end)
  end

  test "another user sees what it would see without us", context do
    {stranger, _name} = plain(home: home(context.tmp_dir, "ops"), user: "ops")
    {:ok, pods} = K8sConnect.pods()
    ip = Enum.find_value(pods, &(&1.name == "app-0" && &1.ip))
    {:ok, address} = :inet.parse_address(to_charlist(ip))
    try_it = ":gen_tcp.connect(#{inspect(address)}, 4369, [], 3000)"
    assert PlainNode.eval(stranger, try_it) == "{:error, :enetunreach}"
    connection = connect()
    assert PlainNode.eval(stranger, try_it) == "{:error, :enetunreach}"
    assert PlainNode.eval(stranger, "Node.connect(#{inspect(connection.node)})") == "false"
    # Nor does this user's other traffic change.
    assert {:error, :enetunreach} = :gen_tcp.connect(address, 8080, [], 3000)
    PlainNode.stop(stranger)
  end

  test "two users at once each have their own way, and none has the other's", context do
    kubeconfig = Path.join(Path.dirname(System.get_env("HOME")), "second/.kube/config")
    ours = connect()
    home = home(context.tmp_dir, "ops")
    {theirs, node} = other_beam(user: "ops", home: home, kubeconfig: kubeconfig)
    assert node == inspect(ours.node)
    assert PlainNode.eval(theirs, ":erpc.call(#{node}, :erlang, :node, [])") == node
    assert :erpc.call(ours.node, :erlang, :node, []) == ours.node

    [own_ports, their_ports] = Enum.map([own_uid(), 4201], &listening/1)

    assert length(own_ports) == 2 and length(their_ports) == 2 and
             own_ports -- their_ports == own_ports

    listener =
      "K8sConnect.Route.attached(#{node}) |> elem(1) |> Map.fetch!(:listener) |> K8sConnect.Native.refused()"

    assert PlainNode.eval(theirs, listener) == "0"

    for port <- their_ports do
      {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false])
      _ = :gen_tcp.send(socket, <<1::16, ?n>>)
      assert {:error, reason} = :gen_tcp.recv(socket, 0, 5_000)
      assert reason in [:closed, :econnreset]
    end

    assert PlainNode.eval(theirs, listener) == "2"

    for port <- own_ports do
      code =
        "{:ok, s} = :gen_tcp.connect({127, 0, 0, 1}, #{port}, active: false); :gen_tcp.recv(s, 0, 5000)"

      assert PlainNode.eval(theirs, code) =~ ~r/{:error, :(closed|econnreset)}/
    end

    {:kernel, %{listener: own}} = Route.attached(ours.node)
    assert Native.refused(own) == 2
    # One leaves, the other stays.
    PlainNode.stop(theirs)
    await(fn -> length(helpers()) == 1 end)
    assert :erpc.call(ours.node, :erlang, :node, []) == ours.node
  end

  # The ports of the loopback address at which a user listens; epmd apart.
  defp listening(uid) do
    for line <- String.split(sudo("ss -Hltne"), "\n"),
        line =~ "uid:#{uid} ",
        [_all, port] <- Regex.scan(~r/ 127\.0\.0\.1:(\d+) /, line),
        port != "4369",
        do: String.to_integer(port)
  end

  test "one pod in two BEAMs of one user", context do
    first = connect()
    {second, node} = other_beam()
    assert PlainNode.eval(second, ":erpc.call(#{node}, :erlang, :node, [])") == node
    {plain, _name} = plain(home: home(context.tmp_dir))
    assert PlainNode.eval(plain, "Node.connect(#{node})") == "true"
    # The redirect of the other BEAM is still there.
    PlainNode.stop(second)
    await(fn -> length(helpers()) == 1 end)
    assert :erpc.call(first.node, :erlang, :node, []) == first.node
    await(fn -> PlainNode.eval(plain, "Node.connect(#{node})") == "true" end)
    PlainNode.stop(plain)
  end

  test "several pods, and both routes at once" do
    kernel = connect()
    other = connect("newline-cookie")
    vm = connect("env-from", route: :vm)
    assert Enum.map([kernel, other, vm], & &1.route) == [:kernel, :kernel, :vm]

    for connection <- [kernel, other, vm],
        do: assert(:erpc.call(connection.node, :erlang, :node, []) == connection.node)

    assert [_one] = helpers()
    K8sConnect.disconnect(kernel)

    for connection <- [other, vm],
        do: assert(:erpc.call(connection.node, :erlang, :node, []) == connection.node)

    K8sConnect.disconnect(other)
    assert helpers() == []
    assert :erpc.call(vm.node, :erlang, :node, []) == vm.node
    assert Node.alive?()
  end

  test "by itself the kernel route is taken where the helper works, and the vm's where not" do
    test = self()
    progress = [route: :auto, progress: &send(test, &1)]
    assert connect("app-0", progress).route == :kernel
    assert_received {:step, "connecting", where, 0}

    assert where =~
             "testcluster / default / app-0 / route kernel, because /usr/local/libexec/"

    K8sConnect.disconnect(hd(K8sConnect.connections()))

    sudo("setcap -r /usr/local/libexec/k8s_connect_helper")
    on_exit(&install_helper/0)
    assert connect("app-0", progress).route == :vm
    assert_received {:step, "connecting", where, 0}
    assert where =~ "route kernel, because"
    assert_received {:step, "route", "vm, as kernel does not work: " <> why, _ms}
    assert why =~ "its file has none, or not all of them"
    K8sConnect.disconnect(hd(K8sConnect.connections()))

    assert {:error,
            %Error{stage: :helper, reason: {:no_capability, %{cause: :file_capabilities}}}} =
             K8sConnect.connect("app-0", route: :kernel)

    remove_helper()
    assert connect("app-0", progress).route == :vm
    assert_received {:step, "connecting", where, 0}
    assert where =~ "route vm, because no helper is installed"
    K8sConnect.disconnect(hd(K8sConnect.connections()))

    assert {:error, %Error{stage: :helper, reason: {:not_installed, _}}} =
             K8sConnect.connect("app-0", route: :kernel)
  end

  test "a spec that tells the node's name, rightly and wrongly" do
    for pod <- ["named", "misnamed"] do
      connection = connect(pod)
      assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
    end
  end

  test "one of several nodes in a pod, and two of them" do
    for name <- ["app", "second"] do
      connection = connect("two-nodes", node: name)
      assert Atom.to_string(connection.node) =~ ~r/^#{name}@/
      assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
    end
  end

  test "a wrong cookie is told as such" do
    assert {:error, %Error{stage: :connect, reason: {:refused, _}}} =
             K8sConnect.connect("app-0", route: :kernel, cookie: "wrong")
  end

  test "a node of the other kind of name is told as such" do
    {:ok, _pid} =
      :net_kernel.start(:short, %{name_domain: :shortnames, dist_listen: false, hidden: true})

    on_exit(&:net_kernel.stop/0)

    assert {:error, %Error{stage: :route, reason: {:name_kind, _}}} =
             K8sConnect.connect("app-0", route: :kernel)

    assert connect("app-0", route: :auto).route == :vm
  end

  test "a name that is another address is told as such" do
    assert {:error, %Error{stage: :route, reason: {:host_elsewhere, _}}} =
             K8sConnect.connect("twin-0", route: :kernel)
  end

  test "sudo that is not there, or does not let us, is told as such", context do
    before = System.get_env("PATH")
    on_exit(fn -> System.put_env("PATH", before) end)
    System.put_env("PATH", context.tmp_dir)

    assert {:error, %Error{stage: :helper, reason: {:no_sudo, _}}} =
             K8sConnect.connect("app-0", sudo: true)

    # `ops` may not use it: the real one refuses.
    sudo = Path.join(context.tmp_dir, "sudo")
    File.write!(sudo, "#!/bin/sh\nexec /usr/bin/sudo -n -u ops /usr/bin/sudo \"$@\"\n")
    File.chmod!(sudo, 0o755)
    System.put_env("PATH", context.tmp_dir <> ":" <> before)

    assert {:error, %Error{stage: :helper, reason: {:sudo, _}}} =
             K8sConnect.connect("app-0", sudo: true)
  end

  defp own_uid, do: File.stat!("/proc/self").uid
end
