# usage: elixir bench/connect.exs POD NAME...
#
# For each NAME in turn, in this one VM: the milliseconds of a connect/1, and of that with a call.
Code.require_file("support.exs", __DIR__)

[pod | names] = System.argv()

for name <- names do
  start = System.monotonic_time()
  connection = Bench.ours(pod)
  connected = System.monotonic_time()
  true = :erpc.call(connection.node, :erlang, :node, []) == connection.node
  called = System.monotonic_time()

  for {name, time} <- [{name, connected}, {"#{name}_and_call", called}] do
    us = System.convert_time_unit(time - start, :native, :microsecond)
    Bench.print("connect_#{name}_ms", us / 1000)
  end

  K8sConnect.disconnect(connection)
  # The library leaves connections warm for a next time, and nothing tells when they are. That
  # time comes a moment later, not at once.
  Process.sleep(1000)
end
