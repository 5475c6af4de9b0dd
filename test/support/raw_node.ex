defmodule K8sConnect.RawNode do
  @moduledoc """
  A node in a pod that sends any packets, also those that no VM sends:
  <https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html>. The VM of the pod compiles this file.
  """

  # What OTP 25 announces, but for the atom cache and fragments: the packets to it are the same with the guard and without.
  @flags 0xD_075F_5FBC

  @doc """
  Loads this module and `K8sConnect.Packets` into a pod.
  """
  def load(node) do
    for file <- ["raw_node.ex", "packets.ex"] do
      source = File.read!(Path.join(__DIR__, file))
      :erpc.call(node, Code, :compile_string, [source], 30_000)
    end
  end

  @doc """
  Starts one on a free port of the pod. A call of the process `raw` there has the answer `:done` after the packets of
  `K8sConnect.Packets` with the name in the request.
  """
  def start(local_part) do
    [_local_part, host] = Node.self() |> Atom.to_string() |> String.split("@")
    start(local_part, host)
  end

  def start(local_part, host) do
    cookie = Atom.to_string(Node.get_cookie())
    {:ok, listener} = :gen_tcp.listen(0, [:binary, active: false, packet: 2, nodelay: true])
    {:ok, port} = :inet.port(listener)
    node = %{name: "#{local_part}@#{host}", creation: 7, cookie: cookie}
    server = spawn(fn -> receive do: (:go -> accept(listener, node)) end)
    :ok = :gen_tcp.controlling_process(listener, server)
    send(server, :go)
    %{name: node.name, port: port, server: server}
  end

  @doc """
  Ends one in the pod of `node`.
  """
  def stop(node, %{server: server}), do: :erpc.call(node, Process, :exit, [server, :kill])

  defp accept(listener, node) do
    {:ok, socket} = :gen_tcp.accept(listener)
    connection = spawn_link(fn -> receive do: (:go -> serve(socket, node)) end)
    :ok = :gen_tcp.controlling_process(socket, connection)
    send(connection, :go)
    accept(listener, node)
  end

  defp serve(socket, node) do
    with true <- shake(socket, node) do
      :ok = :inet.setopts(socket, packet: 4)
      loop(socket, node)
    end
  end

  # Only its port is tried if it does not go on.
  defp shake(socket, %{name: name, creation: creation} = node) do
    challenge = 4711
    size = byte_size(name)

    with {:ok, <<"N", _flags_and_creation::96, _rest::binary>>} <- :gen_tcp.recv(socket, 0),
         :ok <- :gen_tcp.send(socket, "sok"),
         ours = <<"N", @flags::64, challenge::32, creation::32, size::16, name::binary>>,
         :ok <- :gen_tcp.send(socket, ours),
         {:ok, <<"r", theirs::32, digest::binary-16>>} <- :gen_tcp.recv(socket, 0) do
      ^digest = digest(node, challenge)
      :ok == :gen_tcp.send(socket, ["a", digest(node, theirs)])
    end
  end

  defp digest(%{cookie: cookie}, challenge),
    do: :erlang.md5([cookie, Integer.to_string(challenge)])

  defp loop(socket, node) do
    case :gen_tcp.recv(socket, 0) do
      {:ok, ""} ->
        :gen_tcp.send(socket, "")
        loop(socket, node)

      {:ok, <<112, message::binary>>} ->
        {control, used} = :erlang.binary_to_term(message, [:used])
        message |> binary_part(used, byte_size(message) - used) |> handle(control, socket, node)
        loop(socket, node)

      {:error, _closed} ->
        :ok
    end
  end

  defp handle(payload, control, socket, node)
       when elem(control, 0) == 6 and elem(control, 3) == :raw do
    {:"$gen_call", {caller, tag}, {name, given}} = :erlang.binary_to_term(payload)
    call = if is_reference(tag), do: tag, else: tl(tag)
    attack(name, caller, call, given, socket, node)
    send_packets(socket, [arrived(node), {{22, pid(node, 1), caller}, {tag, :done}}])
  end

  defp handle(payload, {29, request, caller, _leader, {:raw, name, 1}, _options}, socket, node) do
    [given] = :erlang.binary_to_term(payload)
    attack(name, caller, request, given, socket, node)
    send_packets(socket, [arrived(node)])
  end

  defp handle(_payload, _control, _socket, _node), do: :ok

  defp attack(name, caller, call, given, socket, node) do
    context = %{me: pid(node, 1), own: reference(node), caller: caller, call: call, given: given}
    packets = K8sConnect.Packets.of(name, context)
    send_packets(socket, packets)
  end

  # The guard counts it after what was sent before.
  defp arrived(node), do: {{6, pid(node, 1), :"", :nobody}, :arrived}

  defp send_packets(socket, packets), do: Enum.each(packets, &send_packet(socket, &1))

  defp send_packet(socket, :close), do: :gen_tcp.close(socket)
  defp send_packet(socket, {:bytes, bytes}), do: :gen_tcp.send(socket, bytes)

  defp send_packet(socket, {:stream, packets}) do
    :ok = :inet.setopts(socket, packet: 0)
    :ok = :gen_tcp.send(socket, packets)
    :ok = :inet.setopts(socket, packet: 4)
  end

  defp send_packet(socket, {control, {:bytes, payload}}),
    do: :gen_tcp.send(socket, [112, :erlang.term_to_binary(control), payload])

  defp send_packet(socket, {control, payload}),
    do: send_packet(socket, {control, {:bytes, :erlang.term_to_binary(payload)}})

  defp send_packet(socket, {control}), do: send_packet(socket, {control, {:bytes, ""}})

  @doc """
  A process of this node.
  """
  def pid(%{name: name, creation: creation}, id) do
    atom = <<119, byte_size(name), name::binary>>
    :erlang.binary_to_term(<<131, 88, atom::binary, id::32, 0::32, creation::32>>)
  end

  defp reference(%{name: name, creation: creation}) do
    atom = <<119, byte_size(name), name::binary>>
    :erlang.binary_to_term(<<131, 90, 3::16, atom::binary, creation::32, 1::32, 2::32, 3::32>>)
  end
end
