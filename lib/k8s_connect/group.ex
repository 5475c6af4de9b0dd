defmodule K8sConnect.Group do
  @moduledoc false
  # The connections to all running pods of a target: one watch, and one session for each pod. A pod that comes
  # gets a session, and the session of one that goes is ended. Each session reconnects by itself to its own pod,
  # and never to another one.

  use GenServer

  alias K8sConnect.{Error, Events, Native, Protection, Reconnect, Session, Sessions}

  # sessions: uid => pid, monitors: pid => uid, waiting: uids that have not answered yet
  defstruct [
    :options,
    :watch,
    :retry,
    :final_since,
    sessions: %{},
    monitors: %{},
    references: %{},
    pods: %{},
    failed: %{},
    waiting: nil,
    attempts: 0,
    waiters: [],
    subscribers: %{}
  ]

  @spec start_link(map()) :: GenServer.on_start()
  def start_link(%{options: options} = arguments) do
    name = if name = arguments[:name], do: [name: name], else: []
    GenServer.start_link(__MODULE__, options, name)
  end

  def child_spec(arguments) do
    %{id: __MODULE__, start: {__MODULE__, :start_link, [arguments]}, restart: :temporary}
  end

  @doc """
  The connections, once every pod of the first list is connected or has failed.
  """
  @spec await(GenServer.server(), timeout()) ::
          {:ok, [K8sConnect.Connection.t()], [{String.t(), Error.t()}]} | {:error, Error.t()}
  def await(group, timeout), do: GenServer.call(group, :await, timeout)

  @impl true
  def init(options) do
    Process.flag(:trap_exit, true)
    _monitor = if owner = options.owner, do: Process.monitor(owner)
    {:ok, watch(%__MODULE__{options: options})}
  end

  @impl true
  def handle_call(:await, from, state),
    do: {:noreply, answer(%{state | waiters: [from | state.waiters]})}

  def handle_call(:status, _from, state) do
    %{target: target, labels: labels} = state.options.target

    status = %{
      state: :all,
      target: target || labels,
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
  # As for a session
  def handle_cast(:disconnect, state), do: {:stop, :normal, state}

  @impl true
  def handle_info({watch, {:pods, pods}}, %{watch: watch} = state) do
    pods = Map.new(pods, fn {name, uid} -> {uid, name} end)
    gone = Map.keys(state.sessions) -- Map.keys(pods)
    new = Map.keys(pods) -- Map.keys(state.sessions)
    for uid <- gone, do: :gen_statem.cast(state.sessions[uid], :disconnect)

    state = %{
      state
      | pods: pods,
        attempts: 0,
        final_since: nil,
        failed: Map.take(state.failed, Map.keys(pods))
    }

    state = Enum.reduce(new -- Map.keys(state.failed), state, &start(&2, &1))
    {:noreply, answer(%{state | waiting: state.waiting || MapSet.new(new)})}
  end

  def handle_info({watch, {:error, {stage, reason}}}, %{watch: watch} = state) do
    error = Error.new(stage, reason)

    since = Reconnect.final?(error) && (state.final_since || now())

    # At the first list the user waits, and hears of a missing permission at once.
    grace_period = if state.waiting, do: Reconnect.grace_period(error), else: 0

    if since && now() - since >= grace_period do
      reply(state, {:error, error})
      target = state.options.target
      Events.down(state.subscribers, nil, error, target.target || target.labels)
      {:stop, {:shutdown, error}, %{state | waiters: []}}
    else
      attempts = state.attempts + 1
      retry = Process.send_after(self(), :watch, Reconnect.delay(attempts + 1, 1))

      {:noreply, %{state | watch: nil, retry: retry, attempts: attempts, final_since: since}}
    end
  end

  def handle_info(:watch, state), do: {:noreply, watch(state)}

  # What the sessions tell, is told on.
  def handle_info({:k8s_connect, reference, event}, state) do
    case state.references do
      %{^reference => uid} ->
        publish(state, state.sessions[uid], event)
        {:noreply, event(event, uid, state)}

      _of_a_session_that_has_ended ->
        {:noreply, state}
    end
  end

  def handle_info({:DOWN, _monitor, :process, pid, reason}, %{options: %{owner: pid}} = state)
      when pid != nil,
      do: {:stop, reason, state}

  def handle_info({:DOWN, monitor, :process, pid, _reason}, state) do
    case Map.pop(state.monitors, pid) do
      {nil, _monitors} ->
        {:noreply, %{state | subscribers: Map.delete(state.subscribers, monitor)}}

      {uid, monitors} ->
        sessions = Map.delete(state.sessions, uid)
        references = Map.reject(state.references, fn {_reference, of} -> of == uid end)
        state = %{state | references: references}
        {:noreply, answer(done(%{state | monitors: monitors, sessions: sessions}, uid))}
    end
  end

  def handle_info(_other, state), do: {:noreply, state}

  @impl true
  def terminate(_reason, state) do
    for {_uid, session} <- state.sessions, do: :gen_statem.cast(session, :disconnect)

    for {_uid, session} <- state.sessions do
      monitor = Process.monitor(session)
      receive do: ({:DOWN, ^monitor, :process, ^session, _reason} -> :ok)
    end
  end

  defp watch(state) do
    reference = make_ref()
    %{api: api, target: target} = state.options

    with :ok <- Protection.check_options(state.options),
         :ok <- Native.start(:watch, [reference, Native.with_environment(api), target]) do
      %{state | watch: reference, retry: nil}
    else
      {:error, error} ->
        send(self(), {reference, {:error, {error.stage, error.reason}}})
        %{state | watch: reference, retry: nil}
    end
  end

  # Its first attempt may fail, as the pod may be starting, and be repeated.
  defp start(state, uid) do
    target = %{state.options.target | target: "pod/" <> state.pods[uid], labels: nil, uid: uid}
    options = %{state.options | target: target, owner: self()}
    {:ok, session} = Sessions.start({Session, %{options: options}})
    reference = :gen_statem.call(session, {:subscribe, self()})
    Process.monitor(session)

    %{
      state
      | sessions: Map.put(state.sessions, uid, session),
        monitors: Map.put(state.monitors, session, uid),
        references: Map.put(state.references, reference, uid)
    }
  end

  defp event({:up, _connection}, uid, state), do: answer(done(state, uid))
  defp event({:down, nil}, uid, state), do: done(state, uid)
  # Of a pod that is deleted: the watch tells, too.
  defp event({:down, error}, uid, state), do: done(put_in(state.failed[uid], error), uid)
  defp event(_reconnecting, _uid, state), do: state

  # With the session, as there are several.
  defp publish(state, session, event) do
    Enum.each(state.subscribers, fn {subscriber, pid} ->
      send(pid, {:k8s_connect, subscriber, session, event})
    end)
  end

  defp done(%{waiting: nil} = state, _uid), do: state
  defp done(state, uid), do: %{state | waiting: MapSet.delete(state.waiting, uid)}

  defp answer(%{waiting: %MapSet{} = waiting} = state) do
    if MapSet.size(waiting) == 0 do
      failed = for {uid, error} <- state.failed, name = state.pods[uid], do: {name, error}
      reply(state, {:ok, connections(state), Enum.sort(failed)})
      %{state | waiters: []}
    else
      state
    end
  end

  defp answer(state), do: state

  defp reply(state, result), do: Enum.each(state.waiters, &GenServer.reply(&1, result))

  defp connections(state) do
    sessions = Map.values(state.sessions)
    mine = for {session, connection} <- Sessions.list(), session in sessions, do: connection
    Enum.sort_by(mine, & &1.pod)
  end

  defp now, do: System.monotonic_time(:millisecond)
end
