defmodule K8sConnect.Distance do
  @moduledoc """
  A relay to the API server that puts distance in between: TCP's handshake and each direction take
  as long as they would on a long way. With a long enough way the time that something takes is its
  number of round trips.
  """

  @doc """
  Starts a relay for the calling process and answers its port.
  """
  def start(host, port, round_trip_ms) do
    {:ok, listener} =
      :gen_tcp.listen(0, [:binary, ip: {127, 0, 0, 1}, active: false, nodelay: true, backlog: 100])

    {:ok, own} = :inet.port(listener)
    relay = spawn_link(fn -> accept(listener, {host, port}, round_trip_ms) end)
    :ok = :gen_tcp.controlling_process(listener, relay)
    own
  end

  defp accept(listener, target, round_trip) do
    {:ok, client} = :gen_tcp.accept(listener)
    connection = spawn(fn -> connect(client, target, round_trip) end)
    :ok = :gen_tcp.controlling_process(client, connection)
    send(connection, :go)
    accept(listener, target, round_trip)
  end

  defp connect(client, {host, port}, round_trip) do
    receive do: (:go -> :ok)
    {:ok, server} = :gen_tcp.connect(host, port, [:binary, active: false, nodelay: true])
    # The loopback's own handshake takes nothing; this is the distance's.
    Process.sleep(round_trip)
    :ok = :inet.setopts(client, active: true)
    :ok = :inet.setopts(server, active: true)
    pass(%{client => server, server => client}, :queue.new(), div(round_trip, 2))
  end

  # Each piece is late by the same time. They leave in the order in which they came: timers of one
  # millisecond have none among themselves.
  defp pass(other, pieces, delay) do
    receive do
      {:tcp, socket, data} ->
        Process.send_after(self(), :pass, delay)
        pass(other, :queue.in({other[socket], data}, pieces), delay)

      :pass ->
        {{:value, {socket, data}}, pieces} = :queue.out(pieces)
        _ = :gen_tcp.send(socket, data)
        pass(other, pieces, delay)

      {:tcp_closed, _socket} ->
        Process.send_after(self(), :end, delay)
        pass(other, pieces, delay)

      :end ->
        :ok
    end
  end
end
