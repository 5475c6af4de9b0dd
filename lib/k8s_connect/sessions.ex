defmodule K8sConnect.Sessions do
  @moduledoc false
  # The sessions that there are, by what they are connected to: `{key, session, connection | nil}`,
  # `nil` until it is up. An entry counts for as long as its process lives, so a killed session
  # needs nobody to clean up after it.

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
  Takes the place of `key` for the calling session, or says whose it is.
  """
  @spec claim(term()) :: :ok | {:taken, pid()}
  def claim(key) do
    if :ets.insert_new(@table, {key, self(), nil}),
      do: :ok,
      else: owner(key, :ets.lookup(@table, key))
  end

  @doc """
  Says that the calling session is up.
  """
  @spec up(term(), Connection.t()) :: true
  def up(key, connection), do: :ets.insert(@table, {key, self(), connection})

  @doc """
  Gives up the calling session's place.
  """
  @spec leave() :: true
  def leave, do: :ets.match_delete(@table, {:_, self(), :_})

  @doc """
  Those that are up; none where the application does not run.
  """
  @spec list() :: [{pid(), Connection.t()}]
  def list do
    for {_key, session, %Connection{} = connection} <- :ets.tab2list(@table),
        Process.alive?(session),
        do: {session, connection}
  rescue
    ArgumentError -> []
  end

  defp owner(key, [{key, session, _connection}]) do
    if Process.alive?(session) do
      {:taken, session}
    else
      :ets.match_delete(@table, {key, session, :_})
      claim(key)
    end
  end

  # It has left in the meantime.
  defp owner(key, []), do: claim(key)
end
