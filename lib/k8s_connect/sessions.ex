defmodule K8sConnect.Sessions do
  @moduledoc false
  # The table of sessions: `{key, session, connection | nil}`, with `nil` until the session is connected. An entry
  # is valid only while its process is alive, so a killed session needs no cleanup.

  alias K8sConnect.Connection

  @table __MODULE__
  @supervisor __MODULE__.Supervisor

  @doc """
  The supervisor of the sessions. The calling process owns the table.
  """
  @spec child_spec(term()) :: Supervisor.child_spec()
  def child_spec(_options) do
    @table = :ets.new(@table, [:named_table, :public, read_concurrency: true])
    DynamicSupervisor.child_spec(name: @supervisor)
  end

  @spec start(Supervisor.child_spec() | {module(), term()}) :: DynamicSupervisor.on_start_child()
  def start(session), do: DynamicSupervisor.start_child(@supervisor, session)

  @doc """
  The key of a session. It has the pod's UID, because pod names and contexts are not unique across clusters.
  """
  @spec key(Connection.t() | %Connection{}) :: {String.t(), node()}
  def key(connection), do: {connection.uid, connection.node}

  @doc """
  Registers `key` for `session`, or returns the session that has registered it already.
  """
  @spec register(term(), pid()) :: :ok | {:taken, pid()}
  def register(key, session) do
    if :ets.insert_new(@table, {key, session, nil}),
      do: :ok,
      else: taken(key, session, :ets.lookup(@table, key))
  end

  @doc """
  Stores the connection of the calling session under `key`.
  """
  @spec put(term(), Connection.t()) :: true
  def put(key, connection) do
    :ets.insert(@table, {key, self(), connection})
  rescue
    # The table ends with the application, which a session in a supervision tree of the user outlives.
    ArgumentError -> true
  end

  @doc """
  Removes the keys of the calling session other than `key`: those of earlier pods and attempts.
  """
  @spec keep_only(term()) :: true
  def keep_only(key) do
    others = {{:"$1", self(), :_}, [{:"=/=", :"$1", {:const, key}}], [true]}
    _count = :ets.select_delete(@table, [others])
    true
  rescue
    # The same.
    ArgumentError -> true
  end

  @doc """
  Removes all keys of `session`.
  """
  @spec unregister(pid()) :: true
  def unregister(session), do: delete({:_, session, :_})

  @doc """
  Removes the keys of `session` that have no connection yet.
  """
  @spec unregister_pending(pid()) :: true
  def unregister_pending(session), do: delete({:_, session, nil})

  # The same.
  defp delete(pattern) do
    :ets.match_delete(@table, pattern)
  rescue
    ArgumentError -> true
  end

  @doc """
  The sessions of a node, connected or connecting.
  """
  @spec of(node()) :: [pid()]
  def of(node) do
    # With a guard, because a name can be an atom that has a meaning in a pattern.
    pattern = {{:_, :"$2"}, :"$1", :_}
    :ets.select(@table, [{pattern, [{:"=:=", :"$2", {:const, node}}], [:"$1"]}])
  rescue
    ArgumentError -> []
  end

  @doc """
  The number of sessions that reconnect to the cluster of `connection`.
  """
  @spec reconnecting(Connection.t() | nil) :: pos_integer()
  def reconnecting(nil), do: 1

  def reconnecting(%{context: context}) do
    max(1, Enum.count(reconnecting(), &(&1.context == context)))
  end

  @doc """
  The connections whose sessions reconnect.
  """
  @spec reconnecting() :: [Connection.t()]
  def reconnecting do
    # Not with `list/0`, which copies every connection.
    for {_key, session, connection} <-
          :ets.match_object(@table, {:_, :_, %{state: :reconnecting}}),
        Process.alive?(session),
        do: connection
  rescue
    ArgumentError -> []
  end

  @doc """
  The sessions that have or had a connection. Empty if the application is not running.
  """
  @spec list() :: [{pid(), Connection.t()}]
  def list do
    for {_key, session, %Connection{} = connection} <- :ets.tab2list(@table),
        Process.alive?(session),
        do: {session, connection}
  rescue
    ArgumentError -> []
  end

  # The session registered the key itself, in an earlier attempt.
  defp taken(_key, session, [{_same, session, _connection}]), do: :ok

  defp taken(key, session, [{key, other, _connection}]) do
    if Process.alive?(other) do
      {:taken, other}
    else
      :ets.match_delete(@table, {key, other, :_})
      register(key, session)
    end
  end

  # It was unregistered in the meantime.
  defp taken(key, session, []), do: register(key, session)
end
