# usage: elixir bench/stand_in.exs DIRECTORY
#
# A stand-in for an API server with any number of pods (app-0, app-1 and so on), and for the nodes in them: for more pods
# than a machine can run. It is not Kubernetes. It speaks what k8s_connect asks for: TLS, the pods as JSON, port-forward over
# SPDY, epmd, the handshake, and one call (is_auth of net_kernel). Writes DIRECTORY/kubeconfig, prints "ready" and ends
# with standard input.
defmodule StandIn.Node do
  @moduledoc """
  A node behind a stream of bytes: answers to what arrives, and the next state.
  """
  @port 9100
  # What OTP 25 announces, but for the atom cache and fragments, so that each packet has whole terms.
  @flags 0xD_075F_5FBC
  @challenge 4711

  def port, do: @port

  def epmd(<<_length::16, "n">>), do: [<<4369::32>>, "name app at port #{@port}\n"]

  def epmd(<<_length::16, "z", name::binary>>),
    do: <<119, 0, @port::16, 77, 0, 6::16, 5::16, byte_size(name)::16, name::binary, 0::16>>

  def new(number) do
    name = "app@10.#{div(number, 65_536)}.#{rem(div(number, 256), 256)}.#{rem(number, 256)}"
    %{stage: :name, input: "", me: %{name: name, creation: 7, cookie: "cookie"}}
  end

  def feed(node, bytes), do: packets(%{node | input: node.input <> bytes}, [])

  defp packets(
         %{stage: :up, input: <<size::32, packet::binary-size(size), rest::binary>>} = node,
         out
       ) do
    answers = for answer <- up(packet, node.me), do: [<<IO.iodata_length(answer)::32>>, answer]
    packets(%{node | input: rest}, [out, answers])
  end

  defp packets(
         %{stage: stage, input: <<size::16, packet::binary-size(size), rest::binary>>} = node,
         out
       )
       when stage != :up do
    {answers, stage} = handshake(stage, packet, node.me)
    answers = for answer <- answers, do: [<<IO.iodata_length(answer)::16>>, answer]
    packets(%{node | input: rest, stage: stage}, [out, answers])
  end

  defp packets(node, out), do: {out, node}

  defp handshake(:name, <<"N", _rest::binary>>, %{name: name, creation: creation}) do
    size = byte_size(name)
    {["sok", <<"N", @flags::64, @challenge::32, creation::32, size::16, name::binary>>], :reply}
  end

  defp handshake(:reply, <<"r", theirs::32, digest::binary-16>>, me) do
    ^digest = digest(me, @challenge)
    {[["a", digest(me, theirs)]], :up}
  end

  defp digest(%{cookie: cookie}, challenge),
    do: :erlang.md5([cookie, Integer.to_string(challenge)])

  # A tick is answered with a tick.
  defp up("", _me), do: [""]

  defp up(<<112, terms::binary>>, me) do
    {control, used} = :erlang.binary_to_term(terms, [:used])

    case {control, binary_part(terms, used, byte_size(terms) - used)} do
      {{6, _from, _unused, :net_kernel}, message} -> called(:erlang.binary_to_term(message), me)
      _not_a_call -> []
    end
  end

  defp called({:"$gen_call", {caller, tag}, {:is_auth, _node}}, me) do
    control =
      case tag do
        [:alias | reference] -> {33, pid(me), reference}
        _reference -> {22, pid(me), caller}
      end

    [[112, :erlang.term_to_binary(control), :erlang.term_to_binary({tag, :yes})]]
  end

  defp called(_other, _me), do: []

  # A process of this node: NEW_PID_EXT of https://www.erlang.org/doc/apps/erts/erl_ext_dist.html#new_pid_ext
  defp pid(%{name: name, creation: creation}) do
    atom = <<119, byte_size(name), name::binary>>
    :erlang.binary_to_term(<<131, 88, atom::binary, 1::32, 0::32, creation::32>>)
  end
end

