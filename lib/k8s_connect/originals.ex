defmodule K8sConnect.Originals do
  @moduledoc false
  # What this library has changed in the VM, as it was before, and in which `net_kernel` its module is. The table belongs
  # to the process of the application itself, so that the next process of a route can restore what a killed one has
  # changed. Not a persistent term: each change of one makes the VM scan all processes. The application can be killed, and
  # what else its processes have to undo must not fail then.

  @table __MODULE__
  @kept {__MODULE__, :kept}

  @doc """
  The calling process owns the table, with what `keep/0` has kept.
  """
  @spec new() :: :ok
  def new do
    @table = :ets.new(@table, [:named_table, :public])
    true = :ets.insert(@table, :persistent_term.get(@kept, []))
    _ = :persistent_term.erase(@kept)
    :ok
  end

  @doc """
  Keeps what is not restored at the end of the application, for its next start: a `net_kernel` that does not answer can
  prevent it.
  """
  @spec keep() :: :ok
  def keep do
    case :ets.tab2list(@table) do
      [] -> :ok
      entries -> :persistent_term.put(@kept, entries)
    end
  end

  @spec get(term(), default) :: term() | default when default: term()
  def get(key, default \\ nil) do
    case :ets.lookup(@table, key) do
      [{^key, value}] -> value
      [] -> default
    end
  rescue
    ArgumentError -> default
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
  rescue
    ArgumentError -> :ok
  end

  @doc """
  The second elements of all keys `{owner, _}`.
  """
  @spec keys(module()) :: [term()]
  def keys(owner) do
    for [key] <- :ets.match(@table, {{owner, :"$1"}, :_}), do: key
  rescue
    ArgumentError -> []
  end
end
