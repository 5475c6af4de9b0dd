defmodule K8sConnect.Session do
  @moduledoc false
  # The session of one target. It connects, reconnects after each loss, and exits at the end of the connection:
  #
  #   connecting ──► up ──► reconnecting ──► up … ──► the end of this process
  #
  # | from | on | to |
  # |---|---|---|
  # | connecting | the node is connected | up |
  # | connecting | an error, the connect timeout, the exit of the `:caller` | the end |
  # | up | the node or the port-forward connection is lost | reconnecting |
  # | reconnecting | the node of this pod or of its replacement is connected | up |
  # | reconnecting | an error that another attempt would repeat, or the limit of `:reconnect` | the end |
  # | any | `disconnect/1`, `Node.disconnect/1`, the exit of the `:owner` | the end |
  #
  # A session in a supervision tree retries a failed first attempt, as in reconnecting.
  #
  # A `K8sConnect.PodConnection` process does everything that blocks. A session has one such process at a time, and
  # can kill it in every state: everything that the process has opened is closed when the process exits.

  @behaviour :gen_statem

  alias K8sConnect.{Error, Events, Native, Options, PodConnection, Reconnect, Servers, Sessions}
  alias K8sConnect.Session.{Attempt, Status}

  # There may be a thousand sessions, and most of the time nothing happens in them.
  @start_options [hibernate_after: 1_000]
  # The cause of a loss can arrive a moment after the loss.
  @announce_after 500

  defstruct [
    :options,
    :caller,
    :reference,
    :monitor,
    :owner,
    :start,
    :step,
    :pod_connection,
    :guard,
    :connection,
    :error,
    :since,
    reconnect: %Reconnect{},
    reconnects: 0,
    announced: true,
    subscribers: %{},
    waiters: []
  ]

  @type data :: %__MODULE__{}

  def child_spec(arguments) do
    %{id: __MODULE__, start: {__MODULE__, :start_link, [arguments]}, restart: :temporary}
  end

  @doc """
  Starts a session. With a `:caller`, the calling process receives `{reference, event}` for each step, and then one
  `{reference, {:ok, connection} | {:error, error}}`. Until then, an error or the exit of the caller ends the session.
  """
  @spec start_link(map()) :: :gen_statem.start_ret()
  def start_link(%{name: name} = arguments) when name != nil,
    do: :gen_statem.start_link(name, __MODULE__, arguments, @start_options)

  def start_link(arguments),
    do: :gen_statem.start_link(__MODULE__, arguments, @start_options)

  @doc """
  Ends the connection. Returns when the session has exited.
  """
  @spec disconnect(pid()) :: :ok
  def disconnect(session) do
    monitor = Process.monitor(session)
    :gen_statem.cast(session, :disconnect)

    receive do: ({:DOWN, ^monitor, :process, ^session, _reason} -> :ok)
  end

  @doc """
  The guard lets through I/O requests to the local process `pid` that name functions. `pid` has to check them itself.
  """
  @spec disable_io_check(pid(), pid()) :: :ok
  def disable_io_check(session, pid), do: :gen_statem.call(session, {:disable_io_check, pid})

  @impl true
  def callback_mode, do: :state_functions

  @impl true
  def init(%{options: options} = arguments) do
    # `terminate/3` must run when the application stops.
    Process.flag(:trap_exit, true)
    caller = arguments[:caller]

    # The user has the pid of this session at once. Otherwise the first pod connection adds it while it waits.
    _ = if caller == nil, do: Servers.add(self())
    _monitor = if owner = options.owner, do: Process.monitor(owner)

    data = %__MODULE__{
      options: if(caller, do: options, else: expecting(options)),
      caller: caller,
      reference: arguments[:reference],
      monitor: if(caller, do: Process.monitor(caller)),
      owner: options.owner,
      reconnect: %Reconnect{policy: options.reconnect},
      start: System.monotonic_time(:millisecond),
      since: System.system_time(:microsecond),
      subscribers: Map.get(arguments, :subscribers, %{})
    }

    deadline =
      if caller, do: [{{:timeout, :deadline}, options.connect_timeout, options.connect_timeout}]

    {:ok, :connecting, Attempt.start(data, caller == nil), List.wrap(deadline)}
  end

  # In a supervision tree nobody waits for the first attempt, and the pod may not exist yet. With a placeholder for the
  # pod's controller the attempt waits for the pod, instead of failing with `:no_such_pod`.
  defp expecting(options),
    do: put_in(options.target.controller, options.target.controller || {"", ""})

  # connecting

  @spec connecting(:gen_statem.event_type(), term(), data()) :: term()
  def connecting(
        :info,
        {events, {:step, name, _, _} = step},
        %{pod_connection: {_, _, events}} = data
      ) do
    notify(data, step)
    {:keep_state, %{data | step: name}}
  end

  def connecting(
        :info,
        {events, {:trace, _, _, _, _} = trace},
        %{pod_connection: {_, _, events}} = data
      ) do
    notify(data, trace)
    :keep_state_and_data
  end

  def connecting(:info, {:DOWN, _, :process, pid, reason}, %{pod_connection: {pid, _, _}} = data) do
    case {PodConnection.result(reason, data.options), data.caller} do
      {{:exists, _connection, error}, nil} -> first_failed(error, data)
      {{:exists, connection, _error}, _caller} -> answer({:ok, connection}, data)
      {{:error, error}, nil} -> first_failed(error, data)
      {{:error, error}, _caller} -> answer({:error, error}, data)
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

  def up(:info, {events, {:lost, error}}, %{pod_connection: {_, _, events}} = data),
    do: lost(error, data)

  def up(:info, {:DOWN, _, :process, pid, reason}, %{pod_connection: {pid, _, _}} = data) do
    case PodConnection.result(reason, data.options) do
      :disconnected ->
        ended(nil, data)

      {:error, error} ->
        {:next_state, :reconnecting, data, actions} = lost(error, data)

        with {:next_state, state, data, more} <- retry(error, data),
             do: {:next_state, state, data, actions ++ more}
    end
  end

  def up(type, event, data), do: any(:up, type, event, data)

  # reconnecting: the current pod connection or a new one connects to the node

  @spec reconnecting(:gen_statem.event_type(), term(), data()) :: term()
  def reconnecting({:timeout, :attempt}, _number, data),
    do: {:keep_state, Attempt.start(data, true)}

  def reconnecting({:timeout, :announce}, _after, %{announced: true}), do: :keep_state_and_data
  def reconnecting({:timeout, :announce}, _after, data), do: {:keep_state, announce(data, 1, 0)}

  def reconnecting({:timeout, :deadline}, _ms, data), do: ended(data.error, data)

  def reconnecting(:info, {events, {:lost, error}}, %{pod_connection: {_, _, events}} = data),
    do: {:keep_state, %{data | error: error}}

  def reconnecting(:info, {:DOWN, _, _, pid, reason}, %{pod_connection: {pid, _, _}} = data) do
    case PodConnection.result(reason, data.options) do
      :disconnected -> ended(nil, data)
      {:exists, _connection, error} -> retry(error, data)
      {:error, error} -> retry(error, data)
    end
  end

  def reconnecting(type, event, data), do: any(:reconnecting, type, event, data)

  # All states

  defp any(_state, :info, {events, event}, %{pod_connection: {_, _, events}} = data),
    do: of_pod_connection(event, data)

  defp any(_state, {:call, _from}, :connection, _data), do: {:keep_state_and_data, :postpone}

  defp any(_state, {:call, from}, :await_up, data),
    do: {:keep_state, %{data | waiters: [from | data.waiters]}}

  defp any(state, {:call, from}, :status, data),
    do: {:keep_state_and_data, {:reply, from, Status.of(state, data)}}

  defp any(_state, {:call, from}, {:disable_io_check, pid}, data) do
    if data.guard, do: Native.guard_judge(data.guard, :erlang.term_to_binary(pid))
    {:keep_state_and_data, {:reply, from, :ok}}
  end

  defp any(state, {:call, from}, {:subscribe, pid}, data) do
    reference = Process.monitor(pid)
    data = put_in(data.subscribers[reference], pid)
    if event = Status.event(state, data), do: send(pid, {:k8s_connect, reference, event})
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

  defp of_pod_connection({:up, connection}, data), do: connected(connection, data)

  # The controller creates a new pod when this pod is deleted
  defp of_pod_connection({:controller, controller}, data),
    do: {:keep_state, put_in(data.options.target.controller, controller)}

  # The first of its kind
  defp of_pod_connection({:refused, kind, detail}, data) do
    Events.refused(audience(data), data.connection, kind, detail, target(data))
    :keep_state_and_data
  end

  defp of_pod_connection(_event, _data), do: :keep_state_and_data

  @impl true
  def terminate(_reason, _state, data) do
    _data = Attempt.release(data)
    :ok
  end

  # Reports and crash logs do not show the options, which may hold a cookie.
  @impl true
  def format_status(status) do
    Map.replace_lazy(status, :data, fn
      %__MODULE__{} = data -> Map.take(data, [:connection, :error, :reconnect, :reconnects])
      other -> other
    end)
  end

  # Transitions

  defp connected(connection, data) do
    if data.monitor, do: Process.demonitor(data.monitor, [:flush])
    key = Sessions.key(connection)
    true = Sessions.put(key, connection)
    # With a caller this is the first attempt.
    true = data.caller != nil or Sessions.keep_only(key)
    notify(data, {:ok, connection})
    for from <- data.waiters, do: :gen_statem.reply(from, {:ok, connection})
    data = if data.announced, do: data, else: announce(data, 1, 0)
    Events.up(audience(data), connection, data.connection)

    data = %{
      data
      | options: pin(data.options, connection),
        caller: nil,
        monitor: nil,
        reconnects: data.reconnects + if(data.connection, do: 1, else: 0),
        connection: connection,
        error: nil,
        reconnect: Reconnect.up(data.reconnect),
        waiters: [],
        since: System.system_time(:microsecond)
    }

    {:next_state, :up, data, no_timeouts()}
  end

  # By the next attempt a shell may read from the terminal.
  defp pin(options, connection),
    do: put_in(Options.confirmed(options, connection).api.interactive, false)

  defp lost(error, data) do
    connection = %{data.connection | state: :reconnecting}
    true = Sessions.put(Sessions.key(connection), connection)

    data = %{
      data
      | connection: connection,
        error: error,
        reconnect: Reconnect.lost(data.reconnect),
        announced: false,
        since: System.system_time(:microsecond)
    }

    announce = {{:timeout, :announce}, @announce_after, nil}
    {:next_state, :reconnecting, data, [announce | deadline(data)]}
  end

  # Only in a supervision tree: without a caller, the session retries after the first failure
  defp first_failed(error, data) do
    with {:next_state, state, data, actions} <- retry(error, %{data | announced: false}),
         do: {:next_state, state, data, deadline(data) ++ actions}
  end

  defp retry(error, data) do
    data = %{Attempt.kill(data) | error: error}
    sessions = Sessions.reconnecting(data.connection)

    case not other_pod?(error, data) && Reconnect.failed(data.reconnect, error, sessions) do
      {:retry, delay, reconnect} ->
        data = announce(%{data | reconnect: reconnect}, reconnect.attempts + 1, delay)
        {:next_state, :reconnecting, data, [{{:timeout, :attempt}, delay, nil}]}

      _give_up ->
        ended(error, data)
    end
  end

  # If the target has a uid, the session must not connect to a replacement.
  defp other_pod?(%Error{reason: {:replaced, _details}}, data), do: data.options.target.uid != nil
  defp other_pod?(_error, _data), do: false

  defp deadline(%{options: %{reconnect: [_ | _] = reconnect}}) do
    case reconnect[:deadline] do
      nil -> []
      ms -> [{{:timeout, :deadline}, ms, ms}]
    end
  end

  defp deadline(_data), do: []

  defp no_timeouts,
    do: for(name <- [:deadline, :announce, :attempt], do: {{:timeout, name}, :infinity, nil})

  # `error` is nil if the user or the owner ended the connection.
  defp ended(error, data) do
    data = Attempt.release(data)
    if data.caller == nil, do: Events.down(audience(data), data.connection, error, target(data))
    reply = {:error, error || Error.new(:connect, {:lost, %{node: target(data), reason: nil}})}
    for from <- data.waiters, do: :gen_statem.reply(from, reply)
    {:stop, if(error, do: {:shutdown, error}, else: :normal), %{data | waiters: []}}
  end

  defp answer(result, data) do
    data = Attempt.release(data)
    notify(data, result)
    {:stop, :normal, data}
  end

  # Notifies the subscribers. The first call after a loss also logs the loss.
  defp announce(data, attempt, delay) do
    if not data.announced,
      do: Events.lost(audience(data), data.connection, data.error, target(data))

    Events.reconnecting(audience(data), data.error, attempt, delay)
    %{data | announced: true}
  end

  defp audience(data), do: {data.subscribers, data.options.log}

  defp target(data), do: Status.target(data)

  defp unsubscribe(reference, data),
    do: %{data | subscribers: Map.delete(data.subscribers, reference)}

  defp notify(%{caller: nil}, _message), do: :ok
  defp notify(data, message), do: send(data.caller, {data.reference, message})
end
