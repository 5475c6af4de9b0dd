defmodule Mix.K8sConnect.Observer.Page do
  @moduledoc false
  # The parts of the view: the summary at the top, the columns of each table, and what is known of one process.

  alias K8sConnect.{Error, Snapshot}

  import Mix.K8sConnect.Observer.Format

  @kinds [processes: "processes", binary: "binaries", ets: "ETS", code: "code"]

  @doc """
  The node as a whole.
  """
  @spec summary(Snapshot.t(), pos_integer()) :: [IO.ANSI.ansidata()]
  def summary(snapshot, columns) do
    node = cut(Error.printable("#{snapshot.node}"), columns)
    rest = cut("  #{versions(snapshot)}", columns - String.length(node))

    lines = [
      load(snapshot),
      "memory #{bytes(snapshot.memory.total)}: " <>
        Enum.map_join(@kinds, ", ", fn {kind, name} ->
          "#{name} #{bytes(snapshot.memory[kind])}"
        end),
      Enum.map_join([:processes, :ports, :atoms, :ets_tables], "  ", &limit(snapshot, &1)),
      "in #{bytes(snapshot.io.in)}/s, out #{bytes(snapshot.io.out)}/s, " <>
        "#{number(snapshot.garbage_collections)} garbage collections/s"
    ]

    [[:bright, node, :reset, rest] | Enum.map(lines, &cut(&1, columns))]
  end

  defp versions(snapshot) do
    "OTP #{snapshot.otp_release} (erts #{snapshot.erts})  up #{duration(snapshot.uptime_ms)}  " <>
      "collected in #{snapshot.cost_ms} ms"
  end

  defp load(%{run_queues: queues, schedulers: schedulers} = snapshot) do
    cpu = if snapshot.cpu, do: "CPU #{tenths(snapshot.cpu * 100)} %, "
    normal = Enum.sum(queues.normal)

    "#{cpu}#{schedulers.online} schedulers#{utilization(snapshot.utilization)}, run queues #{normal}" <>
      " (longest #{Enum.max(queues.normal, fn -> 0 end)}), dirty CPU #{queues.dirty_cpu}, dirty I/O #{queues.dirty_io}"
  end

  defp utilization(nil), do: ""

  defp utilization(each),
    do: " used " <> Enum.map_join(each, " ", &"#{round(&1 * 100)}%")

  defp limit(snapshot, name) do
    %{count: count, limit: limit} = snapshot.limits[name]
    name = if name == :ets_tables, do: "ETS", else: name
    "#{name} #{number(count)}/#{number(limit)}"
  end

  @doc """
  The header of a table.
  """
  @spec header(:processes | :applications | :tables, Snapshot.sort(), pos_integer()) :: String.t()
  def header(:processes, sort, columns) do
    marked = fn text, key -> if key == sort, do: text <> "*", else: text end

    process(
      ["PID", marked.("REDS/S", :reductions), marked.("MEMORY", :memory)] ++
        [marked.("QUEUE", :messages), "NAME OR INITIAL CALL", "CURRENT FUNCTION"],
      columns
    )
  end

  def header(:applications, _sort, columns),
    do: application(["APPLICATION", "VERSION", "DESCRIPTION"], columns)

  def header(:tables, _sort, columns),
    do: table(["ETS TABLE", "MEMORY", "OBJECTS", "TYPE", "PROTECTION", "OWNER"], columns)

  @doc """
  A row of a table, or a line about a process.
  """
  @spec row(
          :processes | :applications | :tables | {:process, pid()},
          map() | String.t(),
          pos_integer()
        ) ::
          String.t()
  def row(:processes, row, columns) do
    process(
      [Snapshot.pid(row.pid), number(row.reductions), bytes(row.memory), number(row.messages)] ++
        [row.name, row.current_function],
      columns
    )
  end

  def row(:applications, row, columns),
    do: application([row.name, row.version, row.description], columns)

  def row(:tables, row, columns) do
    table(
      [row.name, bytes(row.memory), number(row.size), "#{row.type}", "#{row.protection}"] ++
        [Snapshot.pid(row.owner)],
      columns
    )
  end

  def row({:process, _pid}, line, columns), do: cut(line, columns)

  # A narrow window has no room for the current function.
  defp process([pid, reductions, memory, messages, name, current], columns) do
    fixed = [left(pid, 12), right(reductions, 12), right(memory, 9), right(messages, 9)]
    space = columns - 12 - 12 - 9 - 9 - 5

    named =
      if columns < 100,
        do: [narrow(name, current)],
        else: [left(name, div(space * 11, 20)), current]

    join(fixed ++ named, columns)
  end

  # What `spawn/1` starts with a function
  defp narrow(":erlang.apply/2", current), do: ":erlang.apply/2 in #{current}"
  defp narrow(name, _current), do: name

  defp application([name, version, description], columns),
    do: join([left(name, 24), left(version, 12), description], columns)

  defp table([name, memory, size, type, protection, owner], columns) do
    fixed = [
      right(memory, 10),
      right(size, 12),
      left(type, 13),
      left(protection, 10),
      left(owner, 12)
    ]

    join([left(name, max(columns - 57 - 5, 12)) | fixed], columns)
  end

  defp join(cells, columns), do: cells |> Enum.join(" ") |> String.trim_trailing() |> cut(columns)

  @doc """
  The lines about one process.
  """
  @spec details(map() | :ended) :: [String.t()]
  def details(:ended), do: []

  def details(details) do
    [
      "initial call      #{details.initial_call}",
      "current function  #{details.current_function}",
      "status            #{inspect(details.status)}, priority #{inspect(details.priority)}, trap_exit #{details.trap_exit}",
      "memory            #{bytes(details.memory)}: heap #{bytes(details.heap)}, stack #{bytes(details.stack_size)}",
      "message queue     #{number(details.messages)}",
      "reductions        #{number(details.reductions)}",
      "group leader      #{details.group_leader}",
      others("links", details.links),
      others("monitors", details.monitors),
      others("monitored by", details.monitored_by),
      "",
      "stack trace"
    ] ++ Enum.map(details.stack, &"  #{&1}")
  end

  defp others(name, %{count: count, first: first}) do
    more = if count > length(first), do: ", …"
    list = if count > 0, do: ": " <> Enum.join(first, ", ") <> "#{more}"
    "#{String.pad_trailing(name, 17)} #{number(count)}#{list}"
  end
end
