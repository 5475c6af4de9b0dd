defmodule K8sConnect.Distribution.Cookies do
  @moduledoc false
  # Cookies of single nodes. OTP's `auth` keeps them in a table of exceptions from the default cookie, and has no
  # function that reads or removes an exception. This module does both in the table, which it finds by its shape in
  # the state of `auth` (-record(state, {our_cookie, other_cookies}), kernel/src/auth.erl, OTP 25 to 29).

  alias K8sConnect.Originals

  @timeout 5_000

  @doc """
  Sets the cookie of `node`.
  """
  @spec put(node(), atom()) :: :ok
  def put(node, cookie) do
    if Originals.get({__MODULE__, node}) == nil,
      do: Originals.put({__MODULE__, node}, exception(node))

    true = Node.set_cookie(node, cookie)
    :ok
  end

  @doc """
  The nodes whose cookie was set and not restored.
  """
  @spec nodes() :: [node()]
  def nodes, do: Originals.keys(__MODULE__)

  @doc """
  Undoes `put/2`.
  """
  @spec restore(node()) :: :ok
  def restore(node) do
    before = Originals.get({__MODULE__, node})
    # The cookies are lost when distribution stops.
    if before && Node.alive?(), do: restore(node, before)
    Originals.delete({__MODULE__, node})
  end

  defp restore(node, {:exception, cookie}), do: Node.set_cookie(node, cookie)

  defp restore(node, :default) do
    with {:ok, table} <- table() do
      :sys.replace_state(
        :auth,
        fn state ->
          :ets.delete(table, node)
          state
        end,
        @timeout
      )
    end
  end

  # Sets the current default cookie, because OTP has no function that removes an exception.
  defp restore(node, :unknown), do: Node.set_cookie(node, Node.get_cookie())

  defp exception(node) do
    with {:ok, table} <- table() do
      case :ets.lookup(table, node) do
        [{^node, cookie}] -> {:exception, cookie}
        [] -> :default
      end
    else
      :unknown -> :unknown
    end
  end

  defp table do
    with auth when is_pid(auth) <- Process.whereis(:auth),
         {:state, _default, table} <- :sys.get_state(auth, @timeout),
         ^auth <- :ets.info(table, :owner) do
      {:ok, table}
    else
      _another_shape -> :unknown
    end
  end
end
