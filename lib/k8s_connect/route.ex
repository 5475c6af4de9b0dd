defmodule K8sConnect.Route do
  @moduledoc false
  # The route decides which programs can connect to a node: only this VM, without privileges (`Route.VM`); every
  # program of this user (`Route.Kernel`); or one command, while this VM does not connect itself (`Route.Exec`).
  #
  # One process keeps the table of attached nodes with their owners, and a queue of jobs. Jobs change the state that
  # all nodes share: the local node, its cookies, `net_kernel`, and the table of hosts. Only one job runs at a time,
  # in a process of its own and with a timeout, so a `net_kernel` that does not answer fails only that job.

  use GenServer

  alias K8sConnect.{Connection, Distribution, Error, Native, Route}
  alias K8sConnect.Helper.Program
  alias K8sConnect.Route.Behaviour

  @type options :: Behaviour.options()
  @type route :: :vm | :kernel | :exec

  # `:net_kernel.start/2` and calls of `net_kernel` have no timeout.
  @job_timeout 10_000
  # The supervisor kills this process after 5 seconds.
  @stop_timeout 4_000

  defstruct nodes: %{}, queue: :queue.new(), job: nil

  @doc """
  The routes to try in order, and the reason. `:auto` prefers the kernel route only if an admin has
  installed the helper.
  """
  @spec choose(options()) :: {[route()], String.t()}
  def choose(%{route: :vm}), do: {[:vm], "vm, as requested"}
  def choose(%{route: :kernel}), do: {[:kernel], "kernel, as requested"}

  def choose(%{route: :exec}), do: {[:exec], "exec, for one command"}

  def choose(%{route: :auto}) do
    cond do
      not Native.linux?() ->
        {[:vm], "vm, the only one on this system"}

      Program.installed?() ->
        {[:kernel, :vm], "kernel, because #{Program.path()} is installed"}

      true ->
        {[:vm],
         "vm, because no helper is installed (mix help k8s.helper; for other programs: --exec)"}
    end
  end

  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(_options), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @doc """
  Reserves the name of a node for `owner`, until it exits or detaches the node.
  """
  @spec reserve(node(), pid()) :: :ok | {:error, Error.t()}
  def reserve(node, owner), do: GenServer.call(__MODULE__, {:reserve, node, owner})

  @doc """
  Makes the node of `connection` reachable over its route, until `owner`, which has reserved it, exits or detaches it.
  """
  @spec attach(Connection.t(), pid(), reference(), Behaviour.guarded_options()) ::
          :ok | {:error, Error.t()}
  def attach(%{node: node, route: route} = connection, owner, native, options) do
    with {:ok, prepared} <- module(route).prepare(connection, owner, native, options) do
      # The timeout is that of the job.
      GenServer.call(__MODULE__, {:attach, node, owner, route, prepared}, :infinity)
    end
  end

  @doc """
  Connects to an attached node.
  """
  @spec connect(Connection.t(), options()) :: boolean()
  def connect(connection, options),
    do: module(connection.route).connect(connection.node, options) == true

  @doc """
  How other programs resolve the host of an attached node; `nil` if they need no instructions.
  """
  @spec note(Connection.t()) :: String.t() | nil
  def note(%{route: :kernel} = connection), do: Route.Kernel.note(connection)
  def note(%{route: :exec} = connection), do: Route.Exec.note(connection)
  def note(%{route: :vm}), do: nil

  @doc """
  Detaches the nodes of `owner`, and closes open connections to them before it returns.
  """
  @spec detach(pid()) :: :ok
  def detach(owner), do: GenServer.call(__MODULE__, {:detach, owner}, :infinity)

  @doc """
  The cookie of a node that is attached on the vm route.
  """
  @spec cookie(node()) :: atom()
  def cookie(node) do
    {:vm, %{cookies: cookies}} = attached(node)
    {cookie, _local} = cookies.()
    Distribution.to_atom(cookie)
  end

  @doc """
  The route of `node` and the state of that route for the node.
  """
  @spec attached(node()) :: {route(), term()} | nil
  def attached(node), do: GenServer.call(__MODULE__, {:attached, node})

  @impl true
  def init([]) do
    # `terminate/2` must run when the application stops.
    Process.flag(:trap_exit, true)
    :ok = Route.VM.new()
    # If this process was killed, its changes are still in this VM.
    {:ok, enqueue(%__MODULE__{}, :leave)}
  end

  # nodes: node => %{owner: pid, monitor: reference, attached: {route, term} | nil}

  @impl true
  def handle_call({:reserve, node, owner}, _from, state) do
    state = detach_dead(node, state)

    case check_free(node, owner, state) do
      :ok -> {:reply, :ok, reserve(node, owner, state)}
      {:error, error} -> {:reply, {:error, error}, state}
    end
  end

  def handle_call({:attach, node, owner, route, prepared}, from, state),
    do: {:noreply, enqueue(state, {:attach, from, {node, owner}, route, prepared})}

  def handle_call({:detach, owner}, from, state),
    do: {:noreply, owner |> detach_all(state) |> enqueue({:reply, from, :ok})}

  def handle_call({:attached, node}, _from, state),
    do: {:reply, with(%{attached: attached} <- state.nodes[node], do: attached), state}

  @impl true
  def handle_info(
        {:DOWN, monitor, :process, _job, reason},
        %{job: {_pid, monitor, timer, job}} = state
      ) do
    _ = Process.cancel_timer(timer)

    result =
      case {reason, job} do
        {{:done, result}, _job} -> result
        {:owner_gone, {:attach, _, {node, _}, _, _}} -> {:error, lost(node)}
        {_killed, _job} -> timed_out(job)
      end

    {:noreply, job |> finish(result, %{state | job: nil}) |> next()}
  end

  def handle_info({:DOWN, _monitor, :process, owner, _reason}, state),
    do: {:noreply, detach_all(owner, state)}

  def handle_info({:job_timeout, pid}, %{job: {pid, _monitor, _timer, _job}} = state) do
    Process.exit(pid, :kill)
    {:noreply, state}
  end

  def handle_info(_other, state), do: {:noreply, state}

  @impl true
  def terminate(_reason, state) do
    with {pid, _monitor, _timer, _job} <- state.job, do: Process.exit(pid, :kill)

    jobs =
      for {node, %{attached: {route, attached}}} <- state.nodes,
          do: {:detach, node, route, attached}

    {pid, monitor} = spawn_monitor(fn -> Enum.each(jobs ++ [{:leave, [], []}], &run/1) end)

    receive do
      {:DOWN, ^monitor, :process, ^pid, _reason} -> :ok
    after
      @stop_timeout -> Process.exit(pid, :kill)
    end
  end

  # The table

  # Pods of two clusters can have the same address, so their nodes can have the same name.
  defp check_free(node, owner, state) do
    cond do
      node == Node.self() ->
        {:error, Error.new(:route, {:own_name, %{node: node}})}

      match?(%{^node => %{owner: ^owner}}, state.nodes) ->
        :ok

      is_map_key(state.nodes, node) or node in Node.list(:connected) ->
        {:error, Error.new(:route, {:node_taken, %{node: node}})}

      true ->
        :ok
    end
  end

  # A session starts the next attempt when it learns that the last one ended. The monitor's message may be later.
  defp detach_dead(node, state) do
    with %{^node => %{owner: owner}} <- state.nodes, false <- Process.alive?(owner) do
      detach_all(owner, state)
    else
      _free_or_alive -> state
    end
  end

  defp reserve(node, owner, state) do
    if is_map_key(state.nodes, node) do
      state
    else
      entry = %{owner: owner, monitor: Process.monitor(owner), attached: nil}
      put_in(state.nodes[node], entry)
    end
  end

  defp detach_all(owner, state) do
    {gone, kept} = Enum.split_with(state.nodes, fn {_node, entry} -> entry.owner == owner end)
    for {_node, %{monitor: monitor}} <- gone, do: Process.demonitor(monitor, [:flush])

    jobs =
      for {node, %{attached: {route, attached}}} <- gone, do: {:detach, node, route, attached}

    # The owner does not wait for a running attach. When the job ends, its work is undone.
    with {pid, _monitor, _timer, {:attach, _from, {_node, ^owner}, _, _}} <- state.job,
         do: Process.exit(pid, :owner_gone)

    jobs = if gone == [], do: [], else: jobs ++ [:leave]
    Enum.reduce(jobs, %{state | nodes: Map.new(kept)}, &enqueue(&2, &1))
  end

  # The queue

  defp enqueue(state, job), do: next(%{state | queue: :queue.in(job, state.queue)})

  defp next(%{job: nil} = state) do
    case :queue.out(state.queue) do
      {:empty, _queue} -> state
      {{:value, job}, queue} -> begin(job, %{state | queue: queue})
    end
  end

  defp next(state), do: state

  defp begin({:reply, from, result}, state) do
    GenServer.reply(from, result)
    next(state)
  end

  # The used routes are known only after the earlier jobs.
  defp begin(:leave, state) do
    attached = for {node, %{attached: {route, _attached}}} <- state.nodes, do: {node, route}
    {nodes, routes} = Enum.unzip(attached)
    start({:leave, nodes, Enum.uniq(routes)}, state)
  end

  defp begin({:attach, from, {node, owner}, route, prepared} = job, state) do
    if owner?(node, owner, state) do
      start(job, state)
    else
      GenServer.reply(from, {:error, lost(node)})
      start({:detach, node, route, prepared}, state)
    end
  end

  defp begin(job, state), do: start(job, state)

  # The owner may have exited or detached since, and another session may have reserved the name.
  defp owner?(node, owner, state), do: match?(%{^node => %{owner: ^owner}}, state.nodes)

  defp start(job, state) do
    {pid, monitor} = spawn_monitor(fn -> exit({:done, run(job)}) end)
    timer = Process.send_after(self(), {:job_timeout, pid}, @job_timeout)
    %{state | job: {pid, monitor, timer, job}}
  end

  defp finish({:attach, from, {node, owner}, route, prepared}, result, state) do
    case {owner?(node, owner, state), result} do
      {true, {:ok, attached}} ->
        GenServer.reply(from, :ok)
        put_in(state.nodes[node].attached, {route, attached})

      {false, {:ok, attached}} ->
        undo({:detach, node, route, attached}, from, lost(node), state)

      # The failed job may have done a part of its work.
      {_owner, {:error, error}} ->
        undo({:detach, node, route, prepared}, from, error, state)
    end
  end

  defp finish(_job, _result, state), do: state

  # The caller gets its reply after the attempt is undone.
  defp undo(detach, from, error, state) do
    queue = :queue.in_r({:reply, from, {:error, error}}, state.queue)
    %{state | queue: :queue.in_r(detach, queue)}
  end

  defp lost(node), do: Error.new(:connect, {:lost, %{node: node, reason: nil}})

  # The error of a killed job
  defp timed_out(job) do
    :logger.warning(
      "k8s_connect: net_kernel did not answer for #{div(@job_timeout, 1000)} s (#{elem(job, 0)})"
    )

    {:error, Error.new(:route, {:net_kernel_busy, %{seconds: div(@job_timeout, 1000)}})}
  end

  # Jobs run in a process of their own. No exception leaves it, because a crash report could show a cookie.

  defp run(job) do
    do_run(job)
  catch
    _kind, reason -> {:error, Error.new(:route, {:internal_error, %{problem: problem(reason)}})}
  end

  defp problem(reason) when is_exception(reason), do: inspect(reason.__struct__)
  defp problem({reason, _call}), do: problem(reason)
  defp problem(reason) when is_atom(reason), do: inspect(reason)
  defp problem(_reason), do: "a crash"

  defp do_run({:attach, _from, {node, _owner}, route, prepared}) do
    with :ok <- ensure_distribution(route, node), do: module(route).attach(node, prepared)
  end

  # Meanwhile another process can begin to connect to this name, and its peer decides when OTP reads the cookie. With a
  # secret as the cookie, neither the default cookie nor that of the node is used with the wrong host. On the vm route it
  # is one already.
  defp do_run({:detach, node, route, attached}) do
    if route == :kernel and Node.alive?(), do: Distribution.replace_cookie(node)
  after
    try do
      module(route).detach(node, attached)
    after
      if connects?(route), do: forget(node)
    end
  end

  defp do_run({:leave, nodes, used}) do
    # Nodes of an earlier process that was killed.
    for node <- Distribution.nodes() -- nodes, do: forget(node)

    for route <- [:vm, :kernel, :exec], route not in used, do: module(route).leave()
    if nodes == [], do: Distribution.stop()
  end

  defp forget(node) do
    Distribution.disconnect(node)
    # It would read the restored cookie.
    if Node.alive?(), do: Distribution.end_attempt(node)
    Distribution.restore_cookie(node)
  end

  # Whether this VM connects to the node.
  defp connects?(route), do: route != :exec

  defp ensure_distribution(:exec, _node), do: :ok

  defp ensure_distribution(_route, node) do
    with {:error, reason} <- Distribution.ensure(node), do: {:error, Error.new(:route, reason)}
  end

  defp module(:vm), do: Route.VM
  defp module(:kernel), do: Route.Kernel
  defp module(:exec), do: Route.Exec
end
