defmodule K8sConnect.Route.Kernel.Hosts do
  @moduledoc false
  # Where a node's host is a name that means nothing outside of its cluster, this BEAM's own table of
  # hosts says which address it is: kernel's `inet_db`, and no file and no other program. It is
  # asked before anything else only while there are such nodes.
  #
  # Called by the route's process alone. What was put is kept where a killed one leaves it to be
  # taken back by the next.

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

  defp change(fun) do
    {lookup, hosts} = :persistent_term.get(@kept, {nil, %{}})

    case fun.(hosts) do
      ^hosts -> :ok
      changed -> apply_change(lookup || :inet_db.res_option(:lookup), hosts, changed)
    end
  end

  defp apply_change(lookup, hosts, changed) do
    for {address, _host} <- Map.values(hosts), do: :inet_db.del_host(address)

    for {address, names} <- Enum.group_by(Map.values(changed), &elem(&1, 0), &elem(&1, 1)),
        do: :inet_db.add_host(address, Enum.uniq(names))

    if changed == %{} do
      :inet_db.set_lookup(lookup)
      :persistent_term.erase(@kept)
    else
      :inet_db.set_lookup([:file | List.delete(lookup, :file)])
      :persistent_term.put(@kept, {lookup, changed})
    end

    :ok
  end
end
