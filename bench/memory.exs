# usage: elixir bench/memory.exs ours PODS | held PID...
#
# What loading us takes, and what this VM grows by for a session with each of app-0 up to
# app-(PODS - 1); or what processes hold that do the same.
Code.require_file("support.exs", __DIR__)

print = fn count, memory ->
  for {kind, megabytes} <- memory, do: Bench.print("memory_#{count}_#{kind}_mb", megabytes)
end

case System.argv() do
  ["held" | pids] ->
    print.("1", Bench.memory([hd(pids)]))
    print.("all", Bench.memory(pids))

  ["ours", pods] ->
    pods = String.to_integer(pods)
    before = Bench.settled_memory()

    grown = fn ->
      Map.new(Bench.settled_memory(), fn {kind, now} -> {kind, now - before[kind]} end)
    end

    load = fn ->
      {:ok, _started} = Application.ensure_all_started(:k8s_connect)
      # Any function; the first call loads the library.
      apply(K8sConnect.Native, :start, [:hello_frame, [0]])
    end

    Bench.print("load_ms", Bench.us(load) / 1000)
    print.("0", grown.())

    for number <- 0..(pods - 1) do
      Bench.ours("app-#{number}")
      if number == 0, do: print.("1", grown.())
    end

    ^pods = length(K8sConnect.connections())
    print.("all", grown.())
end
