defmodule K8sConnect.Sessions do
  @moduledoc false
  # The sessions, by what they are connected to: `{key, session, connection | nil}`, `nil` until it is up. An
  # entry counts for as long as its process lives, so a killed session needs nobody to clean up after it.

  alias K8sConnect.Connection

  @table __MODULE__
  @supervisor __MODULE__.Supervisor

  @doc """
  The supervisor of the sessions. The table lives as long as the caller, which is the application.
  """
  @spec child_spec(term()) :: Supervisor.child_spec()
  def child_spec(_options) do
    @table = :ets.new(@table, [:named_table, :public, read_concurrency: true])
    DynamicSupervisor.child_spec(name: @supervisor)
  end

  @spec start(Supervisor.child_spec() | {module(), term()}) :: DynamicSupervisor.on_start_child()
  def start(session), do: DynamicSupervisor.start_child(@supervisor, session)

  @doc """
  What a session is registered by: names and contexts repeat from cluster to cluster, the uid of a pod
  does not.
  """
  @spec key(Connection.t() | %Connection{}) :: {String.t(), node()}
  def key(connection), do: {connection.uid, connection.node}

  @doc """
  Registers `key` for `session`, or returns the session that has it.
  """
  @spec register(term(), pid()) :: :ok | {:taken, pid()}
  def register(key, session) do
    if :ets.insert_new(@table, {key, session, nil}),
      do: :ok,
      else: taken(key, session, :ets.lookup(@table, key))
  end

  @doc """
  Stores the connection of the calling session, by this key alone.
  """
  @spec up(term(), Connection.t()) :: true
  def up(key, connection) do
    :ets.insert(@table, {key, self(), connection})
    # Those of pods that it was connected to before.
    others = {{:"$1", self(), :_}, [{:"=/=", :"$1", {:const, key}}], [true]}
    _count = :ets.select_delete(@table, [others])
    true
  end

  @doc """
  Removes what `session` has registered.
  """
  @spec unregister(pid()) :: true
  def unregister(session), do: :ets.match_delete(@table, {:_, session, :_})

  @doc """
  Removes what `session` has registered without getting a connection.
  """
  @spec unregister_pending(pid()) :: true
  def unregister_pending(session), do: :ets.match_delete(@table, {:_, session, nil})

  @doc """
  The sessions of a node, up or about to be.
  """
  @spec of(node()) :: [pid()]
  def of(node) do
    for {{_uid, ^node}, session, _connection} <- :ets.tab2list(@table), do: session
  rescue
    ArgumentError -> []
  end

  @doc """
  How many sessions are reconnecting to the same cluster as that of `connection`.
  """
  @spec reconnecting(Connection.t() | nil) :: pos_integer()
  def reconnecting(nil), do: 1

  def reconnecting(%{context: context}) do
    same = fn {_session, connection} ->
      connection.state == :reconnecting and connection.context == context
    end

    max(1, Enum.count(list(), same))
  end

  @doc """
  Those that have, or had, a connection; none if the application does not run.
  """
  @spec list() :: [{pid(), Connection.t()}]
  def list do
    for {_key, session, %Connection{} = connection} <- :ets.tab2list(@table),
        Process.alive?(session),
        do: {session, connection}
  rescue
    ArgumentError -> []
  end

  # After a failed attempt of its own.
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
