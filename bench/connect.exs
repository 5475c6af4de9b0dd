# usage: elixir bench/connect.exs NAME=POD...
#
# For each in turn, in this one VM: the milliseconds of a connect/1, and of that with a call. All of
# them stay connected to the end.
Code.require_file("support.exs", __DIR__)

for word <- System.argv() do
  [name, pod] = String.split(word, "=")
  start = System.monotonic_time()
  connection = Bench.ours(pod)
  connected = System.monotonic_time()
  true = :erpc.call(connection.node, :erlang, :node, []) == connection.node
  called = System.monotonic_time()

  for {name, time} <- [{name, connected}, {"#{name}_and_call", called}] do
    us = System.convert_time_unit(time - start, :native, :microsecond)
    Bench.print("connect_#{name}_ms", us / 1000)
  end

  # The library leaves connections warm for a next pod, and nothing tells when they are. Who wants
  # another pod does so a moment later, not at once.
  Process.sleep(1000)
end
