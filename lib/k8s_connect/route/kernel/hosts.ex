defmodule K8sConnect.Route.Kernel.Hosts do
  @moduledoc false
  # If a node's host is a name of its cluster only, the VM's own table of hosts (kernel's `inet_db`) gets its
  # address; no file changes, and no other program. The table is asked before anything else while there
  # are such nodes. Afterwards the table and the order of lookups are what they were.
  #
  # Called by the jobs of `K8sConnect.Route` alone. What was changed is kept in the VM: a process that is
  # killed leaves it for the next to undo.

  @kept {__MODULE__, :kept}

  @doc """
  Makes `host`, the one of `node`, mean `address`.
  """
  @spec put(node(), String.t(), :inet.ip_address()) :: :ok
  def put(node, host, address), do: change(&Map.put(&1, node, {address, to_charlist(host)}))

  @doc """
  Takes that back; does nothing where there is nothing to take back.
  """
  @spec remove(node()) :: :ok
  def remove(node), do: change(&Map.delete(&1, node))

  @doc """
  Takes everything back.
  """
  @spec clear() :: :ok
  def clear, do: change(fn _hosts -> %{} end)

  @doc """
  What another program of Elixir's is to evaluate to find `host`, too.
  """
  @spec recipe(String.t(), :inet.ip_address()) :: String.t()
  def recipe(host, address) do
    ":inet_db.set_lookup([:file, :native]); :inet_db.add_host(#{inspect(address)}, [~c\"#{host}\"])"
  end

  # kept: %{hosts: %{node => {address, host}}, before: %{address => names}, lookup: before, ours: now}

  defp change(fun) do
    kept = :persistent_term.get(@kept, %{hosts: %{}, before: %{}, lookup: nil, ours: nil})

    case fun.(kept.hosts) do
      same when same == kept.hosts -> :ok
      changed -> kept |> remember(changed) |> apply_change(changed)
    end
  end

  # What the table has of others, for each address that is new to us.
  defp remember(kept, changed) do
    addresses = for {address, _host} <- Map.values(changed), do: address

    theirs =
      for {:host, address, names} <- :inet_db.get_rc(), address in addresses, do: {address, names}

    before = Map.merge(Map.from_keys(addresses, []), Map.new(theirs))
    %{kept | before: Map.merge(before, kept.before)}
  end

  defp apply_change(kept, changed) do
    ours = Enum.group_by(Map.values(changed), &elem(&1, 0), &elem(&1, 1))

    for {address, names} <- kept.before do
      case Enum.uniq(Map.get(ours, address, []) ++ names) do
        [] -> :inet_db.del_host(address)
        names -> :inet_db.add_host(address, names)
      end
    end

    before = Map.take(kept.before, Map.keys(ours))
    kept |> set_lookup(changed) |> keep(%{hosts: changed, before: before})
  end

  defp set_lookup(%{lookup: nil} = kept, _changed) do
    lookup = :inet_db.res_option(:lookup)
    ours = [:file | List.delete(lookup, :file)]
    :inet_db.set_lookup(ours)
    %{kept | lookup: lookup, ours: ours}
  end

  defp set_lookup(kept, changed) when changed == %{} do
    # Somebody else may have set another order meanwhile.
    if :inet_db.res_option(:lookup) == kept.ours, do: :inet_db.set_lookup(kept.lookup)
    kept
  end

  defp set_lookup(kept, _changed), do: kept

  defp keep(_kept, %{hosts: hosts}) when hosts == %{} do
    :persistent_term.erase(@kept)
    :ok
  end

  defp keep(kept, changes), do: :persistent_term.put(@kept, Map.merge(kept, changes))
end
