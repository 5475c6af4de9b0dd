defmodule Mix.K8sConnect.Follow do
  @moduledoc false
  # Prints what happens to a connection: a line when it is lost and one when it is back, or an object for each
  # event with `--json`.

  alias K8sConnect.{Connection, Error, Events, JSON}
  alias Mix.K8sConnect.{Console, Options}

  @doc """
  Prints the events to `device`, or as JSON to standard output, until the connection has ended: by itself, or, with
  nil, because that was asked for.
  """
  @spec run([Connection.t()] | Connection.t(), IO.device(), Options.format()) ::
          {:down, Error.t() | nil}
  def run(connection, device, format) do
    monitor = Process.monitor(connection.session)
    reference = K8sConnect.subscribe(connection)

    loop(
      %{reference: reference, monitor: monitor, node: connection.node, lost: nil},
      device,
      format
    )
  rescue
    # It has ended already.
    error in Error -> {:down, error}
  end

  @doc """
  The same in a process of its own, for a shell that starts after this task.
  """
  @spec start(Connection.t()) :: pid()
  def start(connection) do
    device = Process.group_leader()

    spawn(fn ->
      {:down, error} = run(connection, device, :text)
      ended(error, connection, device)
    end)
  end

  @doc """
  Says why a connection has ended under a shell that goes on.
  """
  @spec ended(Error.t() | nil, Connection.t(), IO.device()) :: :ok
  def ended(nil, connection, device), do: say(device, "disconnected from #{connection.node}")
  def ended(error, _connection, device), do: say(device, Console.sentence(error))

  defp loop(%{reference: reference, monitor: monitor} = state, device, format) do
    receive do
      {:k8s_connect, ^reference, {:down, error}} ->
        {:down, error}

      {:k8s_connect, ^reference, event} ->
        event |> print(state, device, format) |> loop(device, format)

      {:DOWN, ^monitor, :process, _session, _reason} ->
        stopped(state.node, :init.get_status())
    end
  end

  # The VM stops, and the connection with it.
  defp stopped(_node, {:stopping, _progress}), do: Process.sleep(:infinity)

  defp stopped(node, _status),
    do: {:down, Error.new(:connect, {:lost, %{node: node, reason: nil}})}

  # The first event is what the connection is already.
  defp print({:up, _connection}, %{lost: nil} = state, _device, :text), do: state

  defp print({:up, %{node: node}}, state, device, :text) do
    say(device, "connected to #{node}")
    %{state | node: node, lost: nil}
  end

  defp print({:reconnecting, error, _attempt, _delay}, %{lost: nil} = state, device, :text) do
    say(device, "lost #{state.node} (#{Events.cause(error)}), reconnecting …")
    %{state | lost: error}
  end

  defp print({:reconnecting, _error, _attempt, _delay}, state, _device, :text), do: state

  defp print(event, state, _device, :json) do
    event |> object() |> JSON.encode() |> IO.puts()
    state
  end

  defp object({:up, connection}), do: %{event: :up, connection: Console.object(connection)}

  defp object({:reconnecting, error, attempt, delay}),
    do: %{event: :reconnecting, attempt: attempt, delay_ms: delay, error: Error.to_map(error)}

  defp say(device, text), do: IO.puts(device, Error.printable(text))
end
