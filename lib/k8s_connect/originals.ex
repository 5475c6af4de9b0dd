defmodule K8sConnect.Originals do
  @moduledoc false
  # What this library has changed in the VM, as it was before. The table belongs to the process of the application
  # itself, so that the next process of a route can restore what a killed one has changed. Not a persistent term: each
  # change of one makes the VM scan all processes.

  @table __MODULE__

  @doc """
  The calling process owns the table.
  """
  @spec new() :: :ok
  def new do
    @table = :ets.new(@table, [:named_table, :public])
    :ok
  end

  @spec get(term(), default) :: term() | default when default: term()
  def get(key, default \\ nil) do
    case :ets.lookup(@table, key) do
      [{^key, value}] -> value
      [] -> default
    end
  end

  @spec put(term(), term()) :: :ok
  def put(key, value) do
    true = :ets.insert(@table, {key, value})
    :ok
  end

  @spec delete(term()) :: :ok
  def delete(key) do
    true = :ets.delete(@table, key)
    :ok
  end

  @doc """
  The second elements of all keys `{owner, _}`.
  """
  @spec keys(module()) :: [term()]
  def keys(owner), do: for([key] <- :ets.match(@table, {{owner, :"$1"}, :_}), do: key)
end
