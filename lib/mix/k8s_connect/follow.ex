defmodule Mix.K8sConnect.Follow do
  @moduledoc false
  # Prints the events of a connection, or of all connections of a group: a line for a loss and a line for the return,
  # or with `--json` an object for each event.

  alias K8sConnect.{Connection, Error, Events}
  alias Mix.K8sConnect.{Options, Output}

  # For an event of a connection that may have ended
  @event_timeout 1_000

  # nodes: session => its node, as last printed; lost: the sessions whose loss was printed
  defstruct [:reference, :monitor, :device, :format, nodes: %{}, lost: MapSet.new()]

  @doc """
  Prints the events until the end of the connection or the group, and returns its error, or nil if the user ended it.
  Text goes to `device`, JSON to standard output.
  """
  @spec run(Connection.t() | pid(), IO.device(), Options.format()) :: {:down, Error.t() | nil}
  def run(followed, device, format) do
    loop(%__MODULE__{
      reference: K8sConnect.subscribe(followed),
      monitor: Process.monitor(process(followed)),
      device: device,
      format: format,
      nodes: nodes(followed)
    })
  rescue
    # `subscribe/1`: the connection has ended already.
    error in Error -> {:down, error}
  end

  @doc """
  The same in a process of its own, for the shell that `iex -S mix` starts after the task.
  """
  @spec start(Connection.t() | pid()) :: pid()
  def start(followed) do
    device = Process.group_leader()

    spawn(fn ->
      {:down, error} = run(followed, device, :text)
      print_end(error, device)
    end)
  end

  @doc """
  Calls the function, and returns its result with a line for each kind of thing that the guard has refused meanwhile.
  """
  @spec refused(Connection.t(), (() -> result)) :: {result, [String.t()]} when result: term()
  def refused(connection, fun) do
    before = refused_kinds(connection)
    reference = subscribe(connection)
    result = fun.()
    # They are counted before the result passes. Their events come later, in any order.
    lines =
      for kind <- refused_kinds(connection) -- before, do: first(kind, reference, connection)

    {result, List.flatten(lines)}
  end

  defp refused_kinds(connection),
    do: connection |> K8sConnect.status() |> Map.get(:refused, %{}) |> Map.keys()

  defp subscribe(connection) do
    K8sConnect.subscribe(connection)
  rescue
    # It has ended already.
    Error -> make_ref()
  end

  defp first(kind, reference, %{node: node}) do
    receive do
      {:k8s_connect, ^reference, {:refused, ^kind, detail}} -> refusal(node, kind, detail)
    after
      @event_timeout -> []
    end
  end

  @doc """
  Prints why the connection has ended, for a shell that goes on.
  """
  @spec print_end(Error.t() | nil, IO.device()) :: :ok
  def print_end(nil, device), do: say(device, "disconnected")
  def print_end(error, device), do: say(device, Error.message(error, :cli))

  defp process(%Connection{session: session}), do: session
  defp process(group), do: group

  # What the task has printed already
  defp nodes(%Connection{session: session, node: node}), do: %{session => node}

  defp nodes(group),
    do: for(c <- K8sConnect.connections(group), into: %{}, do: {c.session, c.node})

  defp loop(%{reference: reference, monitor: monitor} = state) do
    receive do
      {:k8s_connect, ^reference, {:down, error}} ->
        {:down, error}

      {:k8s_connect, ^reference, event} ->
        [session] = Map.keys(state.nodes)
        event |> event(session, state) |> loop()

      {:k8s_connect, ^reference, session, event} ->
        event |> event(session, state) |> loop()

      {:DOWN, ^monitor, :process, _pid, _reason} ->
        stopped(:init.get_status())
    end
  end

  # The VM is stopping, and with it the connection. Its exit code is that of the stop.
  defp stopped({:stopping, _progress}) do
    Process.sleep(:infinity)
    {:down, nil}
  end

  defp stopped(_status), do: {:down, nil}

  defp event({:up, %{node: node} = connection}, session, state) do
    if state.nodes[session] != node or session in state.lost,
      do:
        print(state, "connected to #{node}", %{event: :up, connection: Output.object(connection)})

    nodes = Map.put(state.nodes, session, node)
    %{state | nodes: nodes, lost: MapSet.delete(state.lost, session)}
  end

  defp event({:reconnecting, error, attempt, delay}, session, state) do
    first = session not in state.lost
    text = if first, do: "lost #{state.nodes[session]} (#{Events.cause(error)}), reconnecting …"

    object = %{
      event: :reconnecting,
      attempt: attempt,
      delay_ms: delay,
      error: Error.to_map(error)
    }

    # A new pod of a group, whose node has not answered yet
    if state.nodes[session], do: print(state, text, object)
    %{state | lost: MapSet.put(state.lost, session)}
  end

  defp event({:refused, kind, detail}, session, state) do
    text = refusal(state.nodes[session], kind, detail)
    print(state, text, %{event: :refused, kind: kind, detail: detail})
    state
  end

  # Of one connection of a group
  defp event({:down, error}, session, state) do
    {node, nodes} = Map.pop(state.nodes, session)
    text = if error, do: Error.message(error, :cli), else: "disconnected from #{node}"
    object = %{event: :down, node: node, error: error && Error.to_map(error)}
    if node || error, do: print(state, text, object)
    %{state | nodes: nodes, lost: MapSet.delete(state.lost, session)}
  end

  defp refusal(node, kind, detail) do
    option = if kind == :read_only, do: "--read-only", else: "--trust"
    "#{Events.refusal(node, kind, detail)}. See #{option}"
  end

  defp print(%{format: :json}, _text, object), do: Output.print(object)
  defp print(_state, nil, _object), do: :ok
  defp print(%{device: device}, text, _object), do: say(device, text)

  defp say(device, text), do: IO.puts(device, Error.printable(text))
end
