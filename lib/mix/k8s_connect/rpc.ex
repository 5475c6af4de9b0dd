defmodule Mix.K8sConnect.Rpc do
  @moduledoc false
  # Expressions that are evaluated on a node.

  alias K8sConnect.{Error, EscapeSequences, PlainTerm}
  alias Mix.K8sConnect.{Expressions, Output}
  alias Mix.K8sConnect.Rpc.Evaluator

  # The node takes up to 300 times as much memory to format a value.
  @max_value 1024 * 1024
  @max_text 64 * @max_value
  @max_notes 100
  # How long to wait for the end of a process that was killed.
  @kill_timeout 5_000

  @typedoc "A result, a warning of the compiler, or that the node has only Erlang."
  @type event :: {:result, String.t()} | {:warning, String.t()} | :only_erlang

  @doc """
  Evaluates the expressions on `node` one after the other until one fails. Calls `report` with each event and an
  accumulator, and returns the last accumulator.
  """
  @spec evaluate(Expressions.t(Expressions.expression()), node(), acc, (event(), acc -> acc)) ::
          {:ok | {:error, Error.t()}, acc}
        when acc: term()
  def evaluate(rpc, node, acc, report) do
    # What runs on the node ends with this process.
    Task.await(Task.async(fn -> run(rpc, node, acc, report) end), :infinity)
  end

  @doc """
  Prints what is no result to standard error, unless `--quiet` is given.
  """
  @spec note(event() | :ok, Expressions.t(), prefix :: String.t()) :: :ok
  def note(:ok, _rpc, _prefix), do: :ok
  def note(_event, %{quiet: true}, _prefix), do: :ok
  def note({:warning, text}, _rpc, prefix), do: Output.say(prefix <> text)

  def note(:only_erlang, _rpc, prefix),
    do: Output.say("#{prefix}language     Erlang, because the node has no Elixir")

  defp run(rpc, node, acc, report) do
    case start(rpc, node) do
      {:ok, language, evaluator} -> each(rpc, node, {language, evaluator}, acc, report)
      {:error, error} -> {{:error, error}, acc}
    end
  end

  # A process of another node would get the calls, and be killed after a timeout.
  defp start(rpc, node) do
    language = language(rpc, node)

    case Evaluator.start(node, language, @max_value, rpc.timeout) do
      evaluator when is_pid(evaluator) and node(evaluator) == node -> {:ok, language, evaluator}
      other -> error({:raised, PlainTerm.show(other)}, node, false)
    end
  catch
    :error, {:erpc, :timeout} -> error({:timeout, %{timeout_ms: rpc.timeout}}, node, false)
    :error, {:erpc, _reason} -> lost(node)
    kind, reason -> error({:raised, "** (#{kind}) #{PlainTerm.show(reason)}"}, node, false)
  end

  defp each(rpc, node, {language, evaluator}, acc, report) do
    only_erlang = language == :erlang and not rpc.erlang
    acc = if only_erlang, do: report.(:only_erlang, acc), else: acc

    Enum.reduce_while(rpc.expressions, {:ok, acc}, fn expression, {:ok, acc} ->
      case expression |> call(evaluator, rpc.timeout) |> result() do
        {:ok, shown, warnings} ->
          acc = Enum.reduce(warnings, acc, &report.({:warning, &1}, &2))
          {:cont, {:ok, report.({:result, shown}, acc)}}

        {:error, reason} ->
          {:halt, {error(reason, node, only_erlang), acc}}
      end
    end)
  end

  defp error(:lost, node, _only_erlang), do: lost(node)

  defp error({:raised, text}, node, only_erlang) do
    details = %{node: node, text: text, only_erlang: only_erlang}
    {:error, Error.new(:remote, {:raised, details})}
  end

  defp error({kind, details}, node, _only_erlang),
    do: {:error, Error.new(:remote, {kind, Map.put(details, :node, node)})}

  defp lost(node), do: {:error, Error.new(:connect, {:lost, %{node: node, reason: nil}})}

  defp language(%{erlang: true}, _node), do: :erlang

  # A release can have Elixir's modules for its tools, without the application.
  defp language(rpc, node) do
    elixir = :erpc.call(node, :erlang, :whereis, [:elixir_sup], rpc.timeout)
    if is_pid(elixir), do: :elixir, else: :erlang
  end

  defp call({file, source}, evaluator, timeout) do
    Evaluator.evaluate(evaluator, file, source, timeout)
  catch
    :error, {:erpc, :timeout} ->
      kill(evaluator)
      {:timeout, timeout}

    :error, {:erpc, _reason} ->
      :lost

    # Another process killed it, or one that it was linked to.
    :exit, {:exception, {reason, {:gen_server, :call, _arguments}}} ->
      {:exit, reason}

    kind, reason ->
      {:exit, {kind, reason}}
  end

  defp kill(evaluator) do
    monitor = Process.monitor(evaluator)
    Process.exit(evaluator, :kill)

    receive do
      {:DOWN, ^monitor, :process, _pid, _reason} -> :ok
    after
      @kill_timeout -> :ok
    end
  end

  defp result(:lost), do: {:error, :lost}
  defp result({:timeout, timeout}), do: {:error, {:timeout, %{timeout_ms: timeout}}}
  defp result({:exit, reason}), do: {:error, {:raised, "** (exit) #{PlainTerm.show(reason)}"}}

  # The node keeps to these limits, unless it is not what it says.
  defp result({{:value, shown}, _notes}) when byte_size(shown) > @max_text,
    do: {:error, {:too_large, %{size: byte_size(shown), limit: @max_text}}}

  defp result({{:value, shown}, notes}) when is_binary(shown) and length(notes) >= 0,
    do: {:ok, text(shown), notes(notes)}

  defp result({{:raised, shown}, notes}) when is_binary(shown) and length(notes) >= 0,
    do: {:error, {:raised, [shown | notes] |> notes() |> Enum.join("\n") |> cut() |> text()}}

  defp result({{:too_large, size}, _notes}) when size in 0..0xFFFF_FFFF_FFFF,
    do: {:error, {:too_large, %{size: size, limit: @max_value}}}

  defp result(other), do: {:error, {:raised, PlainTerm.show(other)}}

  defp notes(notes), do: for(note <- Enum.take(notes, @max_notes), do: note |> cut() |> text())

  defp cut(note) when is_binary(note), do: binary_part(note, 0, min(byte_size(note), @max_value))
  defp cut(other), do: other

  # `inspect` there escapes control characters, unless the node is not what it says.
  defp text(shown) when is_binary(shown),
    do: :unicode |> EscapeSequences.text(shown) |> to_string() |> String.trim_trailing("\n")

  defp text(other), do: PlainTerm.show(other)
end
