defmodule K8sConnect.Route.Kernel.Hosts do
  @moduledoc false
  # Adds hosts that resolve only in their cluster to the host table of this VM (`inet_db` of the kernel application).
  # No file and no other program is affected. While there are such nodes, the table comes first in the lookup order.
  # Afterwards the table and the lookup order are restored.
  #
  # Only the jobs of `K8sConnect.Route` call it. The changes are recorded, so the next process can undo them if this one
  # is killed.

  alias K8sConnect.Originals

  @kept {__MODULE__, :kept}

  @doc """
  Makes `host`, the host of `node`, resolve to `address`.
  """
  @spec put(node(), String.t(), :inet.ip_address()) :: :ok
  def put(node, host, address), do: change(&Map.put(&1, node, {address, to_charlist(host)}))

  @doc """
  Undoes `put/3` for `node`, if there is something to undo.
  """
  @spec remove(node()) :: :ok
  def remove(node), do: change(&Map.delete(&1, node))

  @doc """
  Undoes all changes.
  """
  @spec clear() :: :ok
  def clear, do: change(fn _hosts -> %{} end)

  @doc """
  The code that makes `host` resolve in another Elixir program.
  """
  @spec recipe(String.t(), :inet.ip_address()) :: String.t()
  def recipe(host, address) do
    ":inet_db.set_lookup([:file, :native]); :inet_db.add_host(#{inspect(address)}, [~c\"#{host}\"])"
  end

  # kept: %{hosts: %{node => {address, host}}, before: %{address => names}, lookup: before, ours: now}

  defp change(fun) do
    kept = Originals.get(@kept, %{hosts: %{}, before: %{}, lookup: nil, ours: nil})

    case fun.(kept.hosts) do
      same when same == kept.hosts ->
        :ok

      changed ->
        kept = kept |> remember_names(changed) |> remember_lookup()
        # A killed job may have changed a part, which the next one undoes.
        Originals.put(@kept, %{kept | hosts: Map.merge(kept.hosts, changed)})
        keep(apply_names(kept, changed), changed)
    end
  end

  # Records the existing names of each new address.
  defp remember_names(kept, changed) do
    addresses = for {address, _host} <- Map.values(changed), do: address

    theirs =
      for {:host, address, names} <- :inet_db.get_rc(), address in addresses, do: {address, names}

    before = Map.merge(Map.from_keys(addresses, []), Map.new(theirs))
    %{kept | before: Map.merge(before, kept.before)}
  end

  defp remember_lookup(%{lookup: nil} = kept) do
    lookup = :inet_db.res_option(:lookup)
    %{kept | lookup: lookup, ours: [:file | List.delete(lookup, :file)]}
  end

  defp remember_lookup(kept), do: kept

  defp apply_names(kept, changed) do
    ours = Enum.group_by(Map.values(changed), &elem(&1, 0), &elem(&1, 1))

    for {address, names} <- kept.before do
      case Enum.uniq(Map.get(ours, address, []) ++ names) do
        [] -> :inet_db.del_host(address)
        names -> :inet_db.add_host(address, names)
      end
    end

    %{kept | before: Map.take(kept.before, Map.keys(ours))}
  end

  defp keep(kept, changed) when changed == %{} do
    # Other code may have set another order since.
    if :inet_db.res_option(:lookup) == kept.ours, do: :inet_db.set_lookup(kept.lookup)
    Originals.delete(@kept)
  end

  defp keep(%{hosts: hosts} = kept, changed) do
    if hosts == %{}, do: :inet_db.set_lookup(kept.ours)
    Originals.put(@kept, %{kept | hosts: changed})
  end
end
