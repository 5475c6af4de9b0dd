defmodule K8sConnect.Route do
  @moduledoc false
  # How a node's address leads to its pod. There are three routes: from inside of this BEAM, without
  # any privilege (`Route.VM`), by the kernel, for every program of this user (`Route.Kernel`), and for
  # one command (`Route.Exec`), where this BEAM does not connect itself.
  #
  # One process serves all nodes on all of them. It makes this BEAM a node where it is none and takes that
  # back with the last of them, sets the cookie of each, and lets go of a node when its session dies.

  use GenServer

  alias K8sConnect.{Connection, Distribution, Error, Route}
  alias K8sConnect.Helper.Program
  alias K8sConnect.Route.Behaviour

  @type options :: Behaviour.options()

  @doc """
  The routes to try, in this order, and why: the kernel's is taken by itself only where an admin
  has installed the helper.
  """
  @spec choose(options()) :: {[:vm | :kernel | :exec], String.t()}
  def choose(%{route: :vm}), do: {[:vm], "vm, as asked for"}
  def choose(%{route: :kernel}), do: {[:kernel], "kernel, as asked for"}

  def choose(%{route: :exec}), do: {[:exec], "exec, for one command"}

  def choose(%{route: :auto}) do
    if Program.installed?(),
      do: {[:kernel, :vm], "kernel, as there is #{Program.path()}"},
      else:
        {[:vm], "vm, as no helper is installed (mix help k8s.helper; for other programs: --exec)"}
  end

  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(_options), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @doc """
  Makes the node of `connection` reachable by its route, until the calling process dies or detaches
  it; `session` is the native one. Where the route is lost before that, the calling process gets
  `{:route_lost, error}`.
  """
  @spec attach(Connection.t(), reference(), (() -> binary()), options()) ::
          :ok | {:error, Error.t()}
  def attach(connection, session, cookie, options) do
    with {:ok, prepared} <- module(connection.route).prepare(connection, session, options) do
      request = {:attach, connection.node, connection.route, prepared, cookie}
      GenServer.call(__MODULE__, request, :infinity)
    end
  end

  @doc """
  Connects to a node that was attached.
  """
  @spec connect(Connection.t(), options()) :: boolean()
  def connect(connection, options),
    do: module(connection.route).connect(connection.node, options) == true

  @doc """
  What a person should know of the way to a node that was attached; `nil` where that is nothing.
  """
  @spec note(Connection.t()) :: String.t() | nil
  def note(%{route: :kernel} = connection), do: Route.Kernel.note(connection)
  def note(%{route: :exec} = connection), do: Route.Exec.note(connection)
  def note(%{route: :vm}), do: nil

  @doc """
  Takes the calling process's nodes off their route; open connections to them are closed.
  """
  @spec detach() :: :ok
  def detach, do: GenServer.call(__MODULE__, :detach, :infinity)

  @doc """
  What the route of `node` keeps about it.
  """
  @spec attached(node()) :: {:vm | :kernel | :exec, term()} | nil
  def attached(node), do: GenServer.call(__MODULE__, {:attached, node})

  @impl true
  def init([]) do
    # `terminate/2` must run when the application stops.
    Process.flag(:trap_exit, true)
    :ok = Route.VM.new()
    # Where another one of us was killed, it has left its work in this BEAM.
    {:ok, leave(%{nodes: %{}})}
  end

  # nodes: node => {owner, monitor, route, attached}

  @impl true
  def handle_call({:attach, node, route, prepared, cookie}, {owner, _tag}, state) do
    with :ok <- check_free(node, state),
         :ok <- ensure_distribution(route, node),
         {:ok, attached} <- module(route).attach(node, prepared) do
      if connects?(route), do: Distribution.set_cookie(node, cookie.())
      entry = {owner, Process.monitor(owner), route, attached}
      {:reply, :ok, put_in(state.nodes[node], entry)}
    else
      {:error, error} -> {:reply, {:error, error}, leave(state)}
    end
  end

  def handle_call(:detach, {owner, _tag}, state), do: {:reply, :ok, let_go_of(owner, state)}

  def handle_call({:attached, node}, _from, state) do
    with {_owner, _monitor, route, attached} <- state.nodes[node] do
      {:reply, {route, attached}, state}
    else
      nil -> {:reply, nil, state}
    end
  end

  @impl true
  def handle_info({:DOWN, _monitor, :process, owner, _reason}, state) do
    {:noreply, let_go_of(owner, state)}
  end

  def handle_info({:redirects_lost, node, error}, state) do
    with {owner, _monitor, :kernel, _attached} <- state.nodes[node],
         do: send(owner, {:route_lost, error})

    {:noreply, state}
  end

  def handle_info(_other, state), do: {:noreply, state}

  @impl true
  def terminate(_reason, state) do
    Enum.each(state.nodes, &let_go/1)
    leave(%{nodes: %{}})
  end

  # Two clusters may have pods of one address, and so nodes of one name.
  defp check_free(node, state) do
    taken? = is_map_key(state.nodes, node) or node in Node.list(:connected)
    if taken?, do: {:error, Error.new(:route, {:node_taken, %{node: node}})}, else: :ok
  end

  # Whether this BEAM itself connects to the node.
  defp connects?(route), do: route != :exec

  defp ensure_distribution(:exec, _node), do: :ok

  defp ensure_distribution(_route, node) do
    with {:error, reason} <- Distribution.ensure(node), do: {:error, Error.new(:route, reason)}
  end

  defp let_go_of(owner, state) do
    {mine, others} =
      Enum.split_with(state.nodes, fn {_node, entry} -> elem(entry, 0) == owner end)

    Enum.each(mine, &let_go/1)
    leave(%{state | nodes: Map.new(others)})
  end

  defp let_go({node, {_owner, monitor, route, attached}}) do
    Process.demonitor(monitor, [:flush])
    module(route).detach(node, attached)

    if connects?(route) do
      Node.disconnect(node)
      Distribution.forget_cookie(node)
    end
  end

  # Each route's last node, and the last node of all.
  defp leave(%{nodes: nodes} = state) do
    used = for {_node, {_owner, _monitor, route, _attached}} <- nodes, do: route
    for route <- [:vm, :kernel, :exec], route not in used, do: module(route).leave()
    if nodes == %{}, do: Distribution.stop()
    state
  end

  defp module(:vm), do: Route.VM
  defp module(:kernel), do: Route.Kernel
  defp module(:exec), do: Route.Exec
end
