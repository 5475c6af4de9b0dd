# usage: elixir bench/many.exs TARGET PODS
#
# Connects to the PODS pods of TARGET with one connect_all/2. Prints the time, the memory of this VM, and "connected".
# After a line of standard input it waits until all connections were lost and are up again, and prints the Unix times of
# the first and of the last.
Code.require_file("support.exs", __DIR__)

defmodule Many do
  def flush, do: receive(do: (_message -> flush()), after: (0 -> :ok))

  @doc """
  Waits until each of `count` sessions is up again. A session that is lost once more counts again.
  """
  def await_all(reference, count, first \\ nil, up \\ MapSet.new()) do
    if MapSet.size(up) == count do
      Bench.print_time("first_at", first)
      Bench.print_time("last_at", System.os_time(:microsecond))
    else
      receive do
        {:k8s_connect, ^reference, session, {:up, _connection}} ->
          first = first || System.os_time(:microsecond)
          await_all(reference, count, first, MapSet.put(up, session))

        {:k8s_connect, ^reference, {:down, error}} ->
          IO.puts(:stderr, "connect_all/2 has ended: #{Exception.message(error)}")
          System.halt(1)

        {:k8s_connect, ^reference, session, _lost} ->
          await_all(reference, count, first, MapSet.delete(up, session))
      end
    end
  end
end

[target, pods] = System.argv()
pods = String.to_integer(pods)
Application.put_env(:k8s_connect, :log, false)

start = System.monotonic_time()
{:ok, group} = K8sConnect.connect_all(target, route: :vm, connect_timeout: :infinity)
took = System.convert_time_unit(System.monotonic_time() - start, :native, :microsecond)
Bench.print("connected_ms", took / 1000)

connections = K8sConnect.connections(group)
^pods = length(connections)
for %{node: node, pod: pod} <- connections, do: :right = Bench.call(node, pod)

for {kind, megabytes} <- Bench.settled_memory(),
    do: Bench.print("memory_all_#{kind}_mb", megabytes)

reference = K8sConnect.subscribe(group)
# Without the events of what they are now, which came before this answer.
^connections = K8sConnect.connections(group)
Many.flush()
IO.puts("connected")
_line = IO.gets("")
Many.await_all(reference, pods)
for %{node: node, pod: pod} <- K8sConnect.connections(group), do: :right = Bench.call(node, pod)
# Until standard input ends.
:eof = IO.gets("")
