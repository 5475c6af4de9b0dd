defmodule K8sConnect.PodConnection do
  @moduledoc false
  # The connection to one pod: the pod is found through the API server, its node is attached to a route, this
  # BEAM connects to it, and the connection is held until it is lost. One process with blocking steps, which
  # its session can kill at any time: the port-forward connection, the listeners and the redirects belong to
  # this process and end with it.
  #
  # If the node goes down while the port-forward connection lives, the container has restarted: the node is
  # discovered again on the same connection. Any other loss ends this process, and the session starts another.
  #
  # The session gets `{pid, event}`:
  #
  #   * `{:step, name, detail, ms}` and `{:trace, name, detail, us, took}`, while it connects
  #   * `{:controller, {kind, name} | nil}`, what owns the pod
  #   * `{:up, connection}`, each time that the node is connected
  #   * `{:lost, error}`, when the node is not connected any more, and this process tries to reach it again
  #
  # The last one is the exit reason `{:pod_connection, result}`.

  alias K8sConnect.{Connection, Distribution, Error, Native, Protection, Route, Sessions, Tick}

  @type job :: %{
          session: pid(),
          # What `Options.connect/2` has made.
          options: map(),
          # Whether to wait for a ready pod and its node, as a reconnect does.
          wait: boolean(),
          start: integer()
        }

  @typedoc """
  `{:exists, connection}`: another session is connected to this pod. `:disconnected`: by `Node.disconnect/1`.
  """
  @type result :: {:error, Error.t()} | {:exists, Connection.t()} | :disconnected

  defstruct [:job, :native, :closed, :connection, :cookie, :route_monitor, :tick]

  @doc """
  Starts it, linked to the calling session and monitored by it.
  """
  @spec start(job()) :: {pid(), reference()}
  def start(job) do
    {_pid, _monitor} =
      :erlang.spawn_opt(fn -> exit({:pod_connection, run(job)}) end, [:link, :monitor])
  end

  defp run(job) do
    # Before the connection is there: its end may come at any time.
    :ok = :net_kernel.monitor_nodes(true, [:nodedown_reason, node_type: :all])
    monitor = Process.monitor(Route)

    with :ok <- Protection.check_options(job.options),
         {:ok, state} <- connect(%__MODULE__{job: job, route_monitor: monitor}, true),
         do: up(state)
  end

  # `trust`: the node's name may be read from the pod's spec, which saves a round trip and may be wrong.
  defp connect(state, trust) do
    with {:ok, found} <- attach(state.job, trust) do
      state = %{state | native: found.session, closed: watch_closed(found.session)}
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
    with :ok <- register(connection, state.job.session),
         {:ok, connection} <- attach_route(connection, cookie, state),
         :ok <- connect_distribution(connection, state) do
      {:ok, %{state | connection: connection, cookie: cookie}}
    end
  end

  # The native side finds the pod, its cookie and its node.

  defp attach(%{options: options} = job, trust) do
    reference = make_ref()
    target = Map.merge(options.target, %{wait: job.wait, trust: trust and options.target.trust})

    with :ok <- Native.start(:attach, [reference, Native.with_environment(options.api), target]) do
      _ = if options.route.route != :exec, do: Distribution.preload()
      await_attached(reference, job)
    end
  end

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

  defp watch_closed(native_session) do
    closed = make_ref()
    :ok = Native.closed(closed, native_session)
    closed
  end

  defp connection(found, %{options: options, session: session}) do
    %Connection{
      # The native side has checked that it is a name that a node can have.
      node: String.to_atom(found.node),
      pod: found.pod,
      uid: found.uid,
      namespace: found.namespace,
      context: found.context,
      target: options.target.target || options.target.labels,
      others: found.others,
      ip: found.ip,
      # Until one has been found to work.
      route: nil,
      cookie_source: found.cookie_source || options.cookie_source,
      session: session
    }
  end

  # In a function: a report does not show what is inside.
  defp cookie(_found, %{job: %{options: %{route: %{route: :exec}}}}), do: {:ok, fn -> nil end}

  defp cookie(found, %{job: %{options: options}, native: native}) do
    case options.cookie.() || Native.cookie(native) do
      nil -> {:error, Error.new(:cookie, {:not_found, Map.take(found, [:pod, :namespace])})}
      cookie -> {:ok, fn -> cookie end}
    end
  end

  # Connecting twice to one pod gives one connection.
  defp register(connection, session) do
    case Sessions.register(Sessions.key(connection), session) do
      :ok ->
        :ok

      {:taken, other} ->
        try do
          {:exists, :gen_statem.call(other, :connection)}
        catch
          # It has failed or ended, and the key is free, or soon will be.
          :exit, _reason -> register(connection, session)
        end
    end
  end

  defp attach_route(connection, cookie, %{job: %{options: options}} = state) do
    {routes, _why} = Route.choose(options.route)
    attach_route(routes, connection, cookie, state)
  end

  # The first route that works. The step tells about those that do not.
  defp attach_route([route | others], connection, cookie, %{job: job} = state) do
    connection = %{connection | route: route}

    case Route.attach(connection, self(), state.native, cookie, job.options.route) do
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

  # The node was reached. If it closes the connection without a reason, the cookie is what is left.
  defp connect_distribution(connection, %{job: job} = state) do
    if Route.connect(connection, job.options.route),
      do: :ok,
      else: {:error, rejection(connection, state)}
  end

  defp rejection(connection, state) do
    case Native.call(:rejection, [state.native, Atom.to_string(Node.self())]) do
      {:error, %Error{stage: :node, reason: {kind, _details}} = error}
      when kind in [:port_forward_closed, :rejected] ->
        error

      _no_reason ->
        details = %{node: connection.node, source: connection.cookie_source}
        Error.new(:connect, {:refused, details})
    end
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
    note = Route.note(connection)
    if note, do: step(job, "host", note)
    step(job, "connected", to(connection))
    notify(job, {:up, connection})
    hold(%{state | tick: connection.route != :exec && Tick.start(connection.node)})
  end

  defp to(%{route: :exec, node: node, pod: pod}), do: "to pod #{pod}; its node is #{node}"
  defp to(%{node: node}), do: "to #{node}"

  defp hold(%{closed: closed, route_monitor: monitor, tick: tick} = state) do
    %{node: node, route: route} = state.connection

    receive do
      {:nodedown, ^node, info} -> node_down(info[:nodedown_reason], state)
      {^closed, {:ok, reason}} -> {:error, port_forward_closed(reason)}
      {:redirects_lost, _key, error} when route == :kernel -> {:error, error}
      {:DOWN, ^monitor, :process, _route, _reason} -> {:error, lost(node, :route_restarted)}
      {:tick, ^tick, interval} -> hold(%{state | tick: Tick.now(node, interval)})
      _other -> hold(state)
    end
  end

  # By `Node.disconnect/1`.
  defp node_down(:disconnect, _state), do: :disconnected

  defp node_down(reason, state) do
    error = lost(state.connection.node, reason)
    notify(state.job, {:lost, error})
    if state.job.options.reconnect == false, do: {:error, error}, else: reattach(state)
  end

  # On the port-forward connection that there is.
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

  defp step(job, name, detail),
    do: notify(job, {:step, name, detail, System.monotonic_time(:millisecond) - job.start})

  defp notify(job, event), do: send(job.session, {self(), event})
end
