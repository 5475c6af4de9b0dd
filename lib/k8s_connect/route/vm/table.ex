defmodule K8sConnect.Route.VM.Table do
  @moduledoc false
  # The nodes of this route, attached or marked as disconnected. The jobs of `K8sConnect.Route` write it; `net_kernel`
  # and the connecting processes read it.

  @table __MODULE__

  @spec new() :: :ok
  def new do
    @table = :ets.new(@table, [:named_table, :public, read_concurrency: true])
    :ok
  end

  @doc """
  Adds `node` with its local endpoint: the path of a socket, or a port.
  """
  @spec put(node(), String.t() | :inet.port_number()) :: true
  def put(node, endpoint), do: :ets.insert(@table, {node, endpoint})

  @doc """
  Marks `node` as disconnected: it still belongs to this route, and connecting to it fails at once.
  """
  @spec mark_disconnected(node()) :: true
  def mark_disconnected(node), do: :ets.insert(@table, {node, :disconnected})

  @spec clear() :: true
  def clear, do: :ets.delete_all_objects(@table)

  @doc """
  The process of the routes.
  """
  @spec owner() :: pid() | :undefined
  def owner, do: :ets.info(@table, :owner)

  @spec empty?() :: boolean()
  def empty?, do: :ets.info(@table, :size) == 0

  @doc """
  Whether `node` belongs to this route. `net_kernel` calls it, so it must not fail.
  """
  @spec claims?(node()) :: boolean()
  def claims?(node) do
    :ets.member(@table, node)
  rescue
    ArgumentError -> false
  end

  @doc """
  The loopback port of `node`.
  """
  @spec port(node()) :: {:ok, :inet.port_number()} | :disconnected | :unknown
  def port(node) do
    case :ets.lookup(@table, node) do
      [{^node, port}] when is_integer(port) -> {:ok, port}
      [_other] -> :disconnected
      [] -> :unknown
    end
  rescue
    ArgumentError -> :unknown
  end

  @doc """
  The socket of `node`, once: it accepts one connection, and its path may then be that of another node's socket.
  After a loss the session attaches the node again.
  """
  @spec address(node()) :: {:ok, {:local, charlist()}} | {:error, :disconnected}
  def address(node) do
    case :ets.lookup(@table, node) do
      [{^node, path}] when is_binary(path) ->
        mark_disconnected(node)
        {:ok, {:local, to_charlist(path)}}

      _none ->
        {:error, :disconnected}
    end
  end
end
