defmodule Mix.K8sConnect.Follow do
  @moduledoc false
  # Prints what happens to a connection: a line when it is lost and one when it is back, or an object for each
  # event with `--json`.

  alias K8sConnect.{Connection, Error, Events, JSON}
  alias Mix.K8sConnect.{Options, Output}

  @doc """
  Prints the events to `device`, or as JSON to standard output, until the connection has ended: by itself, or, with
  nil, because that was asked for.
  """
  @spec run(Connection.t(), IO.device(), Options.format()) ::
          {:down, Error.t() | nil}
  def run(connection, device, format) do
    # They would tell the same.
    Application.put_env(:k8s_connect, :log, false)
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
  The same for all connections of what `K8sConnect.connect_all/2` has returned.
  """
  @spec all(pid(), IO.device(), Options.format()) :: {:down, Error.t() | nil}
  def all(group, device, format) do
    Application.put_env(:k8s_connect, :log, false)
    monitor = Process.monitor(group)
    reference = K8sConnect.subscribe(group)
    up = for %{node: node, session: session} <- K8sConnect.connections(group), do: {session, node}
    loop_all(%{reference: reference, monitor: monitor, up: Map.new(up)}, device, format)
  rescue
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
  @spec ended(Error.t() | nil, %{:node => node(), optional(atom()) => term()}, IO.device()) :: :ok
  def ended(nil, connection, device), do: say(device, "disconnected from #{connection.node}")
  def ended(error, _connection, device), do: say(device, Error.message(error, :cli))

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

  defp loop_all(%{reference: reference, monitor: monitor} = state, device, format) do
    receive do
      {:k8s_connect, ^reference, {:down, error}} ->
        {:down, error}

      {:k8s_connect, ^reference, session, event} ->
        loop_all(print_one(event, session, state, device, format), device, format)

      {:DOWN, ^monitor, :process, _group, _reason} ->
        stopped("the pods", :init.get_status())
    end
  end

  # Each has the state that one connection has.
  defp print_one({:down, error}, session, state, device, format) do
    {node, up} = Map.pop(state.up, session)
    if format == :text and node, do: ended(error, %{node: node}, device)

    if format == :json,
      do: Output.print(%{event: :down, node: node, error: error && Error.to_map(error)})

    %{state | up: up}
  end

  defp print_one({:up, %{node: node}}, session, state, device, format)
       when not is_map_key(state.up, session) do
    _ = print({:up, %{node: node}}, %{node: node, lost: :new}, device, format)
    put_in(state.up[session], node)
  end

  defp print_one(event, session, state, device, format) do
    lost = Map.get(state, :lost, %{})
    one = %{node: state.up[session], lost: lost[session]}
    one = print(event, one, device, format)

    Map.merge(state, %{
      lost: Map.put(lost, session, one.lost),
      up: Map.put(state.up, session, one.node)
    })
  end

  # The VM stops, and the connection with it.
  defp stopped(_node, {:stopping, _progress}) do
    Process.sleep(:infinity)
    {:down, nil}
  end

  defp stopped(node, _status),
    do: {:down, Error.new(:connect, {:lost, %{node: node, reason: nil}})}

  # The first event is what the connection is already.
  defp print({:up, _connection}, %{lost: nil} = state, _device, _format), do: state

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
    %{state | lost: if(elem(event, 0) == :reconnecting, do: elem(event, 1))}
  end

  defp object({:up, connection}), do: %{event: :up, connection: Output.object(connection)}

  defp object({:reconnecting, error, attempt, delay}),
    do: %{event: :reconnecting, attempt: attempt, delay_ms: delay, error: Error.to_map(error)}

  defp say(device, text), do: IO.puts(device, Error.printable(text))
end
