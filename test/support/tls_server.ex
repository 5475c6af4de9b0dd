defmodule K8sConnect.TlsServer do
  @moduledoc """
  An HTTPS server with a certificate of its own authority, and a proxy in front of it.
  """

  @doc """
  Starts a server that answers each request with `body`. Its certificate is for `name`. Answers its port, and a file
  with the authority, which is gone after the test.
  """
  def start(body, name) do
    :ok = Application.ensure_started(:crypto)
    {:ok, _started} = Application.ensure_all_started(:ssl)
    key = [key: {:namedCurve, :secp256r1}]
    extension = {:Extension, {2, 5, 29, 17}, false, [dNSName: to_charlist(name)]}

    %{server_config: server, client_config: client} =
      :public_key.pkix_test_data(%{
        server_chain: %{root: key, intermediates: [], peer: [extensions: [extension]] ++ key},
        client_chain: %{root: key, intermediates: [], peer: key}
      })

    {:ok, listener} =
      :ssl.listen(
        0,
        [mode: :binary, active: false, ip: {127, 0, 0, 1}, log_level: :none] ++ server
      )

    {:ok, {_address, port}} = :ssl.sockname(listener)
    server = spawn_link(fn -> accept(listener, body) end)
    :ok = :ssl.controlling_process(listener, server)
    %{port: port, authority: authority(client[:cacerts])}
  end

  defp authority(certificates) do
    path =
      Path.join(
        System.tmp_dir!(),
        "k8s_connect-#{System.pid()}-#{System.unique_integer([:positive])}.pem"
      )

    File.write!(
      path,
      :public_key.pem_encode(for(der <- certificates, do: {:Certificate, der, :not_encrypted}))
    )

    ExUnit.Callbacks.on_exit(fn -> File.rm!(path) end)
    path
  end

  defp accept(listener, body) do
    {:ok, socket} = :ssl.transport_accept(listener)

    # A client may reject the certificate.
    with {:ok, socket} <- :ssl.handshake(socket),
         {:ok, _request} <- :ssl.recv(socket, 0) do
      :ssl.send(
        socket,
        "HTTP/1.1 200 OK\r\nContent-Length: #{byte_size(body)}\r\nConnection: close\r\n\r\n#{body}"
      )

      :ssl.close(socket)
    end

    accept(listener, body)
  end

  @doc """
  Starts a proxy that connects to what CONNECT asks for. Answers its port, and an agent with the heads of the
  requests.
  """
  def proxy do
    {:ok, seen} = Agent.start_link(fn -> [] end)
    {:ok, listener} = :gen_tcp.listen(0, [:binary, ip: {127, 0, 0, 1}, active: false])
    {:ok, port} = :inet.port(listener)
    server = spawn_link(fn -> tunnel(listener, seen) end)
    :ok = :gen_tcp.controlling_process(listener, server)
    {port, seen}
  end

  defp tunnel(listener, seen) do
    {:ok, client} = :gen_tcp.accept(listener)
    {:ok, head} = :gen_tcp.recv(client, 0)
    Agent.update(seen, &[head | &1])
    [_line, port] = Regex.run(~r/^CONNECT localhost:(\d+) /, head)

    {:ok, server} =
      :gen_tcp.connect('localhost', String.to_integer(port), [:binary, active: true])

    :ok = :gen_tcp.send(client, "HTTP/1.1 200 Connection established\r\n\r\n")
    :ok = :inet.setopts(client, active: true)
    copy(client, server)
    tunnel(listener, seen)
  end

  defp copy(client, server) do
    receive do
      {:tcp, ^client, data} -> :gen_tcp.send(server, data) && copy(client, server)
      {:tcp, ^server, data} -> :gen_tcp.send(client, data) && copy(client, server)
      {:tcp_closed, ^server} -> :gen_tcp.close(client)
      {:tcp_closed, ^client} -> :gen_tcp.close(server)
    end
  end
end
