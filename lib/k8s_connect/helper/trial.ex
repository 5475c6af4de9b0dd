defmodule K8sConnect.Helper.Trial do
  @moduledoc false
  # Tests the kernel route on this machine. The helper tests its programs before it reports that it is ready. Then it
  # redirects an address that is reserved for documentation (RFC 5737 and RFC 3849), and this BEAM connects to
  # it: the connection has to arrive at a listener of this BEAM. If the redirect fails, one connection attempt
  # leaves the machine.

  alias K8sConnect.{Error, Helper.Program}

  @addresses [
    {"IPv4", :inet, {127, 0, 0, 1}, "192.0.2.1:49152", {192, 0, 2, 1}},
    {"IPv6", :inet6, {0, 0, 0, 0, 0, 0, 0, 1}, "[2001:db8::1]:49152",
     {0x2001, 0xDB8, 0, 0, 0, 0, 0, 1}}
  ]
  @port 49_152
  @timeout 1_000

  @typep result :: {:works, microseconds :: non_neg_integer()} | {:fails, String.t()}

  @doc """
  What the helper reports about itself, and the result for each address family.
  """
  @spec run(boolean()) :: {:ok, map(), [{String.t(), result()}]} | {:error, Error.t()}
  def run(sudo) do
    task =
      Task.async(fn ->
        Process.flag(:trap_exit, true)
        run_all(sudo)
      end)

    Task.await(task, :infinity)
  end

  defp run_all(sudo) do
    with {:ok, program, ready} <- Program.start(sudo) do
      {results, program} = Enum.map_reduce(@addresses, program, &try_one/2)
      if program, do: Program.stop(program)
      {:ok, ready, results}
    end
  end

  defp try_one({name, _family, _loopback, _address, _ip}, nil),
    do: {{name, {:fails, "the helper has exited"}}, nil}

  defp try_one({name, family, loopback, address, ip}, program) do
    case :gen_tcp.listen(0, [family, :binary, ip: loopback, active: false]) do
      {:ok, listener} ->
        {result, program} = redirect(program, listener, address, family, ip)
        :gen_tcp.close(listener)
        {{name, result}, program}

      {:error, reason} ->
        {{name, {:fails, "could not listen on the loopback address: #{reason}"}}, program}
    end
  end

  defp redirect(program, listener, address, family, ip) do
    {:ok, via} = :inet.port(listener)

    case Program.ask(program, :apply_frame, [[{address, via}]]) do
      {:ok, _applied, program} -> {connect(listener, family, ip), program}
      {:refused, error, program} -> {fails(error), program}
      {:gone, error} -> {fails(error), nil}
    end
  end

  defp connect(listener, family, ip) do
    start = System.monotonic_time(:microsecond)

    with {:ok, client} <- :gen_tcp.connect(ip, @port, [family, active: false], @timeout),
         {:ok, server} <- :gen_tcp.accept(listener, @timeout),
         true <- :inet.sockname(client) == :inet.peername(server) do
      Enum.each([client, server], &:gen_tcp.close/1)
      {:works, System.monotonic_time(:microsecond) - start}
    else
      false ->
        {:fails, "another program connected to the test listener. Try again"}

      {:error, reason} ->
        {:fails,
         "the connection was not redirected (#{:inet.format_error(reason)}). This BEAM has to run in its user's slice, " <>
           "with the primary group and without capabilities. Check with: cat /proc/self/cgroup; id"}
    end
  end

  defp fails(error), do: {:fails, Error.message(error, :cli)}
end
