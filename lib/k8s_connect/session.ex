defmodule K8sConnect.Session do
  @moduledoc false
  # One pod's connection: attaching → connecting → up → gone. It belongs to the VM and not to its caller,
  # who gets `{reference, {:step, name, detail, ms}}` for each step and one
  # `{reference, {:ok, connection} | {:error, error}}`. Nothing blocks here, so a session can be ended in
  # every state: by its caller's end, by `disconnect/1`, by its deadline, by the end of the application.
  #
  # The native session ends with this process, however that ends; so do the route and the connector.

  @behaviour :gen_statem

  alias K8sConnect.{Connection, Connector, Distribution, Error, Native, Route, Sessions}

  @enforce_keys [:caller, :reference, :options, :start]
  defstruct @enforce_keys ++
              [:monitor, :step, :attach, :closed, :native, :probed, :connector, :connection]

  @typep data :: %__MODULE__{}

  def child_spec(arguments) do
    %{id: __MODULE__, start: {__MODULE__, :start_link, [arguments]}, restart: :temporary}
  end

  @spec start_link({pid(), reference(), map()}) :: :gen_statem.start_ret()
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
  def init({caller, reference, options}) do
    # `terminate/3` must run when the application stops.
    Process.flag(:trap_exit, true)
    _monitor = if owner = options.owner, do: Process.monitor(owner)

    data = %__MODULE__{
      caller: caller,
      monitor: Process.monitor(caller),
      reference: reference,
      options: options,
      start: System.monotonic_time(:millisecond)
    }

    deadline = {{:timeout, :deadline}, options.connect_timeout, options.connect_timeout}
    {:ok, :attaching, data, [deadline, {:next_event, :internal, :attach}]}
  end

  # attaching: the native side finds the pod, its cookie and its node

  @spec attaching(:gen_statem.event_type(), term(), data()) :: term()
  def attaching(:internal, :attach, %{options: options} = data) do
    reference = make_ref()
    api = Native.with_environment(options.api)

    case Native.start(:attach, [reference, api, options.target]) do
      :ok ->
        _ = if options.route.route != :exec, do: Distribution.preload()
        {:keep_state, %{data | attach: reference}}

      {:error, error} ->
        fail(error, data)
    end
  end

  def attaching(:info, {attach, {:step, name, _detail, _ms} = step}, %{attach: attach} = data) do
    notify(data, step)
    {:keep_state, %{data | step: name}}
  end

  def attaching(:info, {attach, {:trace, _, _, _, _} = trace}, %{attach: attach} = data) do
    notify(data, trace)
    :keep_state_and_data
  end

  def attaching(:info, {attach, {:error, {stage, reason}}}, %{attach: attach} = data),
    do: fail(Error.new(stage, reason), data)

  def attaching(:info, {attach, {:ok, found}}, %{attach: attach} = data) do
    closed = make_ref()
    :ok = Native.closed(closed, found.session)
    connection = connection(found, data.options)

    data = %{
      data
      | native: found.session,
        probed: found.probed,
        connection: connection,
        closed: closed
    }

    case cookie(found, data.options) do
      {:ok, cookie} -> {:next_state, :connecting, %{data | connector: connector(cookie, data)}}
      {:error, error} -> fail(error, data)
    end
  end

  def attaching(type, event, data), do: not_up(type, event, data)

  # connecting: the connector attaches the node to a route and connects

  @spec connecting(:gen_statem.event_type(), term(), data()) :: term()
  def connecting(
        :info,
        {:DOWN, monitor, :process, pid, end_},
        %{connector: {pid, monitor}} = data
      ) do
    data = %{data | connector: nil}

    case end_ do
      {:connector, {:ok, connection}} -> up(%{data | connection: connection})
      {:connector, {:exists, connection}} -> answer({:ok, connection}, data)
      {:connector, {:error, error}} -> retry_or_fail(error, data)
      reason -> fail(Error.new(:connect, {:session_died, %{problem: problem(reason)}}), data)
    end
  end

  def connecting(:info, {closed, {:ok, reason}}, %{closed: closed} = data),
    do: fail(Error.new(:node, {:link_closed, %{reason: reason}}), data)

  # Judged in `up`: the connector may still fall back to a route without redirects.
  def connecting(:info, {:redirects_lost, _key, _error}, _data),
    do: {:keep_state_and_data, :postpone}

  def connecting(type, event, data), do: not_up(type, event, data)

  # Both states before it is up

  defp not_up({:call, _from}, :connection, _data), do: {:keep_state_and_data, :postpone}
  defp not_up(:cast, :disconnect, data), do: {:stop, :normal, data}

  defp not_up({:timeout, :deadline}, ms, data) do
    details = %{ms: ms, step: data.step, target: data.options.target.target}
    fail(Error.new(:connect, {:timeout, details}), data)
  end

  # Nobody waits for the connection any more.
  defp not_up(:info, {:DOWN, _, :process, pid, _}, %{caller: caller, options: options} = data)
       when pid == caller or pid == options.owner,
       do: {:stop, :normal, data}

  defp not_up(_type, _event, _data), do: :keep_state_and_data

  # up: until the node, the link or the user ends it

  @spec up(:gen_statem.event_type(), term(), data()) :: term()
  def up(:cast, :disconnect, data), do: {:stop, :normal, data}

  def up({:call, from}, :connection, data),
    do: {:keep_state_and_data, {:reply, from, data.connection}}

  # This VM is not connected itself.
  def up(:internal, :tick, %{connection: %{route: :exec}}), do: :keep_state_and_data

  def up(:internal, :tick, %{connection: %{node: node}}) do
    session = self()
    spawn(fn -> :gen_statem.cast(session, {:tick_every, interval(node)}) end)
    :keep_state_and_data
  end

  def up(:cast, {:tick_every, nil}, _data), do: :keep_state_and_data
  def up(:cast, {:tick_every, interval}, _data), do: {:keep_state_and_data, tick(interval)}

  def up({:timeout, :tick}, interval, data) do
    node = data.connection.node
    # An answer is traffic in both directions; nothing waits for it.
    spawn(fn -> catch_noconnection(fn -> :erpc.call(node, :erlang, :node, []) end) end)
    {:keep_state_and_data, tick(interval)}
  end

  def up(:info, {:DOWN, _, :process, owner, _}, %{options: %{owner: owner}} = data),
    do: {:stop, :normal, data}

  def up(:info, {:nodedown, node}, %{connection: %{node: node}} = data),
    do: {:stop, :normal, data}

  def up(:info, {closed, {:ok, reason}}, %{closed: closed} = data),
    do: {:stop, {:shutdown, {:link_closed, reason}}, data}

  def up(:info, {closed, _reason}, %{closed: closed} = data), do: {:stop, :normal, data}

  # Nobody waits for a result any more, and the loss alone would not tell why.
  def up(:info, {:redirects_lost, _key, error}, %{connection: %{route: :kernel}} = data) do
    node = data.connection.node
    :logger.error("k8s_connect: lost ~ts: ~ts", [node, Exception.message(error)])
    {:stop, :normal, data}
  end

  def up(_type, _event, _data), do: :keep_state_and_data

  @impl true
  def terminate(_reason, _state, data), do: release(data)

  # All of it ends with this process anyway; here it is waited for.
  defp release(data) do
    with {pid, monitor} <- data.connector do
      Process.demonitor(monitor, [:flush])
      Process.exit(pid, :kill)
    end

    if data.native do
      detach()
      Native.close(data.native)
    end

    Sessions.unregister()
    :ok
  end

  defp detach do
    Route.detach()
  catch
    # It has ended itself, and its successor starts with an empty table.
    :exit, _reason -> :ok
  end

  # Reports and crash logs show neither the native session nor the options, which may hold a cookie.
  @impl true
  def format_status(status) do
    Map.replace_lazy(status, :data, fn
      %__MODULE__{} = data -> Map.take(data, [:connection])
      other -> other
    end)
  end

  defp up(data) do
    Process.demonitor(data.monitor, [:flush])
    if data.connection.route != :exec, do: Node.monitor(data.connection.node, true)
    true = Sessions.up(Sessions.key(data.connection), data.connection)
    note = Route.note(data.connection)
    if note, do: notify(data, {:step, "host", note, now(data)})
    notify(data, {:step, "connected", to(data.connection), now(data)})
    notify(data, {:ok, data.connection})
    # Nothing of the options is needed any more, and there may be a cookie in them.
    data = %{data | options: Map.take(data.options, [:owner])}
    no_deadline = {{:timeout, :deadline}, :infinity, nil}
    {:next_state, :up, data, [no_deadline, {:next_event, :internal, :tick}]}
  end

  defp to(%{route: :exec, node: node, pod: pod}), do: "to pod #{pod}; its node is #{node}"
  defp to(%{node: node}), do: "to #{node}"

  # A node drops another that is silent for its own net_ticktime, and each ticks by its own. Where the two
  # differ we make the traffic: the interval in milliseconds, or nil.
  defp interval(node) do
    asked =
      catch_noconnection(fn -> :erpc.call(node, :net_kernel, :get_net_ticktime, [], 5_000) end)

    case {ticktime(asked), ticktime(:net_kernel.get_net_ticktime())} do
      {same, same} -> nil
      {nil, _ours} -> nil
      {theirs, ours} -> min(theirs, ours) * 250
    end
  end

  # The node is gone then, and its nodedown is on the way.
  defp catch_noconnection(fun) do
    fun.()
  catch
    :error, {:erpc, _reason} -> nil
  end

  defp ticktime({:ongoing_change_to, seconds}), do: ticktime(seconds)
  defp ticktime(seconds) when is_integer(seconds) and seconds > 0, do: seconds
  # The pod may answer anything.
  defp ticktime(_other), do: nil

  defp tick(interval), do: {{:timeout, :tick}, interval, interval}

  defp connection(found, options) do
    %Connection{
      # The native side has checked that it is a name that a node can have.
      node: String.to_atom(found.node),
      pod: found.pod,
      uid: found.uid,
      namespace: found.namespace,
      context: found.context,
      others: found.others,
      ip: found.ip,
      # Until one has been found to work.
      route: nil,
      cookie_source: found.cookie_source || options.cookie_source
    }
  end

  defp connector(cookie, data) do
    %{caller: caller, reference: reference, start: start} = data

    Connector.start(%{
      session: self(),
      native_session: data.native,
      connection: data.connection,
      cookie: cookie,
      route: data.options.route,
      notify: fn name, detail ->
        send(
          caller,
          {reference, {:step, name, detail, System.monotonic_time(:millisecond) - start}}
        )
      end
    })
  end

  # In a function: a report does not show what is inside.
  defp cookie(_found, %{route: %{route: :exec}}), do: {:ok, fn -> nil end}

  defp cookie(found, options) do
    case options.cookie.() || Native.cookie(found.session) do
      nil -> {:error, Error.new(:cookie, {:not_found, Map.take(found, [:pod, :namespace])})}
      cookie -> {:ok, fn -> cookie end}
    end
  end

  # The name was read from the pod's spec and may be wrong: now the node itself is asked.
  defp retry_or_fail(error, %{probed: false} = data) do
    if named_wrong?(error) do
      release(data)
      data = put_in(data.options.target.trust, false)
      {:next_state, :attaching, %{data | native: nil}, {:next_event, :internal, :attach}}
    else
      fail(error, data)
    end
  end

  defp retry_or_fail(error, data), do: fail(error, data)

  defp named_wrong?(%Error{stage: :connect}), do: true
  defp named_wrong?(%Error{reason: {:host_elsewhere, _details}}), do: true
  defp named_wrong?(_error), do: false

  defp fail(error, data), do: answer({:error, error}, data)

  defp answer(result, data) do
    release(data)
    notify(data, result)
    {:stop, :normal, %{data | native: nil, connector: nil}}
  end

  defp problem(reason), do: inspect(reason, limit: 5)

  defp notify(data, message), do: send(data.caller, {data.reference, message})

  defp now(data), do: System.monotonic_time(:millisecond) - data.start
end
