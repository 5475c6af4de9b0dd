defmodule K8sConnect.NodeMonitor do
  @moduledoc false
  # Tells each pod connection when its node goes down, and why. One process subscribes for all of them: `net_kernel` sends
  # each subscriber a message for every node, which is a million messages for a thousand nodes.

  use GenServer

  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(_options), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @doc """
  The calling process receives `{:nodedown, node, info}` when `node` goes down after it has come up. Call it before the
  node is connected. The end of an earlier connection can be told late, and is not that of the next one.
  """
  @spec monitor(node()) :: :ok
  def monitor(node), do: GenServer.call(__MODULE__, {:monitor, node}, :infinity)

  @impl true
  def init([]) do
    :ok = :net_kernel.monitor_nodes(true, [:nodedown_reason, node_type: :all])
    {:ok, %{nodes: %{}, monitors: %{}}}
  end

  # nodes: node => {pid, up?}, monitors: reference => {node, pid}

  @impl true
  def handle_call({:monitor, node}, {pid, _tag}, state) do
    monitors =
      case state.nodes do
        %{^node => {^pid, _up}} -> state.monitors
        _new -> Map.put(state.monitors, Process.monitor(pid), {node, pid})
      end

    {:reply, :ok, %{nodes: Map.put(state.nodes, node, {pid, false}), monitors: monitors}}
  end

  @impl true
  def handle_info({:nodeup, node, _info}, state), do: {:noreply, set_up(node, true, state)}

  def handle_info({:nodedown, node, info}, state) do
    with %{^node => {pid, true}} <- state.nodes, do: send(pid, {:nodedown, node, info})
    {:noreply, set_up(node, false, state)}
  end

  def handle_info({:DOWN, monitor, :process, _pid, _reason}, state) do
    {{node, pid}, monitors} = Map.pop!(state.monitors, monitor)
    # The node may have another pod connection by now.
    nodes =
      case state.nodes do
        %{^node => {^pid, _up}} -> Map.delete(state.nodes, node)
        nodes -> nodes
      end

    {:noreply, %{nodes: nodes, monitors: monitors}}
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp set_up(node, up, state) do
    case state.nodes do
      %{^node => {pid, _before}} -> put_in(state.nodes[node], {pid, up})
      _of_another -> state
    end
  end
end
