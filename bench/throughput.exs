# usage: elixir bench/throughput.exs MS ours POD | MS plain NODE
#
# Messages over the distribution for MS milliseconds, from the pod and to it, and what they cost
# this side's processes; then small calls while messages come. Needs bench/pod.exs in the pod.
Code.require_file("support.exs", __DIR__)
# The same module as in the pod, for the other direction.
Code.require_file("pod.exs", __DIR__)

[ms | way] = System.argv()
ms = String.to_integer(ms)
node = Bench.connect(way)
pod = Bench.Pod

measure = fn name, transfer ->
  {before, start} = {Bench.cpu_ms(Bench.processes()), Bench.now()}
  megabytes = transfer.() / 1.0e6
  {wall, later} = {Bench.now() - start, Bench.cpu_ms(Bench.processes())}
  [beam | forward] = Enum.zip_with(later, before, &(&1 - &2))

  Bench.print("dist_#{name}_mb_per_s", megabytes / wall * 1000)
  Bench.print("dist_#{name}_cpu_ms_per_mb", (beam + Enum.sum(forward)) / megabytes)
  Bench.print("dist_#{name}_beam_cpu_ms_per_mb", beam / megabytes)
end

measure.("down", fn ->
  Node.spawn(node, pod, :send_for, [self(), ms])
  pod.take()
end)

measure.("up", fn ->
  taker = Node.spawn(node, pod, :take_for, [self()])
  pod.send_for(taker, ms)
  receive do: ({:taken, bytes} -> bytes)
end)

test = self()

spawn_link(fn ->
  call = fn -> :erpc.call(node, Function, :identity, [:binary.copy(<<0>>, 64)]) end
  send(test, {:times, Bench.each_us(ms, call)})
end)

Node.spawn(node, pod, :send_for, [self(), ms])
pod.take()
receive do: ({:times, times} -> Bench.print_percentiles("erpc_64_beside_bulk", times))