defmodule StandIn.Spdy do
  @moduledoc """
  The streams of one port-forward connection. The client compresses nothing, and reads no headers.
  """
  alias StandIn.Node

  def new(number) do
    inflate = :zlib.open()
    :ok = :zlib.inflateInit(inflate)
    %{number: number, inflate: inflate, input: "", streams: %{}}
  end

  def feed(spdy, bytes), do: frames(%{spdy | input: spdy.input <> bytes}, [])

  defp frames(
         %{
           input:
             <<1::1, 3::15, kind::16, _flags, size::24, body::binary-size(size), rest::binary>>
         } = spdy,
         out
       ) do
    {answer, spdy} = control(kind, body, %{spdy | input: rest})
    frames(spdy, [out, answer])
  end

  defp frames(
         %{input: <<0::1, id::31, _flags, size::24, bytes::binary-size(size), rest::binary>>} =
           spdy,
         out
       ) do
    {answer, spdy} = data(spdy.streams[id], id, bytes, %{spdy | input: rest})
    frames(spdy, [out, answer])
  end

  defp frames(spdy, out), do: {out, spdy}

  # SYN_STREAM, answered by SYN_REPLY.
  defp control(1, <<id::32, _associated::32, _priority::16, block::binary>>, spdy) do
    headers = spdy.inflate |> :zlib.inflate(block) |> IO.iodata_to_binary() |> headers()
    stream = stream(headers, spdy.number)
    {<<0x8003::16, 2::16, 0, 4::24, id::32>>, put_in(spdy.streams[id], stream)}
  end

  # RST_STREAM
  defp control(3, <<id::32, _status::32>>, spdy),
    do: {[], update_in(spdy.streams, &Map.delete(&1, id))}

  # PING
  defp control(6, id, spdy), do: {[<<0x8003::16, 6::16, 0, 4::24>>, id], spdy}
  defp control(_kind, _body, spdy), do: {[], spdy}

  defp headers(<<count::32, rest::binary>>), do: headers(count, rest, %{})
  defp headers(0, _rest, headers), do: headers

  defp headers(
         count,
         <<n::32, name::binary-size(n), v::32, value::binary-size(v), rest::binary>>,
         headers
       ),
       do: headers(count - 1, rest, Map.put(headers, name, value))

  defp stream(%{"streamtype" => "data", "port" => "4369"}, _number), do: :epmd
  defp stream(%{"streamtype" => "data"}, number), do: Node.new(number)
  defp stream(_error_stream, _number), do: :error

  defp data(:epmd, id, bytes, spdy) when bytes != "" do
    {[frame(id, 0, Node.epmd(bytes)), frame(id, 1, "")], spdy}
  end

  defp data(%{} = node, id, bytes, spdy) do
    {answer, node} = Node.feed(node, bytes)
    {frame(id, 0, answer), put_in(spdy.streams[id], node)}
  end

  defp data(_stream, _id, _bytes, spdy), do: {[], spdy}

  defp frame(_id, 0, []), do: []
  defp frame(id, flags, bytes), do: [<<id::32, flags, IO.iodata_length(bytes)::24>>, bytes]
end

