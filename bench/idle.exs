# usage: elixir bench/idle.exs MS ours POD | MS plain NODE | MS alone
#
# A connection that nobody uses, for MS milliseconds: CPU, wake-ups of all threads, bytes on the wire.
# script/bench has made a counter for each user. With `alone` there is no connection.
Code.require_file("support.exs", __DIR__)

defmodule Idle do
  def switches(pids) do
    for pid <- pids,
        # A thread may end while we look.
        {:ok, status} <- Enum.map(Path.wildcard("/proc/#{pid}/task/*/status"), &File.read/1),
        [_line, count] = Regex.run(~r/^voluntary_ctxt_switches:\t(\d+)/m, status),
        reduce: 0,
        do: (sum -> sum + String.to_integer(count))
  end

  def bytes do
    uid = File.stat!("/proc/self").uid
    list = ~w(nft list counter inet bench_idle user_#{uid})
    [command | arguments] = if uid == 0, do: list, else: ~w(sudo -n) ++ list
    {text, 0} = System.cmd(command, arguments)
    [_all, bytes] = Regex.run(~r/bytes (\d+)/, text)
    String.to_integer(bytes)
  end

  def look(pids), do: {Enum.sum(Bench.cpu_ms(pids)), switches(pids)}
end

[ms | way] = System.argv()
ms = String.to_integer(ms)
unless way == ["alone"], do: Bench.connect(way)
Bench.collect_garbage()

# Reading the counter takes a process; it is outside of what is measured.
bytes = Idle.bytes()
{cpu, switches} = Idle.look(Bench.processes())
Process.sleep(ms)
{later_cpu, later_switches} = Idle.look(Bench.processes())
later_bytes = Idle.bytes()

Bench.print("idle_cpu_percent", 100 * (later_cpu - cpu) / ms)
Bench.print("idle_wakeups_per_s", 1000 * (later_switches - switches) / ms)

unless way == ["alone"],
  do: Bench.print("idle_bytes_per_s", 1000 * (later_bytes - bytes) / ms)
