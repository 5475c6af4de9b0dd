# usage: elixir bench/growth.exs KUBECONFIG SESSIONS...
#
# Connects to app-0, app-1 and so on at the stand-in of bench/stand_in.exs, until there are as many sessions as each
# number says: what a session took to connect, the memory of this VM for each, and what a call takes then.
Code.require_file("support.exs", __DIR__)

[kubeconfig | counts] = System.argv()
counts = Enum.map(counts, &String.to_integer/1)
Application.put_env(:k8s_connect, :log, false)
{:ok, _started} = Application.ensure_all_started(:k8s_connect)

connect = fn number ->
  Bench.us(fn -> Bench.ours("app-#{number}", kubeconfig: kubeconfig) end)
end

median = fn times -> times |> Enum.sort() |> Enum.at(div(length(times), 2)) end
before = Bench.settled_memory()

Enum.reduce(counts, {0, nil}, fn count, {sessions, first} ->
  # The last thirty, one after the other, and all before them at the same time.
  alone = max(sessions, count - 30)

  connected =
    Task.async_stream(sessions..(alone - 1)//1, connect, max_concurrency: 16, timeout: :infinity)

  took = Bench.us(fn -> Stream.run(connected) end)

  if alone > sessions,
    do: Bench.print("growth_#{count}_concurrent_ms", took / 1000 / (alone - sessions))

  Bench.print("growth_#{count}_connect_ms", median.(Enum.map(alone..(count - 1), connect)) / 1000)

  connections = K8sConnect.connections()
  ^count = length(connections)
  memory = Bench.settled_memory()

  for kind <- [:rss, :pss, :anon],
      do: Bench.print("growth_#{count}_#{kind}_kb", (memory[kind] - before[kind]) * 1000 / count)

  # The first session pays for the library.
  if first,
    do: Bench.print("growth_#{count}_further_rss_kb", (memory.rss - first) * 1000 / (count - 1))

  calls =
    for _round <- 1..2000 do
      %{node: node} = Enum.random(connections)
      Bench.us(fn -> :yes = GenServer.call({:net_kernel, node}, {:is_auth, node()}) end)
    end

  Bench.print_percentiles("growth_#{count}_call", calls)
  {count, first || memory.rss}
end)
