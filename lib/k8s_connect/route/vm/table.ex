defmodule K8sConnect.Route.VM.Table do
  @moduledoc false
  # The nodes that are on this route, and the tombstones of those that were. Owned and written by
  # the route's process, read by `net_kernel` and by what dials.

  alias K8sConnect.Native

  @table __MODULE__

  @spec new() :: :ok
  def new do
    @table = :ets.new(@table, [:named_table, :protected, read_concurrency: true])
    :ok
  end

  @spec put(node(), Native.session()) :: true
  def put(node, session), do: :ets.insert(@table, {node, {:session, session}})

  @doc """
  Leaves a tombstone: `node` is still claimed, and dialling it fails at once.
  """
  @spec bury(node()) :: true
  def bury(node), do: :ets.insert(@table, {node, :gone})

  @spec clear() :: true
  def clear, do: :ets.delete_all_objects(@table)

  @spec empty?() :: boolean()
  def empty?, do: :ets.info(@table, :size) == 0

  @doc """
  Whether this route is the one to `node`. Called by `net_kernel` itself, so it must not fail.
  """
  @spec claims?(node()) :: boolean()
  def claims?(node) do
    :ets.member(@table, node)
  rescue
    ArgumentError -> false
  end

  @doc """
  Opens a connection to `node` and answers the address that the BEAM finds it at.
  """
  @spec dial(node()) :: {:ok, {:local, charlist()}} | {:error, term()}
  def dial(node) do
    case :ets.lookup(@table, node) do
      [{^node, {:session, session}}] ->
        directory = System.get_env("XDG_RUNTIME_DIR") || System.tmp_dir!()

        with {:ok, path} <- Native.call(:dial, [session, directory]),
             do: {:ok, {:local, to_charlist(path)}}

      [{^node, :gone}] ->
        {:error, :gone}
    end
  end
end
