# usage: elixir test/terms/record.exs FILE [COMMAND...]
#
# Records a connection between two nodes: test/terms/traffic.erl runs on both. COMMAND, which runs its arguments with
# another OTP, starts the node in the pod. Each record is
#
#   direction (1: 1 to the pod, 2 from it), bytes (32 + n)
#
# with a whole message of the handshake or a whole packet. The recorder clears the flags that the guard clears, so the
# nodes send what they send through the guard.
defmodule RecordTraffic do
  import Bitwise

  # DIST_HDR_ATOM_CACHE, FRAGMENTS, and all above ALIAS
  @kept bnot(0x2000 ||| 0x800000) &&& (1 <<< 36) - 1

  def run(file, command) do
    directory = Path.join(System.tmp_dir!(), "record-#{System.pid()}")
    File.mkdir_p!(directory)
    source = Path.expand("traffic.erl", __DIR__)
    {_, 0} = System.cmd("erlc", ["-o", directory, source])
    {:ok, listener} = :gen_tcp.listen(0, [:binary, ip: {127, 0, 0, 1}, active: false])
    {:ok, proxy} = :inet.port(listener)
    pod = free_port()

    pod_process = start(command, ~w(-name app@127.0.0.1 -erl_epmd_port #{pod} -pa #{directory}
      -kernel inet_dist_listen_min #{pod} inet_dist_listen_max #{pod}))

    to_pod = connect(pod, 100)

    start(
      [],
      ~w(-name laptop@127.0.0.1 -hidden -dist_listen false -erl_epmd_port #{proxy}
      -pa #{directory} -eval) ++ ["traffic:local('app@127.0.0.1')."]
    )

    {:ok, from_laptop} = :gen_tcp.accept(listener, 20_000)
    recorder = self()
    spawn_link(fn -> pump(1, from_laptop, to_pod, recorder) end)
    spawn_link(fn -> pump(2, to_pod, from_laptop, recorder) end)
    records = collect()
    System.cmd("kill", [to_string(pod_process)])
    File.write!(file, records)
    File.rm_rf!(directory)
    IO.puts("#{file}: #{length(records)} messages, #{IO.iodata_length(records)} bytes")
  end

  defp start(command, arguments) do
    [program | before] = command ++ ["erl"]

    arguments = before ++ ~w(-noinput -start_epmd false -setcookie recorded) ++ arguments

    path = System.find_executable(program)
    port = Port.open({:spawn_executable, path}, [:binary, :exit_status, args: arguments])
    {:os_pid, process} = Port.info(port, :os_pid)
    process
  end

  defp free_port do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :gen_tcp.close(socket)
    port
  end

  defp connect(port, tries) do
    case :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, nodelay: true]) do
      {:ok, socket} ->
        socket

      {:error, :econnrefused} when tries > 0 ->
        Process.sleep(100)
        connect(port, tries - 1)
    end
  end

  # The last message of the handshake is `r` or `a`. Then lengths have four bytes.
  defp pump(direction, from, to, recorder, bits \\ 16) do
    with {:ok, <<length::size(bits)>>} <- :gen_tcp.recv(from, div(bits, 8)),
         {:ok, message} <- receive_all(from, length) do
      message = if bits == 16, do: without_flags(message), else: message
      record = <<length::size(bits), message::binary>>
      send(recorder, {:record, <<direction, byte_size(record)::32, record::binary>>})
      :gen_tcp.send(to, record)
      last = bits == 16 and match?(<<tag, _::binary>> when tag in ~c"ra", message)
      pump(direction, from, to, recorder, if(last, do: 32, else: bits))
    else
      {:error, _closed} -> send(recorder, :closed)
    end
  end

  defp receive_all(_from, 0), do: {:ok, ""}
  defp receive_all(from, length), do: :gen_tcp.recv(from, length)

  defp without_flags(<<"N", flags::64, rest::binary>>),
    do: <<"N", flags &&& @kept::64, rest::binary>>

  defp without_flags(message), do: message

  defp collect(records \\ []) do
    receive do
      {:record, record} -> collect([record | records])
      :closed -> Enum.reverse(records)
    after
      60_000 -> Enum.reverse(records)
    end
  end
end

[file | command] = System.argv()
RecordTraffic.run(file, command)
