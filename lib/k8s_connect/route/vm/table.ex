defmodule K8sConnect.Route.VM.Table do
  @moduledoc false
  # The nodes that are on this route, and the tombstones of those that were. Written by the jobs of
  # `K8sConnect.Route`, read by `net_kernel` and by the processes that connect.

  @table __MODULE__

  @spec new() :: :ok
  def new do
    @table = :ets.new(@table, [:named_table, :public, read_concurrency: true])
    :ok
  end

  @doc """
  Puts `node` on this route, by the socket or the port that leads to it.
  """
  @spec put(node(), String.t() | :inet.port_number()) :: true
  def put(node, way), do: :ets.insert(@table, {node, way})

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
  The port of the loopback that leads to `node`.
  """
  @spec port(node()) :: {:ok, :inet.port_number()} | :gone | :unknown
  def port(node) do
    case :ets.lookup(@table, node) do
      [{^node, port}] when is_integer(port) -> {:ok, port}
      [_other] -> :gone
      [] -> :unknown
    end
  rescue
    ArgumentError -> :unknown
  end

  @doc """
  The address that the BEAM finds `node` at. It takes one connection: a node that is lost is for
  its session to attach again.
  """
  @spec address(node()) :: {:ok, {:local, charlist()}} | {:error, :gone}
  def address(node) do
    case :ets.lookup(@table, node) do
      [{^node, path}] when is_binary(path) -> {:ok, {:local, to_charlist(path)}}
      _gone -> {:error, :gone}
    end
  end
end
