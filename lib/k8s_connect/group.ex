defmodule K8sConnect.Group do
  @moduledoc false
  # The connections to all running pods of a target: one watch of the API server, and one session for each pod. A new
  # pod gets a session. When a pod is deleted, its session ends. A session reconnects to its own pod only.

  use GenServer

  alias K8sConnect.{
    Connection,
    Error,
    Events,
    Native,
    Protection,
    Reconnect,
    Servers,
    Session,
    Sessions
  }

  # pods: uid => name; sessions: uid => pid; uids: session => uid; failed: uid => error
  # watch: the reference of the running watch, or of the timer of the next one
  # pending: the uids of the first list without a result so far
  # caller: the monitor of the process that waits for the first result, until it has it
  defstruct [
    :options,
    :caller,
    :watch,
    :pending,
    pods: %{},
    sessions: %{},
    uids: %{},
    references: %{},
    failed: %{},
    reconnect: %Reconnect{},
    waiters: [],
    subscribers: %{}
  ]

  @doc """
  Starts a group. With a `:caller` and its `:reference`, the calling process receives `{reference, result}`, the result
  of `await_up/2`. An error, the connect timeout, or the exit of the caller before it ends the group.
  """
  @spec start_link(map()) :: GenServer.on_start()
  def start_link(arguments) do
    name = if name = arguments[:name], do: [name: name], else: []
    GenServer.start_link(__MODULE__, arguments, name)
  end

  def child_spec(arguments) do
    %{id: __MODULE__, start: {__MODULE__, :start_link, [arguments]}, restart: :temporary}
  end

  @impl true
  def init(%{options: options} = arguments) do
    # `terminate/2` must run when the application stops.
    Process.flag(:trap_exit, true)
    # Starting the watch returns the same error.
    _ = Servers.add(self())
    _monitor = if owner = options.owner, do: Process.monitor(owner)
    {:ok, %__MODULE__{options: options} |> for_caller(arguments) |> watch()}
  end

  # The group may end before a call of the caller would arrive.
  defp for_caller(%{options: %{connect_timeout: timeout}} = state, %{caller: caller} = arguments) do
    monitor = Process.monitor(caller)
    _timer = if timeout != :infinity, do: Process.send_after(self(), {monitor, :timeout}, timeout)
    %{state | caller: monitor, waiters: [{caller, arguments.reference}]}
  end

  defp for_caller(state, _arguments), do: state

  # The same calls as those of a session

  @impl true
  def handle_call(:await_up, from, state),
    do: {:noreply, reply_if_complete(%{state | waiters: [from | state.waiters]})}

  def handle_call(:status, _from, state) do
    status = %{
      state: :all,
      target: target(state),
      connections: connections(state),
      pods: map_size(state.pods),
      failed: Map.new(state.failed, fn {uid, error} -> {state.pods[uid], error} end)
    }

    {:reply, status, state}
  end

  def handle_call({:subscribe, pid}, _from, state) do
    reference = Process.monitor(pid)

    for connection <- connections(state),
        do: send(pid, {:k8s_connect, reference, connection.session, {:up, connection}})

    {:reply, reference, put_in(state.subscribers[reference], pid)}
  end

  def handle_call({:unsubscribe, reference}, _from, state) do
    Process.demonitor(reference, [:flush])
    {:reply, :ok, %{state | subscribers: Map.delete(state.subscribers, reference)}}
  end

  @impl true
  def handle_cast(:disconnect, state), do: {:stop, :normal, state}

  @impl true
  def handle_info({watch, {:pods, pods}}, %{watch: watch} = state) do
    pods = Map.new(pods, fn {name, uid} -> {uid, name} end)
    failed = Map.take(state.failed, Map.keys(pods))
    deleted = Map.keys(state.sessions) -- Map.keys(pods)
    new = Map.keys(pods) -- (Map.keys(state.sessions) ++ Map.keys(failed))
    for uid <- deleted, do: :gen_statem.cast(state.sessions[uid], :disconnect)

    state = %{state | pods: pods, failed: failed, reconnect: Reconnect.up(state.reconnect)}
    state = Enum.reduce(new, state, &start_session(&2, &1))
    {:noreply, reply_if_complete(%{state | pending: state.pending || MapSet.new(new)})}
  end

  def handle_info({watch, {:error, {stage, reason}}}, %{watch: watch} = state) do
    error = Error.new(stage, reason)
    # A user who waits for the first list is told of a missing permission at once.
    first = state.pending == nil and Reconnect.final?(error)
    # A list that was answered is lost with its watch.
    reconnect =
      if state.reconnect.lost_at, do: state.reconnect, else: Reconnect.lost(state.reconnect)

    case not first && Reconnect.failed(reconnect, error, 1) do
      {:retry, delay, reconnect} ->
        again = make_ref()
        Process.send_after(self(), {again, :watch}, delay)
        {:noreply, %{state | watch: again, reconnect: reconnect}}

      _give_up ->
        # The caller has the error, and prints it.
        log = state.caller == nil and state.options.log
        Events.down({state.subscribers, log}, nil, error, target(state))
        {:stop, {:shutdown, error}, reply(state, {:error, error})}
    end
  end

  def handle_info({caller, :timeout}, %{caller: caller} = state) do
    details = %{ms: state.options.connect_timeout, step: nil, target: target(state)}
    {:stop, :normal, reply(state, {:error, Error.new(:connect, {:timeout, details})})}
  end

  def handle_info({again, :watch}, %{watch: again} = state), do: {:noreply, watch(state)}

  def handle_info({:k8s_connect, reference, event}, state) do
    case state.references do
      %{^reference => uid} ->
        publish(state, state.sessions[uid], event)
        {:noreply, event(event, uid, state)}

      _of_a_session_that_has_ended ->
        {:noreply, state}
    end
  end

  def handle_info({:DOWN, _monitor, :process, pid, _reason}, %{options: %{owner: pid}} = state)
      when pid != nil,
      do: {:stop, :normal, state}

  # Nobody waits for the connections any more.
  def handle_info({:DOWN, caller, :process, _pid, _reason}, %{caller: caller} = state),
    do: {:stop, :normal, state}

  def handle_info({:DOWN, monitor, :process, pid, _reason}, state) do
    case Map.pop(state.uids, pid) do
      {nil, _uids} ->
        {:noreply, %{state | subscribers: Map.delete(state.subscribers, monitor)}}

      {uid, uids} ->
        sessions = Map.delete(state.sessions, uid)
        references = Map.reject(state.references, fn {_reference, of} -> of == uid end)
        state = %{state | uids: uids, sessions: sessions, references: references}
        {:noreply, state |> restart_session(uid) |> complete(uid) |> reply_if_complete()}
    end
  end

  def handle_info(_other, state), do: {:noreply, state}

  @impl true
  def terminate(_reason, state) do
    for {_uid, session} <- state.sessions, do: :gen_statem.cast(session, :disconnect)
    for {_uid, session} <- state.sessions, do: Session.disconnect(session)
  end

  defp watch(state) do
    reference = make_ref()
    state = %{state | watch: reference, reconnect: Reconnect.attempt(state.reconnect)}

    # The group stays in the context and the namespace of its first list.
    with {:ok, options} <- Protection.confirm(state.options),
         api = Native.with_environment(options.api),
         :ok <- Native.start(:watch, [reference, api, options.target]) do
      %{state | options: options}
    else
      {:error, error} ->
        send(self(), {reference, {:error, {error.stage, error.reason}}})
        state
    end
  end

  # The pod may be starting, and the session retries until its node answers.
  defp start_session(state, uid) do
    target = %{state.options.target | target: "pod/" <> state.pods[uid], labels: nil, uid: uid}
    options = %{state.options | target: target, owner: self()}
    # A session can end before it could be asked for its events.
    reference = make_ref()
    subscribers = %{reference => self()}
    {:ok, session} = Sessions.start({Session, %{options: options, subscribers: subscribers}})
    Process.monitor(session)

    %{
      state
      | sessions: Map.put(state.sessions, uid, session),
        uids: Map.put(state.uids, session, uid),
        references: Map.put(state.references, reference, uid)
    }
  end

  # The pod was listed again before its session had ended, or the session was killed.
  defp restart_session(state, uid) do
    if is_map_key(state.pods, uid) and not is_map_key(state.failed, uid),
      do: start_session(state, uid),
      else: state
  end

  defp event({:up, _connection}, uid, state), do: state |> complete(uid) |> reply_if_complete()
  defp event({:down, nil}, _uid, state), do: state
  # The reply waits for the exit of the session.
  defp event({:down, error}, uid, state), do: put_in(state.failed[uid], error)
  defp event(_reconnecting, _uid, state), do: state

  # The session tells subscribers which of the connections the event is about.
  defp publish(state, session, event) do
    Enum.each(state.subscribers, fn {reference, pid} ->
      send(pid, {:k8s_connect, reference, session, event})
    end)
  end

  defp complete(%{pending: nil} = state, _uid), do: state
  defp complete(state, uid), do: %{state | pending: MapSet.delete(state.pending, uid)}

  defp reply_if_complete(%{waiters: []} = state), do: state

  defp reply_if_complete(%{pending: %MapSet{} = pending} = state) do
    if MapSet.size(pending) == 0, do: reply(state, result(state)), else: state
  end

  defp reply_if_complete(state), do: state

  defp result(state) do
    case {connections(state), Enum.sort_by(state.failed, fn {uid, _error} -> state.pods[uid] end)} do
      {[], [{_uid, error} | _more]} -> {:error, error}
      {connections, _failed} -> {:ok, connections}
    end
  end

  defp reply(state, result) do
    Enum.each(state.waiters, &GenServer.reply(&1, result))
    release_caller(state.caller, result)
    %{state | caller: nil, waiters: []}
  end

  defp release_caller(nil, _result), do: :ok

  defp release_caller(caller, result) do
    Process.demonitor(caller, [:flush])
    # The caller does not get the pid of the group.
    if match?({:error, _error}, result), do: GenServer.cast(self(), :disconnect), else: :ok
  end

  @spec connections(%__MODULE__{}) :: [Connection.t()]
  defp connections(state) do
    mine = for {session, connection} <- Sessions.list(), state.uids[session], do: connection
    Enum.sort_by(mine, & &1.pod)
  end

  defp target(%{options: %{target: target}}), do: target.target || target.labels
end
