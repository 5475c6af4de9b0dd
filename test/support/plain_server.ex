defmodule K8sConnect.PlainServer do
  @moduledoc """
  An HTTP server that answers as it is told, for what no real one can be made to do.
  """

  @doc """
  Starts one for the calling process and answers its port. `answer` gets the request's line and
  headers, and its body, and gives the status line's end, headers, and body.
  """
  def start(answer) do
    {:ok, listener} = :gen_tcp.listen(0, [:binary, ip: {127, 0, 0, 1}, active: false])
    {:ok, port} = :inet.port(listener)
    server = spawn_link(fn -> accept(listener, answer) end)
    :ok = :gen_tcp.controlling_process(listener, server)
    port
  end

  @doc """
  An answer in JSON.
  """
  def json(text), do: {"200 OK", ["Content-Type: application/json"], text}

  defp accept(listener, answer) do
    {:ok, socket} = :gen_tcp.accept(listener)
    connection = spawn(fn -> receive do: (:go -> serve(socket, answer, "")) end)
    :ok = :gen_tcp.controlling_process(socket, connection)
    send(connection, :go)
    accept(listener, answer)
  end

  defp serve(socket, answer, seen) do
    case String.split(seen, "\r\n\r\n", parts: 2) do
      [head, body] ->
        length = length_of(head)

        if byte_size(body) >= length,
          do: reply(socket, answer, head, binary_part(body, 0, length)),
          else: more(socket, answer, seen)

      [_part] ->
        more(socket, answer, seen)
    end
  end

  defp more(socket, answer, seen) do
    case :gen_tcp.recv(socket, 0) do
      {:ok, data} -> serve(socket, answer, seen <> data)
      {:error, _closed} -> :ok
    end
  end

  defp length_of(head) do
    case Regex.run(~r/^content-length: (\d+)/im, head) do
      [_line, length] -> String.to_integer(length)
      nil -> 0
    end
  end

  defp reply(socket, answer, head, body) do
    {status, headers, text} = answer.(head, body)
    lines = ["HTTP/1.1 #{status}", "Content-Length: #{byte_size(text)}", "Connection: close"]
    :gen_tcp.send(socket, Enum.join(lines ++ headers ++ ["", text], "\r\n"))
    :gen_tcp.close(socket)
  end
end
