defmodule K8sConnect.Session do
  @moduledoc false
  # One target's connection, for as long as it is wanted:
  #
  #   connecting ──► up ──► reconnecting ──► up … ──► the end of this process
  #
  # | from | on | to |
  # |---|---|---|
  # | connecting | the node is connected | up |
  # | connecting | an error, its deadline, the end of its caller | the end |
  # | up | the node or the port-forward connection is lost | reconnecting |
  # | reconnecting | the node is connected: this pod's or that of one that replaces it | up |
  # | reconnecting | an error that another attempt would repeat, or the limit of `:reconnect` | the end |
  # | any | `disconnect/1`, `Node.disconnect/1`, the end of its owner | the end |
  #
  # A session of a supervision tree begins with attempts that are repeated, as in reconnecting.
  #
  # Everything that blocks is done by a `K8sConnect.PodConnection`, one after the other. It can be killed in
  # every state, and what it has opened ends with it.

  @behaviour :gen_statem

  alias K8sConnect.{Error, Events, PodConnection, Reconnect, Route, Sessions}

  # What tells why a connection was lost comes a moment after the loss.
  @announce_after 500
  @retry_timeout 5_000

  defstruct [
    :options,
    :caller,
    :reference,
    :monitor,
    :owner,
    :start,
    :step,
    :pod_connection,
    :connection,
    :error,
    :since,
    lost_at: nil,
    attempts: 0,
    reconnects: 0,
    announced: true,
    final_since: nil,
    subscribers: %{},
    waiters: []
  ]

  @typep data :: %__MODULE__{}

  def child_spec(arguments) do
    %{id: __MODULE__, start: {__MODULE__, :start_link, [arguments]}, restart: :temporary}
  end

  @doc """
  Starts a session. With a `:caller`, that process gets `{reference, event}` for each step, and one
  `{reference, {:ok, connection} | {:error, error}}`; the attempt ends with it, and with an error.
  """
  @spec start_link(map()) :: :gen_statem.start_ret()
  def start_link(%{name: name} = arguments) when name != nil,
    do: :gen_statem.start_link(name, __MODULE__, arguments, [])

  def start_link(arguments), do: :gen_statem.start_link(__MODULE__, arguments, [])

  @doc """
  Ends the connection and returns when nothing of it is left.
  """
  @spec disconnect(pid()) :: :ok
  def disconnect(session) do
    monitor = Process.monitor(session)
    :gen_statem.cast(session, :disconnect)

    receive do
      {:DOWN, ^monitor, :process, ^session, _reason} -> :ok
    end
  end

  @impl true
  def callback_mode, do: :state_functions

  @impl true
  def init(%{options: options} = arguments) do
    # `terminate/3` must run when the application stops.
    Process.flag(:trap_exit, true)
    caller = arguments[:caller]
    _monitor = if owner = options.owner, do: Process.monitor(owner)

    data = %__MODULE__{
      options: if(caller, do: options, else: expecting(options)),
      caller: caller,
      reference: arguments[:reference],
      monitor: if(caller, do: Process.monitor(caller)),
      owner: options.owner,
      start: now(),
      since: DateTime.utc_now()
    }

    deadline =
      if caller, do: [{{:timeout, :deadline}, options.connect_timeout, options.connect_timeout}]

    {:ok, :connecting, attempt(data, caller == nil), List.wrap(deadline)}
  end

  # Nobody waits for the first attempt, and a pod that is not there may come: what its controller is, is not known.
  defp expecting(options),
    do: put_in(options.target.controller, options.target.controller || {"", ""})

  # connecting

  @spec connecting(:gen_statem.event_type(), term(), data()) :: term()
  def connecting(:info, {pid, {:step, name, _, _} = step}, %{pod_connection: {pid, _}} = data) do
    notify(data, step)
    {:keep_state, %{data | step: name}}
  end

  def connecting(:info, {pid, {:trace, _, _, _, _} = trace}, %{pod_connection: {pid, _}} = data) do
    notify(data, trace)
    :keep_state_and_data
  end

  def connecting(:info, {:DOWN, _, :process, pid, reason}, %{pod_connection: {pid, _}} = data) do
    case {result(reason), data.caller} do
      {result, nil} -> first_failed(error(result, data), data)
      {{:exists, connection}, _caller} -> answer({:ok, connection}, data)
      {result, _caller} -> answer({:error, error(result, data)}, data)
    end
  end

  def connecting({:timeout, :deadline}, ms, data) do
    details = %{ms: ms, step: data.step, target: data.options.target.target}
    answer({:error, Error.new(:connect, {:timeout, details})}, data)
  end

  # Nobody waits for the connection any more.
  def connecting(:info, {:DOWN, monitor, :process, _, _}, %{monitor: monitor} = data),
    do: {:stop, :normal, data}

  def connecting(type, event, data), do: any(:connecting, type, event, data)

  # up

  @spec up(:gen_statem.event_type(), term(), data()) :: term()
  def up({:call, from}, :connection, data),
    do: {:keep_state_and_data, {:reply, from, data.connection}}

  def up({:call, from}, :await_up, data),
    do: {:keep_state_and_data, {:reply, from, {:ok, data.connection}}}

  def up(:info, {pid, {:lost, error}}, %{pod_connection: {pid, _}} = data), do: lost(error, data)

  def up(:info, {:DOWN, _, :process, pid, reason}, %{pod_connection: {pid, _}} = data) do
    case result(reason) do
      :disconnected ->
        ended(nil, data)

      result ->
        error = error(result, data)
        {:next_state, :reconnecting, data, actions} = lost(error, data)

        with {:next_state, state, data, more} <- retry(error, data),
             do: {:next_state, state, data, actions ++ more}
    end
  end

  def up(type, event, data), do: any(:up, type, event, data)

  # reconnecting: by the pod connection that there is, or by another

  @spec reconnecting(:gen_statem.event_type(), term(), data()) :: term()
  def reconnecting({:timeout, :attempt}, _number, data),
    do: {:keep_state, attempt(data, true)}

  def reconnecting({:timeout, :announce}, _after, %{announced: true}), do: :keep_state_and_data
  def reconnecting({:timeout, :announce}, _after, data), do: {:keep_state, announce(data, 1, 0)}

  def reconnecting({:timeout, :deadline}, _ms, data), do: ended(data.error, data)

  def reconnecting(:info, {pid, {:lost, error}}, %{pod_connection: {pid, _}} = data),
    do: {:keep_state, %{data | error: error}}

  def reconnecting(:info, {:DOWN, _, :process, pid, reason}, %{pod_connection: {pid, _}} = data) do
    case result(reason) do
      :disconnected -> ended(nil, data)
      result -> retry(error(result, data), data)
    end
  end

  def reconnecting(type, event, data), do: any(:reconnecting, type, event, data)

  # All states

  defp any(_state, :info, {pid, {:up, connection}}, %{pod_connection: {pid, _}} = data),
    do: connected(connection, data)

  # What creates a new pod when this one is gone
  defp any(_state, :info, {pid, {:controller, controller}}, %{pod_connection: {pid, _}} = data),
    do: {:keep_state, put_in(data.options.target.controller, controller)}

  defp any(_state, {:call, _from}, :connection, _data), do: {:keep_state_and_data, :postpone}

  defp any(_state, {:call, from}, :await_up, data),
    do: {:keep_state, %{data | waiters: [from | data.waiters]}}

  defp any(state, {:call, from}, :status, data),
    do: {:keep_state_and_data, {:reply, from, status(state, data)}}

  defp any(state, {:call, from}, {:subscribe, pid}, data) do
    reference = Process.monitor(pid)
    data = put_in(data.subscribers[reference], pid)
    if event = current(state, data), do: send(pid, {:k8s_connect, reference, event})
    {:keep_state, data, {:reply, from, reference}}
  end

  defp any(_state, {:call, from}, {:unsubscribe, reference}, data) do
    Process.demonitor(reference, [:flush])
    {:keep_state, unsubscribe(reference, data), {:reply, from, :ok}}
  end

  defp any(_state, :cast, :disconnect, data), do: ended(nil, data)

  defp any(_state, :info, {:DOWN, _, :process, owner, _}, %{owner: owner} = data),
    do: ended(nil, data)

  defp any(_state, :info, {:DOWN, reference, :process, _pid, _reason}, data),
    do: {:keep_state, unsubscribe(reference, data)}

  defp any(_state, _type, _event, _data), do: :keep_state_and_data

  @impl true
  def terminate(_reason, _state, data) do
    _data = release(data)
    :ok
  end

  # Reports and crash logs do not show the options, which may hold a cookie.
  @impl true
  def format_status(status) do
    Map.replace_lazy(status, :data, fn
      %__MODULE__{} = data -> Map.take(data, [:connection, :error, :attempts, :reconnects])
      other -> other
    end)
  end

  # Transitions

  defp connected(connection, data) do
    if data.monitor, do: Process.demonitor(data.monitor, [:flush])
    true = Sessions.up(Sessions.key(connection), connection)
    notify(data, {:ok, connection})
    for from <- data.waiters, do: :gen_statem.reply(from, {:ok, connection})
    data = if data.announced, do: data, else: announce(data, 1, 0)
    Events.up(data.subscribers, connection, data.connection)

    data = %{
      data
      | options: pin(data.options, connection),
        caller: nil,
        monitor: nil,
        reconnects: data.reconnects + if(data.connection, do: 1, else: 0),
        connection: connection,
        error: nil,
        lost_at: nil,
        attempts: 0,
        final_since: nil,
        waiters: [],
        since: DateTime.utc_now()
    }

    {:next_state, :up, data, no_timeouts()}
  end

  # The kubeconfig's current context may be another one by the next attempt, and the terminal is a shell's.
  defp pin(options, %{context: context, namespace: namespace}) do
    api = %{options.api | namespace: namespace, interactive: false}
    api = if context == "in-cluster", do: api, else: %{api | context: context}
    %{options | api: api, confirmed: true}
  end

  defp lost(error, data) do
    connection = %{data.connection | state: :reconnecting}
    true = Sessions.up(Sessions.key(connection), connection)

    data = %{
      data
      | connection: connection,
        error: error,
        lost_at: now(),
        announced: false,
        since: DateTime.utc_now()
    }

    announce = {{:timeout, :announce}, @announce_after, nil}
    {:next_state, :reconnecting, data, [announce | deadline(data)]}
  end

  # In a supervision tree
  defp first_failed(error, data) do
    with {:next_state, state, data, actions} <-
           retry(error, %{data | lost_at: data.start, announced: false}),
         do: {:next_state, state, data, deadline(data) ++ actions}
  end

  defp retry(error, data) do
    data = %{kill(data) | error: error}
    next = data.attempts + 1
    elapsed = now() - data.lost_at

    data = %{data | final_since: Reconnect.final?(error) && (data.final_since || now())}

    if final?(error, data) or not Reconnect.allowed?(data.options.reconnect, next, elapsed) do
      ended(error, data)
    else
      delay = Reconnect.delay(next, Sessions.reconnecting(data.connection))
      data = announce(data, next, delay)
      {:next_state, :reconnecting, data, [{{:timeout, :attempt}, delay, next}]}
    end
  end

  defp final?(error, %{final_since: since}) when is_integer(since),
    do: now() - since >= Reconnect.grace_period(error)

  # Not the pod that it must be
  defp final?(%Error{reason: {:replaced, _details}}, data), do: data.options.target.uid != nil
  defp final?(_error, _data), do: false

  defp deadline(%{options: %{reconnect: [_ | _] = reconnect}}) do
    case reconnect[:deadline] do
      nil -> []
      ms -> [{{:timeout, :deadline}, ms, ms}]
    end
  end

  defp deadline(_data), do: []

  defp no_timeouts,
    do: for(name <- [:deadline, :announce, :attempt], do: {{:timeout, name}, :infinity, nil})

  # The end: `error` is nil if that is what was asked for.
  defp ended(error, data) do
    data = release(data)
    if data.caller == nil, do: Events.down(data.subscribers, data.connection, error, target(data))
    reply = {:error, error || Error.new(:connect, {:lost, %{node: target(data), reason: nil}})}
    for from <- data.waiters, do: :gen_statem.reply(from, reply)
    {:stop, if(error, do: {:shutdown, error}, else: :normal), %{data | waiters: []}}
  end

  defp answer(result, data) do
    data = release(data)
    notify(data, result)
    {:stop, :normal, data}
  end

  # The first time for a loss also to the log.
  defp announce(data, attempt, delay) do
    if not data.announced, do: Events.lost(data.connection, data.error, target(data))
    Events.reconnecting(data.subscribers, data.error, attempt, delay)
    %{data | announced: true}
  end

  defp attempt(data, wait) do
    options = if wait, do: with_short_timeout(data.options, data.error), else: data.options
    job = %{session: self(), options: options, wait: wait, start: data.start}
    %{data | pod_connection: PodConnection.start(job), attempts: data.attempts + 1}
  end

  # A request that was sent before the network came back is repeated by the kernel after seconds only. A plugin
  # takes the time that it takes.
  defp with_short_timeout(options, %Error{reason: {:plugin_timed_out, _details}}), do: options

  defp with_short_timeout(options, _error),
    do: update_in(options.api.timeout_ms, &min(&1, @retry_timeout))

  # What the pod connection has opened ends with it.
  defp kill(%{pod_connection: nil} = data), do: data

  defp kill(%{pod_connection: {pid, monitor}} = data) do
    Process.demonitor(monitor, [:flush])
    Process.unlink(pid)
    Process.exit(pid, :kill)
    Sessions.unregister_pending(self())
    %{data | pod_connection: nil}
  end

  # The same, and returns when nothing of it is left.
  defp release(data) do
    before = data.pod_connection
    data = kill(data)
    _ = with {pid, _monitor} <- before, do: detach(pid)
    Sessions.unregister(self())
    data
  end

  defp detach(pid) do
    Route.detach(pid)
  catch
    # It has ended itself, and its successor starts with an empty table.
    :exit, _reason -> :ok
  end

  # What others see

  defp current(:up, data), do: {:up, data.connection}

  defp current(:reconnecting, %{announced: true} = data),
    do: {:reconnecting, data.error, data.attempts + 1, 0}

  defp current(_state, _data), do: nil

  defp status(state, data) do
    %{
      state: state,
      target: target(data),
      connection: data.connection,
      since: data.since,
      attempts: if(state == :up, do: 0, else: data.attempts),
      reconnects: data.reconnects,
      error: data.error
    }
  end

  defp target(%{options: %{target: target}}), do: target.target || target.labels

  defp unsubscribe(reference, data),
    do: %{data | subscribers: Map.delete(data.subscribers, reference)}

  defp result({:pod_connection, result}), do: result
  defp result(reason), do: {:died, reason}

  defp error({:error, error}, %{options: %{target: target, api: api}}),
    do: Error.for_request(error, target.target, api)

  defp error({:exists, %{node: node}}, _data), do: Error.new(:route, {:node_taken, %{node: node}})

  defp error(:disconnected, data),
    do: Error.new(:connect, {:lost, %{node: target(data), reason: :disconnect}})

  defp error({:died, reason}, _data),
    do: Error.new(:connect, {:session_crashed, %{problem: inspect(reason, limit: 5)}})

  defp notify(%{caller: nil}, _message), do: :ok
  defp notify(data, message), do: send(data.caller, {data.reference, message})

  defp now, do: System.monotonic_time(:millisecond)
end
