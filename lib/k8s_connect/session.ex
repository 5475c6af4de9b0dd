defmodule K8sConnect.Session do
  @moduledoc false
  # One pod's connection, from wish to end: attaching → up → gone. It belongs to the VM and not to
  # its caller, who gets `{reference, {:step, name, detail, ms}}` on the way and one
  # `{reference, {:ok, connection} | {:error, error}}`.
  #
  # The native session it holds ends with this process, whatever ends it; so do the route and the
  # distribution, which watch it.

  @behaviour :gen_statem

  alias K8sConnect.{Connection, Distribution, Error, Native, Route, Sessions}

  @enforce_keys [:caller, :reference, :options, :start]
  defstruct @enforce_keys ++ [:attach, :closed, :native, :connection]

  @typep data :: %__MODULE__{}

  def child_spec(arguments) do
    %{id: __MODULE__, start: {__MODULE__, :start_link, [arguments]}, restart: :temporary}
  end

  @spec start_link({pid(), reference(), map()}) :: :gen_statem.start_ret()
  def start_link(arguments), do: :gen_statem.start_link(__MODULE__, arguments, [])

  @doc """
  Ends the connection and waits until nothing of it is left.
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
    _monitor = if options.link, do: Process.monitor(caller)

    data = %__MODULE__{
      caller: caller,
      reference: reference,
      options: options,
      start: System.monotonic_time(:millisecond)
    }

    {:ok, :attaching, data, {:next_event, :internal, :attach}}
  end

  # attaching: the native side looks for the pod, its cookie and its node

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

  def attaching(:info, {attach, {:step, _name, _detail, _ms} = step}, %{attach: attach} = data) do
    tell(data, step)
    :keep_state_and_data
  end

  def attaching(:info, {attach, {:trace, _, _, _, _} = trace}, %{attach: attach} = data) do
    tell(data, trace)
    :keep_state_and_data
  end

  def attaching(:info, {attach, {:error, {stage, reason}}}, %{attach: attach} = data) do
    fail(Error.new(stage, reason), data)
  end

  def attaching(:info, {attach, {:ok, found}}, %{attach: attach} = data) do
    closed = make_ref()
    :ok = Native.closed(closed, found.session)
    connection = connection(found, data.options)
    data = %{data | native: found.session, connection: connection, closed: closed}
    {routes, _why} = Route.choose(data.options.route)

    with :ok <- claim(data.connection),
         {:ok, cookie} <- cookie(found, data.options),
         {:ok, data} <- attach(routes, data, cookie),
         :ok <- connect(data) do
      up(data)
    else
      {:exists, connection} -> answer({:ok, connection}, data)
      {:error, error} when not found.probed -> if_named_wrong(error, data)
      {:error, error} -> fail(error, data)
    end
  end

  def attaching({:call, _from}, :connection, _data), do: {:keep_state_and_data, :postpone}
  def attaching(:cast, :disconnect, data), do: {:stop, :normal, data}

  def attaching(:info, {:DOWN, _, :process, caller, _}, %{caller: caller} = data),
    do: {:stop, :normal, data}

  def attaching(_type, _event, _data), do: :keep_state_and_data

  # up: until the node, the link or the user ends it

  @spec up(:gen_statem.event_type(), term(), data()) :: term()
  def up(:cast, :disconnect, data), do: {:stop, :normal, data}

  def up({:call, from}, :connection, data) do
    {:keep_state_and_data, {:reply, from, data.connection}}
  end

  # This BEAM is not connected itself.
  def up(:internal, :tick, %{connection: %{route: :exec}}), do: :keep_state_and_data
  def up(:internal, :tick, data), do: {:keep_state_and_data, ticks(data.connection.node)}

  def up({:timeout, :tick}, interval, data) do
    node = data.connection.node
    # An answer is traffic in both directions; nothing waits for it.
    spawn(fn -> catch_noconnection(fn -> :erpc.call(node, :erlang, :node, []) end) end)
    {:keep_state_and_data, tick(interval)}
  end

  def up(:info, {:DOWN, _, :process, caller, _}, %{caller: caller} = data),
    do: {:stop, :normal, data}

  def up(:info, {:nodedown, node}, %{connection: %{node: node}} = data),
    do: {:stop, :normal, data}

  def up(:info, {closed, {:ok, reason}}, %{closed: closed} = data),
    do: {:stop, {:shutdown, {:link_closed, reason}}, data}

  def up(:info, {closed, _reason}, %{closed: closed} = data), do: {:stop, :normal, data}

  # Nobody waits for an answer any more, and the loss alone would not tell why.
  def up(:info, {:route_lost, error}, data) do
    :logger.error("k8s_connect: lost ~ts: ~ts", [data.connection.node, Exception.message(error)])
    {:stop, :normal, data}
  end

  def up(_type, _event, _data), do: :keep_state_and_data

  @impl true
  def terminate(_reason, _state, data), do: release(data)

  # All of it goes with this process, by itself; here it is waited for.
  defp release(%{native: nil}), do: :ok

  defp release(data) do
    detach()
    Native.close(data.native)
    Sessions.leave()
    :ok
  end

  defp detach do
    Route.detach()
  catch
    # It is gone itself, and whoever takes its place begins with nothing.
    :exit, _reason -> :ok
  end

  # Reports and crash logs show neither the native session nor what a cookie was given as.
  @impl true
  def format_status(_reason, [_dictionary, state, data]) do
    {state, Map.take(data, [:connection])}
  end

  defp up(data) do
    if data.connection.route != :exec, do: Node.monitor(data.connection.node, true)
    true = Sessions.up(key(data.connection), data.connection)
    note = Route.note(data.connection)
    if note, do: tell(data, {:step, "host", note, now(data)})
    tell(data, {:step, "connected", to(data.connection), now(data)})
    tell(data, {:ok, data.connection})
    {:next_state, :up, %{data | options: nil}, {:next_event, :internal, :tick}}
  end

  defp to(%{route: :exec, node: node, pod: pod}), do: "to pod #{pod}; its node is #{node}"
  defp to(%{node: node}), do: "to #{node}"

  # A node drops another that is silent for its own net_ticktime, and each ticks by its own, which
  # nobody tells the other. Where the two differ we make the traffic.
  defp ticks(node) do
    asked =
      catch_noconnection(fn -> :erpc.call(node, :net_kernel, :get_net_ticktime, [], 5_000) end)

    case {ticktime(asked), ticktime()} do
      {same, same} -> []
      {nil, _ours} -> []
      {theirs, ours} -> [tick(min(theirs, ours) * 250)]
    end
  end

  # The node is gone already then, and its nodedown is on the way.
  defp catch_noconnection(fun) do
    fun.()
  catch
    :error, {:erpc, _reason} -> nil
  end

  defp ticktime, do: ticktime(:net_kernel.get_net_ticktime())
  defp ticktime({:ongoing_change_to, seconds}), do: seconds
  defp ticktime(seconds), do: seconds

  defp tick(interval), do: {{:timeout, :tick}, interval, interval}

  # Connecting twice to one pod is one connection: the other session's, once it is up.
  defp claim(connection) do
    case Sessions.claim(key(connection)) do
      :ok ->
        :ok

      {:taken, session} ->
        try do
          {:exists, :gen_statem.call(session, :connection)}
        catch
          # It did not come up, or has ended: the place is free, or soon will be.
          :exit, _reason -> claim(connection)
        end
    end
  end

  # A pod is its uid: names and contexts repeat from cluster to cluster.
  defp key(connection), do: {connection.uid, connection.node}

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

  # The first route that works. That one was passed over is told, and is no error.
  defp attach([route | others], data, cookie) do
    connection = %{data.connection | route: route}

    case Route.attach(connection, data.native, cookie, data.options.route) do
      :ok ->
        {:ok, %{data | connection: connection}}

      {:error, error} when others == [] ->
        {:error, error}

      {:error, error} ->
        why = "#{hd(others)}, as #{route} does not work: #{Exception.message(error)}"
        tell(data, {:step, "route", why, now(data)})
        attach(others, data, cookie)
    end
  end

  defp cookie(_found, %{route: %{route: :exec}}), do: {:ok, fn -> nil end}

  defp cookie(found, options) do
    case options.cookie.() || Native.cookie(found.session) do
      nil -> {:error, Error.new(:cookie, {:not_found, Map.take(found, [:pod, :namespace])})}
      # In a function, which no report shows the inside of.
      cookie -> {:ok, fn -> cookie end}
    end
  end

  # The way is known to be open and the node to be there: unless the link has just ended, or the node
  # says so itself, what is left is the cookie.
  defp connect(%{connection: connection, closed: closed} = data) do
    if Route.connect(connection, data.options.route) do
      :ok
    else
      receive do
        {^closed, {:ok, reason}} -> {:error, Error.new(:node, {:link_closed, %{reason: reason}})}
      after
        0 -> {:error, refusal(data)}
      end
    end
  end

  defp refusal(%{connection: connection} = data) do
    case Native.call(:refusal, [data.native, Atom.to_string(Node.self())]) do
      {:error, %Error{stage: :node, reason: {:link_closed, _details}} = error} ->
        error

      {:error, %Error{stage: :node, reason: {:rejected, _details}} = error} ->
        error

      _no_word_of_it ->
        details = %{node: connection.node, source: connection.cookie_source}
        Error.new(:connect, {:refused, details})
    end
  end

  # The pod's spec told the name, and that may be what was wrong: now the node is asked itself.
  defp if_named_wrong(%Error{stage: :connect}, data), do: once_more(data)
  defp if_named_wrong(%Error{reason: {:host_elsewhere, _details}}, data), do: once_more(data)
  defp if_named_wrong(error, data), do: fail(error, data)

  defp once_more(data) do
    release(data)
    data = put_in(data.options.target.trust, false)
    {:keep_state, %{data | native: nil}, {:next_event, :internal, :attach}}
  end

  defp fail(error, data), do: answer({:error, error}, data)

  defp answer(result, data) do
    release(data)
    tell(data, result)
    {:stop, :normal, %{data | native: nil}}
  end

  defp tell(data, message), do: send(data.caller, {data.reference, message})

  defp now(data), do: System.monotonic_time(:millisecond) - data.start
end