defmodule StandIn do
  @moduledoc """
  The API server: pods by name, and the upgrade to port-forward.
  """
  alias StandIn.Spdy

  def start(directory) do
    {:ok, _started} = Application.ensure_all_started(:ssl)
    key = [key: {:namedCurve, :secp256r1}, digest: :sha256]
    name = {:Extension, {2, 5, 29, 17}, false, [dNSName: to_charlist("localhost")]}
    chain = %{root: key, intermediates: [], peer: [extensions: [name]] ++ key}

    %{server_config: server, client_config: client} =
      :public_key.pkix_test_data(%{server_chain: chain, client_chain: chain})

    options = [
      mode: :binary,
      active: false,
      ip: {127, 0, 0, 1},
      backlog: 1024,
      reuseaddr: true,
      nodelay: true
    ]

    {:ok, listener} = :ssl.listen(0, options ++ server)
    {:ok, {_address, port}} = :ssl.sockname(listener)
    for _acceptor <- 1..8, do: spawn_link(fn -> accept(listener) end)

    authority =
      :public_key.pem_encode(for der <- client[:cacerts], do: {:Certificate, der, :not_encrypted})

    File.write!(Path.join(directory, "kubeconfig"), kubeconfig(port, Base.encode64(authority)))
  end

  defp kubeconfig(port, authority) do
    cluster = %{server: "https://localhost:#{port}", "certificate-authority-data": authority}

    inspect_json(%{
      "current-context": "stand-in",
      clusters: [%{name: "stand-in", cluster: cluster}],
      contexts: [%{name: "stand-in", context: %{cluster: "stand-in", user: "stand-in"}}],
      users: [%{name: "stand-in", user: %{token: "token"}}]
    })
  end

  # JSON is YAML, too.
  defp inspect_json(map) when is_map(map),
    do:
      "{" <>
        Enum.map_join(map, ",", fn {key, value} ->
          "#{inspect("#{key}")}:#{inspect_json(value)}"
        end) <> "}"

  defp inspect_json(list) when is_list(list),
    do: "[" <> Enum.map_join(list, ",", &inspect_json/1) <> "]"

  defp inspect_json(text), do: inspect(text)

  defp accept(listener) do
    {:ok, socket} = :ssl.transport_accept(listener)
    server = spawn(fn -> receive do: (:go -> handshake(socket)) end)
    :ok = :ssl.controlling_process(socket, server)
    send(server, :go)
    accept(listener)
  end

  defp handshake(socket) do
    with {:ok, socket} <- :ssl.handshake(socket), do: requests(socket, "")
  end

  defp requests(socket, input) do
    with [head, rest] <- String.split(input, "\r\n\r\n", parts: 2) do
      [method, path | _version] = String.split(head, [" ", "\r\n"])
      request(method, path, socket, rest)
    else
      _incomplete ->
        with {:ok, bytes} <- :ssl.recv(socket, 0), do: requests(socket, input <> bytes)
    end
  end

  defp request("GET", "/api/v1/namespaces/default/pods/app-" <> number, socket, rest) do
    body = inspect_json(pod(number))
    with :ok <- answer(socket, "200 OK", body), do: requests(socket, rest)
  end

  defp request("GET", _path, socket, rest) do
    with :ok <- answer(socket, "404 Not Found", ""), do: requests(socket, rest)
  end

  defp request("POST", "/api/v1/namespaces/default/pods/app-" <> path, socket, rest) do
    {number, "/portforward" <> _query} = Integer.parse(path)

    :ok =
      :ssl.send(
        socket,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
      )

    number |> Spdy.new() |> streams(socket, rest)
  end

  defp answer(socket, status, body) do
    type = "Content-Type: application/json\r\nContent-Length: #{byte_size(body)}"
    :ssl.send(socket, "HTTP/1.1 #{status}\r\n#{type}\r\n\r\n#{body}")
  end

  defp pod(number) do
    environment = [%{name: "RELEASE_COOKIE", value: "cookie"}]

    %{
      apiVersion: "v1",
      kind: "Pod",
      metadata: %{name: "app-#{number}", namespace: "default", uid: "stand-in-#{number}"},
      spec: %{containers: [%{name: "app", image: "app", env: environment}]},
      status: %{phase: "Running", conditions: [%{type: "Ready", status: "True"}]}
    }
  end

  defp streams(spdy, socket, bytes) do
    {answer, spdy} = Spdy.feed(spdy, bytes)

    with :ok <- :ssl.send(socket, answer),
         {:ok, bytes} <- :ssl.recv(socket, 0),
         do: streams(spdy, socket, bytes)
  end
end

[directory] = System.argv()
StandIn.start(directory)
IO.puts("ready")
:eof = IO.gets("")
