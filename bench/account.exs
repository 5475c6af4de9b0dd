# usage: elixir bench/account.exs MS POD NAME=PID...
#
# Where the CPU time of the whole machine goes: of this VM, its threads of the native library ("native") and of the BEAM
# ("beam") apart, and of each process NAME. For small calls, and for messages from the pod and to it. Needs bench/pod.exs
# in the pod.
for file <- ["support.exs", "pod.exs"], do: Code.require_file(file, __DIR__)

defmodule Account do
  @doc """
  The milliseconds of CPU by name.
  """
  def cpu_ms(processes) do
    threads =
      "/proc/self/task/*/stat" |> Path.wildcard() |> Enum.group_by(&owner/1, &Bench.stat_ms/1)

    ours = Map.new(threads, fn {owner, times} -> {owner, Enum.sum(times)} end)

    Enum.reduce(processes, ours, fn {name, pid}, all ->
      Map.update(all, name, of(pid), &(&1 + of(pid)))
    end)
  end

  defp of(pid), do: pid |> List.wrap() |> Bench.cpu_ms() |> Enum.sum()

  defp owner(stat) do
    case File.read!(Path.join(Path.dirname(stat), "comm")) do
      "k8s_connect" <> _number -> "native"
      _scheduler -> "beam"
    end
  end
end

[ms, pod | processes] = System.argv()
ms = String.to_integer(ms)

processes =
  for process <- processes,
      [name, pid] = String.split(process, "="),
      do: {name, String.to_integer(pid)}

%{node: node} = Bench.ours(pod)

# Prints microseconds of CPU for each unit of what `work` has done.
account = fn name, work ->
  {before, start} = {Account.cpu_ms(processes), Bench.now()}
  units = work.()
  {later, wall} = {Account.cpu_ms(processes), Bench.now() - start}
  Bench.print("#{name}_wall_us", wall * 1000 / units)

  for {owner, ms} <- Enum.sort(later),
      do: Bench.print("#{name}_#{owner}_us", (ms - Map.get(before, owner, 0)) * 1000 / units)
end

bytes = :binary.copy(<<0>>, 64)
call = fn -> ^bytes = :erpc.call(node, Function, :identity, [bytes]) end
for _ <- 1..10, do: call.()

account.("call", fn -> length(Bench.each_us(ms, call)) end)

account.("down_mb", fn ->
  Node.spawn(node, Bench.Pod, :send_for, [self(), ms])
  Bench.Pod.take() / 1.0e6
end)

account.("up_mb", fn ->
  taker = Node.spawn(node, Bench.Pod, :take_for, [self()])
  Bench.Pod.send_for(taker, ms)
  receive do: ({:taken, bytes} -> bytes / 1.0e6)
end)
