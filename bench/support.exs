defmodule Bench do
  @moduledoc """
  What the measuring scripts share. Each prints a line for a figure, its name and a number;
  script/bench collects them.
  """

  # Only where it is measured is it there.
  @compile {:no_warn_undefined, K8sConnect}
  @ms_per_tick 10
  @call_timeout 30_000

  def print(name, value) when is_integer(value), do: IO.puts("#{name} #{value}")

  def print(name, value),
    do: IO.puts("#{name} #{:erlang.float_to_binary(value / 1, decimals: 4)}")

  @doc """
  Prints a Unix time in microseconds as bash's EPOCHREALTIME.
  """
  def print_time(name, us),
    do: IO.puts("#{name} #{:erlang.float_to_binary(us / 1_000_000, decimals: 6)}")

  @doc """
  Calls `node`, which must be in `pod`: `:right` if it returns the name of the pod, `{:wrong, value}` if it returns
  something else, `:failed` if it is not connected, and `:hung` after half a minute.
  """
  def call(node, pod) do
    case :erpc.call(node, :inet, :gethostname, [], @call_timeout) do
      {:ok, name} -> if to_string(name) == pod, do: :right, else: {:wrong, name}
      other -> {:wrong, other}
    end
  catch
    :error, {:erpc, :timeout} -> :hung
    :error, {:erpc, _reason} -> :failed
    # Of a node that stops.
    :exit, {:signal, _reason} -> :failed
  end

  @doc """
  Connects as the words say: `ours POD`, by the library, or `plain NODE`, by the VM alone, for which
  something else has opened a way.
  """
  def connect(["ours", pod]), do: ours(pod).node

  def connect(["plain", node]) do
    node = String.to_atom(node)
    true = Node.connect(node)
    node
  end

  @doc """
  By this BEAM itself, whatever is installed here.
  """
  def ours(pod, options \\ []) do
    K8sConnect.connect!(pod, [route: :vm] ++ options)
  end

  @doc """
  How many microseconds `fun` takes.
  """
  def us(fun) do
    start = System.monotonic_time()
    _ = fun.()
    (System.monotonic_time() - start) / System.convert_time_unit(1, :microsecond, :native)
  end

  @doc """
  Calls `fun` for a time, and answers what each call took.
  """
  def each_us(ms, fun), do: each_us(now() + ms, fun, [])

  defp each_us(deadline, fun, times) do
    if now() < deadline or length_below?(times, 10),
      do: each_us(deadline, fun, [us(fun) | times]),
      else: times
  end

  defp length_below?(list, length), do: Enum.count_until(list, length) < length

  def print_percentiles(name, times) do
    sorted = times |> Enum.sort() |> List.to_tuple()

    for percent <- [50, 99] do
      print("#{name}_p#{percent}_us", elem(sorted, div((tuple_size(sorted) - 1) * percent, 100)))
    end
  end

  @doc """
  The milliseconds of CPU that each process has used so far, in user and system mode.
  """
  def cpu_ms(pids) do
    for pid <- pids, do: stat_ms("/proc/#{pid}/stat")
  end

  @doc """
  The same from the `stat` file of a process or a thread.
  """
  def stat_ms(path) do
    # The program's name may have blanks; it ends with the last parenthesis.
    fields = path |> File.read!() |> String.split(") ") |> List.last()
    [user, system] = fields |> String.split() |> Enum.slice(11, 2)
    (String.to_integer(user) + String.to_integer(system)) * @ms_per_tick
  end

  @doc """
  The processes that make the connection: this one, and one that forwards where there is one.
  """
  def processes, do: [System.pid() | List.wrap(System.get_env("FORWARD"))]

  @doc """
  The memory of processes, in megabytes: with what they share (rss), with their part of it (pss), and
  what is not of any file (anon).
  """
  def memory(pids) do
    for {name, field} <- [rss: "Rss", pss: "Pss", anon: "Anonymous"], into: %{} do
      {name, Enum.sum(Enum.map(pids, &kilobytes(&1, field))) / 1000}
    end
  end

  defp kilobytes(pid, field) do
    rollup = File.read!("/proc/#{pid}/smaps_rollup")
    [_line, kilobytes] = Regex.run(~r/^#{field}: +(\d+) kB/m, rollup)
    String.to_integer(kilobytes)
  end

  @doc """
  This VM's own, when it has given back what it does not need: two looks are the same then.
  """
  def settled_memory(last \\ nil) do
    collect_garbage()
    memory = memory([System.pid()])

    if last && abs(memory.pss - last.pss) < 0.05 do
      memory
    else
      Process.sleep(1000)
      settled_memory(memory)
    end
  end

  def collect_garbage, do: Enum.each(Process.list(), &:erlang.garbage_collect/1)

  def now, do: System.monotonic_time(:millisecond)
end
