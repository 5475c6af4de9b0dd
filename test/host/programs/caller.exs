# Keeps a connection and calls the node without a pause: elixir caller.exs TARGET ROUTE CALLERS|upload
#
# A line on standard output for each event. Standard input takes `net_kernel`, which stops the local node, and
# `report`, which prints how many calls returned the right value, another one, or failed, how long the longest took,
# and how often the connection was lost.
# The connection ends with `end`, or with standard input.

defmodule Caller do
  @doc """
  Calls forever. The node returns the size of `data` and its own name.
  """
  def loop(name, table, data) do
    start = System.monotonic_time(:millisecond)

    result =
      try do
        node = K8sConnect.node!(name)
        expected = [byte_size(data), node]
        functions = [{:erlang, :byte_size, [data]}, {:erlang, :node, []}]

        values =
          for {module, name, arguments} <- functions,
              do: :erpc.call(node, module, name, arguments)

        if values == expected, do: :right, else: :wrong
      rescue
        # Not up, or lost during the call
        error in [K8sConnect.Error, ErlangError] -> error && :failed
      end

    :ets.update_counter(table, result, 1)
    took = System.monotonic_time(:millisecond) - start
    [{:longest, longest}] = :ets.lookup(table, :longest)
    if took > longest, do: :ets.insert(table, {:longest, took})
    if result != :right, do: Process.sleep(5)
    loop(name, table, data)
  end

  def commands(table) do
    case IO.read(:stdio, :line) do
      "net_kernel\n" -> :net_kernel.stop()
      "report\n" -> report(table)
      "end\n" -> System.halt()
      :eof -> System.halt()
    end

    commands(table)
  end

  defp report(table) do
    counts = for {key, value} <- Enum.sort(:ets.tab2list(table)), do: "#{key}=#{value}"
    IO.puts("report #{Enum.join(counts, " ")}")
  end

  def events(reference, table) do
    receive do
      {:k8s_connect, ^reference, {:up, connection}} ->
        print("up", connection.node)

      {:k8s_connect, ^reference, {:reconnecting, error, 1, _}} ->
        :ets.update_counter(table, :losses, 1)
        print("lost", inspect(error.reason))

      {:k8s_connect, ^reference, {:reconnecting, _error, _attempt, _delay}} ->
        :ok

      {:k8s_connect, ^reference, {:down, error}} ->
        :ets.update_counter(table, :losses, 1)
        print("down", inspect(error && error.reason))
    end

    events(reference, table)
  end

  defp print(event, detail), do: IO.puts("#{System.system_time(:millisecond)} #{event} #{detail}")
end

[target, route, callers] = System.argv()
Application.put_env(:k8s_connect, :log, false)
options = [target: target, route: String.to_atom(route), name: :caller]
{:ok, _session} = K8sConnect.start_link(options)
{:ok, _connection} = K8sConnect.await_up(:caller)
table = :ets.new(:calls, [:public])
:ets.insert(table, for(key <- [:right, :wrong, :failed, :longest, :losses], do: {key, 0}))
spawn(fn -> Caller.events(K8sConnect.subscribe(:caller), table) end)

{count, data} =
  if callers == "upload",
    do: {1, :binary.copy("data", 8 * 1024 * 1024)},
    else: {String.to_integer(callers), ""}

for _ <- 1..count//1, do: spawn(fn -> Caller.loop(:caller, table, data) end)

Caller.commands(table)
