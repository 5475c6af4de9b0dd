defmodule K8sConnect.PodConnection do
  @moduledoc false
  # The connection to one pod. This process finds the pod through the API server, attaches the node to a route,
  # connects this BEAM to the node, and holds the connection until it is lost. These steps block, so the session
  # can kill this process at any time: it owns the port-forward connection, the listeners and the redirects, and
  # they are closed when it exits.
  #
  # If the node goes down while the port-forward connection is open, usually the container has restarted. This process then
  # rediscovers the node on the same port-forward connection. After any other loss this process exits, and the
  # session starts a new one.
  #
  # The session gets `{events, event}`, with a secret that no pod can guess:
  #
  #   * `{:step, name, detail, ms}` and `{:trace, name, detail, us, took}`, while it connects
  #   * `{:controller, {kind, name} | nil}`, the controller of the pod
  #   * `{:up, connection}`, each time the node is connected
  #   * `{:lost, error}`, when the node is down and this process tries to reconnect
  #   * `{:refused, kind, detail}`, when the guard has refused something of this kind for the first time
  #
  # The exit reason of this process is `{:pod_connection, result}`.

  alias K8sConnect.{
    Connection,
    Distribution,
    Error,
    Native,
    NodeMonitor,
    Protection,
    Reconnect,
    Route,
    Servers,
    Sessions,
    Tick
  }

  alias K8sConnect.PodConnection.{Rejection, Restart}

  @type job :: %{
          session: pid(),
          # In each event.
          events: {reference(), String.t()},
          # The result of `Options.connect/2`.
          options: map(),
          # Whether to wait for a running pod and its node, as a reconnect does.
          wait: boolean(),
          # Why the attempt before has failed.
          error: Error.t() | nil,
          # `nil` if the pod is trusted. With an error the attempt fails.
          guard: {:ok, Native.guard() | nil} | {:error, Error.t()},
          start: integer()
        }

  @typedoc """
  `:exists`: another session is connected to this pod, which is an error for a session that reconnects.
  `:disconnected`: the user called `Node.disconnect/1`.
  """
  @type result :: {:error, Error.t()} | {:exists, Connection.t(), Error.t()} | :disconnected

  # If a request was sent before the network is back, the kernel retransmits it only after seconds: a new request is
  # faster.
  @retry_timeout 5_000
  @other_timeout 1_000

  defstruct [
    :job,
    :native,
    :closed,
    :guard,
    :guarded,
    :connection,
    :cookie,
    :route_monitor,
    :tick,
    :up_at,
    quick_losses: 0
  ]

  @doc """
  Starts a pod connection. The calling session is linked to it and monitors it.
  """
  @spec start(job()) :: {pid(), monitor :: reference(), events :: {reference(), String.t()}}
  def start(job) do
    {pid, monitor} =
      :erlang.spawn_opt(fn -> exit({:pod_connection, run(job)}) end, [:link, :monitor])

    {pid, monitor, job.events}
  end

  @doc """
  The result, from the exit reason.
  """
  @spec result(term(), map()) :: result()
  def result({:pod_connection, {:error, error}}, %{target: target, api: api}),
    do: {:error, Error.for_request(error, target.target, api)}

  def result({:pod_connection, {:exists, %{node: node} = connection}}, _options),
    do: {:exists, connection, Error.new(:route, {:node_taken, %{node: node}})}

  def result({:pod_connection, :disconnected}, _options), do: :disconnected

  def result(reason, _options),
    do: {:error, Error.new(:connect, {:session_crashed, %{problem: inspect(reason, limit: 5)}})}

  defp run(job) do
    monitor = Process.monitor(Route)

    with :ok <- Restart.check_running(job.options.target.target || job.options.target.labels),
         {:ok, guard} <- job.guard,
         {:ok, options} <- Protection.confirm(job.options),
         state = %__MODULE__{
           job: %{job | options: options},
           guard: guard,
           route_monitor: monitor,
           guarded: watch_guard(guard)
         },
         {:ok, state} <- connect(state, true),
         do: up(state)
  end

  # With `assume_name`, the node's name can come from the pod's spec. This saves a round trip, but the name may be wrong.
  defp connect(state, assume_name) do
    with {:ok, found} <- attach(state.job, assume_name) do
      state = %{state | native: found.pod_connection, closed: watch_closed(found.pod_connection)}
      notify(state.job, {:controller, found.controller})

      case connect_node(state, found) do
        {:error, error} ->
          if found.probed or not named_wrong?(error),
            do: {:error, error},
            else: connect(give_up(state), false)

        result ->
          result
      end
    end
  end

  defp connect_node(state, found) do
    with {:ok, cookie} <- cookie(found, state),
         do: connect_node(state, connection(found, state.job), cookie)
  end

  defp connect_node(state, connection, cookie) do
    # Once the node is attached, any process can connect to it.
    with :ok <- register(connection, state.job),
         :ok <- Route.reserve(connection.node, self()),
         :ok = NodeMonitor.monitor(connection.node),
         :ok = flush_nodedown(connection.node),
         {:ok, connection} <- attach_route(connection, cookie, state),
         :ok <- connect_distribution(connection, state) do
      {:ok, %{state | connection: connection, cookie: cookie}}
    end
  end

  # The native library finds the pod, its cookie and its node.
  defp attach(%{options: options} = job, assume_name) do
    reference = make_ref()
    api = if job.wait, do: with_retry_timeout(options.api, job.error), else: options.api
    assume_name = assume_name and options.target.assume_name
    target = Map.merge(options.target, %{wait: job.wait, assume_name: assume_name})

    with :ok <- Native.start(:attach, [reference, Native.with_environment(api), target]) do
      # Also without a guard: all guards use this list. Starting one returns the same error.
      adding = Servers.start_adding(job.session)
      _ = if options.route.route != :exec, do: Distribution.preload()
      attached = await_attached(reference, job)
      # The guards need the list before the node is connected.
      _ = Servers.await(adding)
      attached
    end
  end

  # An exec plugin keeps its own timeout.
  defp with_retry_timeout(api, %Error{reason: {:plugin_timed_out, _details}}), do: api
  defp with_retry_timeout(api, _error), do: update_in(api.timeout_ms, &min(&1, @retry_timeout))

  defp await_attached(reference, job) do
    receive do
      {^reference, {:ok, found}} ->
        {:ok, found}

      {^reference, {:error, {stage, reason}}} ->
        {:error, Error.new(stage, reason)}

      {^reference, progress} ->
        notify(job, progress)
        await_attached(reference, job)
    end
  end

  defp watch_closed(native) do
    closed = make_ref()
    :ok = Native.closed(closed, native)
    closed
  end

  defp watch_guard(nil), do: nil

  defp watch_guard(guard) do
    guarded = make_ref()
    :ok = Native.guard_events(guarded, guard)
    guarded
  end

  defp connection(found, %{options: options, session: session}) do
    %Connection{
      # The native library has checked that this is a valid node name.
      node: String.to_atom(found.node),
      pod: found.pod,
      uid: found.uid,
      namespace: found.namespace,
      context: found.context,
      target: options.target.target || options.target.labels,
      others: found.others,
      ip: found.ip,
      # `attach_route/4` sets the route.
      route: nil,
      cookie_source: found.cookie_source || options.cookie_source,
      session: session
    }
  end

  # The cookie is in a function, so that a crash report does not show it.
  defp cookie(_found, %{job: %{options: %{route: %{route: :exec}}}}), do: {:ok, fn -> nil end}

  defp cookie(found, %{job: %{options: options}, native: native}) do
    case options.cookie.() || Native.cookie(native) do
      nil -> {:error, Error.new(:cookie, {:not_found, Map.take(found, [:pod, :namespace])})}
      cookie -> {:ok, fn -> cookie end}
    end
  end

  # There is one connection to a pod, even if two sessions connect to it.
  defp register(connection, %{session: session, wait: wait} = job) do
    case Sessions.register(Sessions.key(connection), session) do
      :ok ->
        :ok

      {:taken, other} ->
        # Two sessions that reconnect must not wait for each other.
        timeout = if wait, do: @other_timeout, else: :infinity

        try do
          {:exists, :gen_statem.call(other, :connection, timeout)}
        catch
          :exit, {:timeout, _call} ->
            {:error, Error.new(:route, {:node_taken, %{node: connection.node}})}

          # The other session has ended. Its key is free now, or will be soon.
          :exit, _reason ->
            register(connection, job)
        end
    end
  end

  # Drops a stale `nodedown` of the previous connection.
  defp flush_nodedown(node) do
    receive do
      {:nodedown, ^node, _info} -> flush_nodedown(node)
    after
      0 -> :ok
    end
  end

  defp attach_route(connection, cookie, %{job: %{options: options}} = state) do
    {routes, _why} = Route.choose(options.route)
    attach_route(routes, connection, cookie, state)
  end

  # Uses the first route that works. A step reports each route that does not.
  defp attach_route([route | others], connection, cookie, %{job: job} = state) do
    connection = %{connection | route: route}

    options = Map.merge(job.options.route, %{guard: state.guard, cookie: cookie})

    case Route.attach(connection, self(), state.native, options) do
      :ok ->
        {:ok, connection}

      {:error, error} when others == [] ->
        {:error, error}

      {:error, error} ->
        problem = "#{hd(others)}, as #{route} does not work: #{Exception.message(error)}"
        step(job, "route", problem)
        attach_route(others, connection, cookie, state)
    end
  end

  defp connect_distribution(connection, %{job: job} = state) do
    if Route.connect(connection, job.options.route),
      do: :ok,
      else: {:error, Rejection.error(connection, state.native)}
  end

  defp named_wrong?(%Error{stage: :connect}), do: true
  defp named_wrong?(%Error{reason: {:host_elsewhere, _details}}), do: true
  defp named_wrong?(_error), do: false

  defp give_up(state) do
    :ok = Route.detach(self())
    Native.close(state.native)
    Sessions.unregister_pending(state.job.session)
    %{state | native: nil, closed: nil}
  end

  # Up

  defp up(%{connection: connection, job: job} = state) do
    if note = Route.note(connection), do: step(job, "host", note)
    step(job, "connected", to(connection))
    notify(job, {:up, connection})
    tick = connection.route != :exec && Tick.start(connection.node)
    # The connection setup leaves mostly garbage.
    true = :erlang.garbage_collect()
    hold(%{state | tick: tick, up_at: now()})
  end

  defp to(%{route: :exec, node: node, pod: pod}), do: "to pod #{pod}; its node is #{node}"
  defp to(%{node: node}), do: "to #{node}"

  defp hold(%{closed: closed, guarded: guarded, route_monitor: monitor, tick: tick} = state) do
    %{node: node, route: route} = state.connection

    receive do
      {^guarded, {:refused, kind, detail}} ->
        notify(state.job, {:refused, kind, detail})
        hold(state)

      {^guarded, {:error, {stage, reason}}} ->
        {:error, guarded(stage, reason, node)}

      {:nodedown, ^node, info} ->
        node_down(info[:nodedown_reason], state)

      {^closed, {:ok, reason}} ->
        {:error, port_forward_closed(reason)}

      {:redirects_lost, _key, error} when route == :kernel ->
        {:error, error}

      {:DOWN, ^monitor, :process, _route, _reason} ->
        Restart.cause(node)

      {:tick, ^tick, interval} ->
        hold(%{state | tick: Tick.now(node, interval)})

      _other ->
        hold(state)
    end
  end

  defp node_down(:disconnect, state), do: Restart.cause(state.connection.node)

  defp node_down(reason, %{guard: guard} = state) do
    with :ok <- if(guard, do: Native.guard_failure(guard), else: :ok) do
      reconnect(reason, state)
    else
      {:error, {stage, reason}} -> {:error, guarded(stage, reason, state.connection.node)}
    end
  end

  defp guarded(stage, {kind, details}, node),
    do: Error.new(stage, {kind, Map.put(details, :node, node)})

  defp reconnect(reason, state),
    do: if(Restart.ended?(), do: :disconnected, else: reconnect_to(reason, state))

  defp reconnect_to(reason, state) do
    error = lost(state.connection.node, reason)
    notify(state.job, {:lost, error})
    quick_losses = Reconnect.quick_losses(state.quick_losses, now() - state.up_at)

    # After several quick losses the session waits before the next attempt.
    if state.job.options.reconnect == false or quick_losses > 1,
      do: {:error, error},
      else: reattach(%{state | quick_losses: quick_losses})
  end

  # Rediscovers the node on the open port-forward connection.
  defp reattach(state) do
    reference = make_ref()

    with :ok <- Native.start(:reattach, [reference, state.native]),
         {:ok, name} <- await_attached(reference, state.job),
         :ok = Route.detach(self()),
         connection = %{state.connection | node: String.to_atom(name), route: nil},
         {:ok, state} <- connect_node(state, connection, state.cookie),
         do: up(state)
  end

  defp port_forward_closed(reason),
    do: Error.new(:node, {:port_forward_closed, %{reason: reason}})

  defp lost(node, reason), do: Error.new(:connect, {:lost, %{node: node, reason: reason}})

  defp step(job, name, detail), do: notify(job, {:step, name, detail, now() - job.start})

  defp now, do: System.monotonic_time(:millisecond)
  defp notify(job, event), do: send(job.session, {job.events, event})
end
