defmodule K8sConnect.NodeMonitor do
  @moduledoc false
  # Tells each pod connection when its node goes down, and why. One process subscribes for all of them: `net_kernel` sends
  # each subscriber a message for every node, which is a million messages for a thousand nodes.

  use GenServer

  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(_options), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @doc """
  The calling process receives `{:nodedown, node, info}` when `node` goes down from now on. Call it before the node is
  connected, because it may go down at any time.
  """
  @spec monitor(node()) :: :ok
  def monitor(node), do: GenServer.call(__MODULE__, {:monitor, node}, :infinity)

  @impl true
  def init([]) do
    :ok = :net_kernel.monitor_nodes(true, [:nodedown_reason, node_type: :all])
    {:ok, %{nodes: %{}, monitors: %{}}}
  end

  # nodes: node => pid, monitors: reference => {node, pid}

  @impl true
  def handle_call({:monitor, node}, {pid, _tag}, state) do
    case state.nodes do
      %{^node => ^pid} ->
        {:reply, :ok, state}

      _new ->
        monitors = Map.put(state.monitors, Process.monitor(pid), {node, pid})
        {:reply, :ok, %{nodes: Map.put(state.nodes, node, pid), monitors: monitors}}
    end
  end

  @impl true
  def handle_info({:nodedown, node, info}, state) do
    with %{^node => pid} <- state.nodes, do: send(pid, {:nodedown, node, info})
    {:noreply, state}
  end

  def handle_info({:DOWN, monitor, :process, _pid, _reason}, state) do
    {{node, pid}, monitors} = Map.pop!(state.monitors, monitor)
    # The node may have another pod connection by now.
    nodes = if state.nodes[node] == pid, do: Map.delete(state.nodes, node), else: state.nodes
    {:noreply, %{nodes: nodes, monitors: monitors}}
  end

  def handle_info(_nodeup, state), do: {:noreply, state}
end
