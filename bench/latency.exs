# usage: elixir bench/latency.exs MS ours POD | MS plain NODE
#
# Round trips over the distribution, each size for MS milliseconds.
Code.require_file("support.exs", __DIR__)

[ms | way] = System.argv()
ms = String.to_integer(ms)
node = Bench.connect(way)

for size <- [64, 4096] do
  bytes = :binary.copy(<<0>>, size)
  call = fn -> ^bytes = :erpc.call(node, Function, :identity, [bytes]) end
  # Code is loaded on both sides, and buffers have grown.
  for _ <- 1..10, do: call.()
  Bench.print_percentiles("erpc_#{size}", Bench.each_us(ms, call))
end
