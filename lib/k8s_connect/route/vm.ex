defmodule K8sConnect.Route.VM do
  @moduledoc false
  # How a node's address leads to its pod from inside of this BEAM: a distribution module in front
  # of the ordinary one in `net_kernel`, which takes connections to attached nodes from their link.
  # No privilege, no VM flag, no open port; every other node connects as ever.
  #
  # One process serves all nodes. It puts the module in with the first node and takes it out with
  # the last, starts the distribution where there was none and then stops it again, and lets go of
  # a node when its session dies. After that the node has a tombstone for as long as others are
  # attached: a stray message to it then fails at once instead of dialling an address that leads
  # nowhere.

  use GenServer

  alias K8sConnect.{Distribution, Error}
  alias K8sConnect.Route.VM.{Carrier, NetKernel, Table}

  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(_options), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @doc """
  Makes `node` reachable through the socket at `path`, which takes one connection, until the
  calling process dies or detaches it.
  """
  @spec attach(node(), String.t(), (() -> binary())) :: :ok | {:error, Error.t()}
  def attach(node, path, cookie) do
    GenServer.call(__MODULE__, {:attach, node, path, cookie}, :infinity)
  end

  @doc """
  Takes the calling process's nodes off their route; open connections to them are closed.
  """
  @spec detach() :: :ok
  def detach, do: GenServer.call(__MODULE__, :detach, :infinity)

  @impl true
  def init([]) do
    # `terminate/2` must run when the application stops.
    Process.flag(:trap_exit, true)
    :ok = Table.new()
    # Where another one of us was killed, it has left its work in net_kernel.
    {:ok, leave(%{nodes: %{}})}
  end

  # nodes: node => {owner, monitor}

  @impl true
  def handle_call({:attach, node, path, cookie}, {owner, _tag}, state) do
    with :ok <- check_free(node, state),
         :ok <- Distribution.ensure(node),
         :ok <- NetKernel.install(Carrier) do
      Distribution.set_cookie(node, cookie.())
      Table.put(node, path)
      {:reply, :ok, put_in(state.nodes[node], {owner, Process.monitor(owner)})}
    else
      {:error, reason} -> {:reply, {:error, Error.new(:route, reason)}, leave_if_last(state)}
    end
  end

  def handle_call(:detach, {owner, _tag}, state), do: {:reply, :ok, let_go_of(owner, state)}

  @impl true
  def handle_info({:DOWN, _monitor, :process, owner, _reason}, state) do
    {:noreply, let_go_of(owner, state)}
  end

  def handle_info(_other, state), do: {:noreply, state}

  @impl true
  def terminate(_reason, state) do
    state.nodes |> Map.keys() |> Enum.each(&bury/1)
    leave(state)
  end

  # Two clusters may have pods of one address, and so nodes of one name.
  defp check_free(node, state) do
    taken? = is_map_key(state.nodes, node) or node in Node.list(:connected)
    if taken?, do: {:error, {:node_taken, %{node: node}}}, else: :ok
  end

  defp let_go_of(owner, state) do
    {mine, others} = Enum.split_with(state.nodes, fn {_node, {pid, _monitor}} -> pid == owner end)

    for {node, {_owner, monitor}} <- mine do
      Process.demonitor(monitor, [:flush])
      bury(node)
    end

    leave_if_last(%{state | nodes: Map.new(others)})
  end

  defp bury(node) do
    Table.bury(node)
    Node.disconnect(node)
    Distribution.forget_cookie(node)
  end

  defp leave_if_last(%{nodes: nodes} = state) when nodes == %{}, do: leave(state)
  defp leave_if_last(state), do: state

  defp leave(state) do
    _ = NetKernel.remove(Carrier)
    Table.clear()
    Distribution.stop()
    state
  end
end
