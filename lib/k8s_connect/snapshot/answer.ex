defmodule K8sConnect.Snapshot.Answer do
  @moduledoc false
  # Reads what a node has answered. The node may send anything, so each part is checked before it is used.

  alias K8sConnect.{Error, PlainTerm}

  @kinds [:total, :processes, :binary, :ets, :code, :atom, :system]
  @counters [
    processes: {:process_count, :process_limit},
    ports: {:port_count, :port_limit},
    atoms: {:atom_count, :atom_limit},
    ets_tables: {:ets_count, :ets_limit}
  ]
  # Text is cut here, in characters.
  @longest 200
  @max_schedulers 1024
  # Linux counts CPU time in these, on all architectures that OTP runs on.
  @ticks_a_second 100

  # A number that is written in one line.
  defguardp is_size(value)
            when is_integer(value) and value >= 0 and value < 0x1_0000_0000_0000_0000

  @doc """
  The fields of a snapshot, or `:error` if the answer is not what `Remote` evaluates to.
  """
  @spec snapshot(term(), node(), keyword()) :: {:ok, map()} | :error
  def snapshot(answer, node, options) do
    true = PlainTerm.plain?(answer)
    %{system: system, samples: {first, second}, memory: memory, run_queues: queues} = answer
    system = Map.new(system)
    seconds = seconds(first, second)

    {:ok,
     %{
       node: node,
       sort: options[:sort],
       otp_release: text(system.otp_release),
       erts: text(system.version),
       uptime_ms: size(answer.uptime),
       window_ms: round(seconds * 1000),
       cost_ms: div(size(answer.cost), 1000),
       schedulers: schedulers(system),
       utilization: utilization(first, second, system.schedulers),
       cpu: cpu(first, second, seconds),
       run_queues: run_queues(queues, system.schedulers),
       memory: Map.new(@kinds, &{&1, size(memory[&1])}),
       io: io(first, second, seconds),
       garbage_collections: rate(collections(first), collections(second), seconds),
       limits: for({name, keys} <- @counters, into: %{}, do: {name, limit(system, keys)}),
       processes: answer.processes |> rows(options, &row(&1, seconds)) |> sort(options[:sort]),
       tables: tables(answer.tables, size(system.wordsize), options),
       applications: Enum.map(Enum.take(answer.applications, 1000), &application/1)
     }}
  rescue
    _malformed -> :error
  end

  @doc """
  What one process does.
  """
  @spec process(term(), pid()) :: {:ok, map() | nil} | :error
  def process(:undefined, _pid), do: {:ok, nil}

  def process(info, pid) do
    true = PlainTerm.plain?(info)
    info = Map.new(info)
    word = size(info.wordsize)

    {:ok,
     %{
       pid: pid,
       name: name(info.registered_name, info.translated),
       initial_call: mfa(info.translated),
       current_function: mfa(info.current_function),
       status: word(info.status),
       priority: word(info.priority),
       trap_exit: word(info.trap_exit),
       messages: size(info.message_queue_len),
       memory: size(info.memory),
       heap: size(info.total_heap_size) * word,
       stack_size: size(info.stack_size) * word,
       reductions: size(info.reductions),
       group_leader: other(info.group_leader),
       stack: info.current_stacktrace |> Enum.take(50) |> Enum.map(&frame/1),
       links: others(info.links),
       monitors: others(info.monitors),
       monitored_by: others(info.monitored_by)
     }}
  rescue
    _malformed -> :error
  end

  @doc """
  A pid as its own node writes it.
  """
  @spec pid(pid()) :: String.t()
  def pid(pid) do
    [_node, number, serial] = pid |> :erlang.pid_to_list() |> to_string() |> String.split(".")
    "<0.#{number}.#{serial}"
  end

  # Parts

  defp seconds({first, _, _, _, _}, {second, _, _, _, _}) when second > first,
    do: size(second - first) / 1_000_000

  defp schedulers(%{schedulers: total} = system) when total in 1..@max_schedulers do
    %{
      total: size(system.schedulers),
      online: size(system.schedulers_online),
      dirty_cpu: size(system.dirty_cpu_schedulers_online),
      dirty_io: size(system.dirty_io_schedulers)
    }
  end

  # Also those of the dirty schedulers, which come after the others.
  defp utilization({_, _, _, [_ | _] = first, _}, {_, _, _, [_ | _] = second, _}, schedulers) do
    second = Map.new(second, fn {id, active, total} -> {id, {active, total}} end)

    for {id, active, total} <- Enum.sort(first), id <= schedulers do
      {later_active, later_total} = second[id]
      busy = size(max(later_active - active, 0))
      if later_total > total, do: min(busy / size(later_total - total), 1.0), else: 0.0
    end
  end

  defp utilization(_first, _second, _schedulers), do: nil

  defp cpu({_, _, _, _, first}, {_, _, _, _, second}, seconds)
       when is_binary(first) and is_binary(second),
       do: (ticks(second) - ticks(first)) / @ticks_a_second / seconds

  defp cpu(_first, _second, _seconds), do: nil

  # The fields after the name, which can have spaces: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
  defp ticks(stat) do
    fields = stat |> String.split(") ") |> List.last() |> String.split(" ")
    [user, system] = for index <- [11, 12], do: fields |> Enum.at(index) |> String.to_integer()
    size(user) + size(system)
  end

  defp run_queues(queues, schedulers) do
    {normal, [dirty_cpu, dirty_io]} = Enum.split(queues, schedulers)

    %{
      normal: Enum.map(normal, &size/1),
      dirty_cpu: size(dirty_cpu),
      dirty_io: size(dirty_io)
    }
  end

  defp io({_, {{:input, in_1}, {:output, out_1}}, _, _, _}, {_, second, _, _, _}, seconds) do
    {{:input, in_2}, {:output, out_2}} = second
    %{in: rate(in_1, in_2, seconds), out: rate(out_1, out_2, seconds)}
  end

  defp collections({_, _, {number, _words, _zero}, _, _}), do: number

  defp rate(first, second, seconds), do: round(max(size(second) - size(first), 0) / seconds)

  defp limit(system, {count, limit}),
    do: %{count: size(system[count]), limit: size(system[limit])}

  defp rows(list, options, fun), do: list |> Enum.take(options[:limit]) |> Enum.map(fun)

  defp row({pid, change, info, initial_call}, seconds) when is_pid(pid) do
    info = Map.new(info)

    %{
      pid: pid,
      name: name(info.registered_name, initial_call),
      reductions: rate(0, change, seconds),
      memory: size(info.memory),
      messages: size(info.message_queue_len),
      status: word(info.status),
      current_function: mfa(info.current_function)
    }
  end

  # The values are later ones than those by which the node has chosen.
  defp sort(rows, key), do: Enum.sort_by(rows, & &1[key], :desc)

  defp tables(:none, _word, _options), do: []

  defp tables(list, word, options) do
    rows(list, options, fn {words, [name, size, type, protection, owner]} when is_pid(owner) ->
      %{
        name: shown(name),
        memory: size(words) * word,
        # The table can be gone by now.
        size: if(size == :undefined, do: 0, else: size(size)),
        type: word(type),
        protection: word(protection),
        owner: owner
      }
    end)
  end

  defp application({name, description, version}),
    do: %{
      name: text(Atom.to_string(name)),
      description: text(description),
      version: text(version)
    }

  # Texts

  defp name(name, _initial_call) when is_atom(name), do: shown(name)
  defp name([], initial_call), do: mfa(initial_call)

  defp mfa({module, function, arity})
       when is_atom(module) and is_atom(function) and arity in 0..255,
       do: module |> Exception.format_mfa(function, arity) |> text()

  # A process without an Erlang function, or one that runs native code.
  defp mfa(other), do: inspect(word(other))

  defp frame({module, function, arity, location}) do
    line = with [_ | _] <- location, do: location[:line]

    if is_size(line),
      do: "#{mfa({module, function, arity})}, line #{line}",
      else: mfa({module, function, arity})
  end

  defp others({count, list}),
    do: %{count: size(count), first: list |> Enum.take(50) |> Enum.map(&other/1)}

  defp other({:process, process}), do: other(process)
  defp other({:port, port}), do: other(port)
  defp other(pid) when is_pid(pid), do: pid(pid)

  defp other({name, node}) when is_atom(name) and is_atom(node),
    do: text("#{shown(name)} on #{node}")

  defp other(other),
    do: other |> inspect(limit: 5, printable_limit: @longest, structs: false) |> text()

  defp shown(atom) when is_atom(atom), do: atom |> inspect() |> text()

  # A character has at most four bytes. What is cut off is not read: it can be large.
  defp text(text) when is_binary(text) do
    text
    |> binary_part(0, min(byte_size(text), 4 * @longest))
    |> Error.printable()
    |> String.replace(["\n", "\t"], " ")
    |> String.slice(0, @longest)
  end

  defp text(text) when is_list(text) do
    characters = Enum.take(text, @longest)
    true = Enum.all?(characters, &is_integer/1)
    characters |> List.to_string() |> text()
  end

  # `:waiting`, `:ordered_set`: it is printed as it is.
  defp word(atom) when is_atom(atom) do
    true = Atom.to_string(atom) =~ ~r/\A[a-z_]+\z/
    atom
  end

  defp size(value) when is_size(value), do: value
end
