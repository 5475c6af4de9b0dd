# What the benchmarks need in the pod; evaluated there, by the release's own `rpc`. An evaluation
# may be repeated. `Bench.Pod.stop()` ends it.
defmodule Bench.Pod do
  @port 6000
  # Raw bytes go in pieces, of which the last begins with a 1.
  @piece 64 * 1024
  # Large enough that the messages are few, and not one that fills the distribution's queue.
  @message 256 * 1024

  def start do
    stop()
    caller = self()
    reference = make_ref()

    spawn(fn ->
      Process.register(self(), __MODULE__)
      options = [:binary, active: false, reuseaddr: true, nodelay: true, backlog: 100]
      {:ok, listener} = :gen_tcp.listen(@port, options)
      send(caller, reference)
      accept(listener)
    end)

    receive do: (^reference -> :ok)
  end

  def stop do
    if pid = Process.whereis(__MODULE__) do
      monitor = Process.monitor(pid)
      Process.exit(pid, :kill)
      receive do: ({:DOWN, ^monitor, :process, _pid, _reason} -> :ok)
    end

    :ok
  end

  # Raw: the order is a letter and a number of milliseconds.

  defp accept(listener) do
    {:ok, socket} = :gen_tcp.accept(listener)
    server = spawn(fn -> receive do: (:go -> serve(socket)) end)
    :ok = :gen_tcp.controlling_process(socket, server)
    send(server, :go)
    accept(listener)
  end

  defp serve(socket) do
    {:ok, <<order, ms::32>>} = :gen_tcp.recv(socket, 5)

    case order do
      ?e -> echo(socket)
      ?d -> source(socket, :binary.copy(<<0>>, @piece), deadline(ms))
      ?u -> sink(socket)
    end

    # The client closes.
    :gen_tcp.recv(socket, 0)
  end

  defp echo(socket) do
    with {:ok, bytes} <- :gen_tcp.recv(socket, 64),
         :ok <- :gen_tcp.send(socket, bytes),
         do: echo(socket)
  end

  defp source(socket, piece, deadline) do
    if now() < deadline do
      with :ok <- :gen_tcp.send(socket, piece), do: source(socket, piece, deadline)
    else
      :gen_tcp.send(socket, [1, binary_part(piece, 1, @piece - 1)])
    end
  end

  defp sink(socket) do
    case :gen_tcp.recv(socket, @piece) do
      {:ok, <<0, _::binary>>} -> sink(socket)
      {:ok, _last} -> :gen_tcp.send(socket, <<1>>)
      {:error, reason} -> {:error, reason}
    end
  end

  # Over the distribution: messages for a time, in either direction, and the number of bytes.

  @doc """
  Sends to `pid` for a time; at the end `{:sent, bytes}`.
  """
  def send_for(pid, ms) do
    message = {:bulk, :binary.copy(<<0>>, @message)}
    send(pid, {:sent, send_until(pid, message, deadline(ms), 0)})
  end

  @doc """
  Takes all messages up to `{:sent, bytes}`, and answers `pid`.
  """
  def take_for(pid), do: send(pid, {:taken, take()})

  def take do
    receive do
      {:bulk, _bytes} -> take()
      {:sent, bytes} -> bytes
    end
  end

  defp send_until(pid, message, deadline, bytes) do
    if now() < deadline do
      send(pid, message)
      send_until(pid, message, deadline, bytes + @message)
    else
      bytes
    end
  end

  defp deadline(ms), do: now() + ms
  defp now, do: System.monotonic_time(:millisecond)
end
