defmodule K8sConnect.Trace.Relay do
  @moduledoc false
  # The local process of a trace, to which the tracer sends. It is a process of its own, because the guard drops
  # messages to those that were there before the connection; and the trace ends with it.

  alias K8sConnect.Error
  alias K8sConnect.Trace.{Event, Tracer}

  # For the tracer to send what it has.
  @timeout 60_000

  @doc """
  Traces, and calls `fun` with each event.
  """
  @spec run(node(), map(), (map() -> term())) :: {:ok, map()} | {:error, Error.t()}
  def run(node, options, fun) do
    caller = self()
    {relay, monitor} = spawn_monitor(fn -> relay(caller, node, options) end)

    try do
      events(relay, monitor, fun)
    after
      Process.demonitor(monitor, [:flush])
      Process.exit(relay, :kill)
    end
  end

  defp events(relay, monitor, fun) do
    receive do
      {^relay, :event, event} ->
        fun.(event)
        events(relay, monitor, fun)

      {^relay, :result, result} ->
        result

      {:DOWN, ^monitor, :process, _relay, reason} ->
        exit(reason)
    end
  end

  defp relay(caller, node, options) do
    Process.monitor(caller)
    reference = make_ref()

    result =
      with {:ok, guardian, functions} <- start(node, reference, options) do
        monitor = Process.monitor(guardian)
        deadline = System.monotonic_time(:millisecond) + options.time + @timeout
        # A call and its return
        state = %{
          caller: caller,
          guardian: monitor,
          node: node,
          left: 2 * options.limit,
          deadline: deadline
        }

        with {:ok, stopped} <- loop(reference, state),
             do: {:ok, Map.put(stopped, :functions, functions)}
      end

    send(caller, {self(), :result, result})
  end

  defp start(node, reference, options) do
    case Tracer.start(node, reference, options) do
      {:ok, guardian, functions}
      when is_pid(guardian) and node(guardian) == node and functions in 0..1_000_000 ->
        {:ok, guardian, functions}

      {kind, %{} = details} ->
        Event.error(kind, node, details)

      other ->
        failed(node, inspect(other, limit: 5, structs: false))
    end
  catch
    :error, {:erpc, :read_only} -> {:error, Error.new(:remote, {:read_only, %{node: node}})}
    :error, {:erpc, :timeout} -> failed(node, "timed out after 30 s")
    :error, {:erpc, _reason} -> lost(node)
    kind, reason -> failed(node, inspect({kind, reason}, limit: 5, structs: false))
  end

  # The node can send without end.
  defp loop(reference, %{caller: caller, node: node} = state) do
    late = System.monotonic_time(:millisecond) > state.deadline

    receive do
      _message when late ->
        ended(node)

      {^reference, %{event: :stopped} = stopped} ->
        await_clean(state.guardian)
        Event.stopped(stopped, node)

      {^reference, event} ->
        forward(Event.parse(event), reference, state)

      {:DOWN, _monitor, :process, ^caller, _reason} ->
        exit(:normal)

      {:DOWN, _monitor, :process, _guardian, :noconnection} ->
        lost(node)

      # The last messages are the tracer's, and this one is the guardian's. A tracer that was killed sends no more.
      {:DOWN, _monitor, :process, _guardian, reason} ->
        wait = if reason == :normal, do: 1000, else: 100
        loop(reference, %{state | deadline: System.monotonic_time(:millisecond) + wait})
    after
      max(0, state.deadline - System.monotonic_time(:millisecond)) -> ended(node)
    end
  end

  # The guardian ends when nothing of the trace is left.
  defp await_clean(monitor) do
    receive do
      {:DOWN, ^monitor, :process, _guardian, _reason} -> :ok
    after
      5000 -> :ok
    end
  end

  # Not more than was asked for, whatever the node sends.
  defp forward(event, reference, %{left: left} = state) when event != nil and left > 0 do
    send(state.caller, {self(), :event, event})
    loop(reference, %{state | left: left - 1})
  end

  defp forward(_event, reference, state), do: loop(reference, state)

  defp ended(node), do: {:error, Error.new(:remote, {:tracer_ended, %{node: node}})}
  defp lost(node), do: {:error, Error.new(:connect, {:lost, %{node: node, reason: nil}})}

  defp failed(node, problem),
    do: {:error, Error.new(:remote, {:not_traced, %{node: node, problem: problem}})}
end
