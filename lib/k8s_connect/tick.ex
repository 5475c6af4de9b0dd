defmodule K8sConnect.Tick do
  @moduledoc false
  # A node disconnects a peer from which it receives nothing for its own net_ticktime. If the two nodes have
  # different net_ticktimes, the ticks of one may be too rare for the other, so this side sends more traffic.

  @doc """
  Compares the two net_ticktimes. If they differ, the calling process receives `{:tick, reference, interval}`, and
  then calls `now/2`.
  """
  @spec start(node()) :: reference()
  def start(node) do
    {owner, reference} = {self(), make_ref()}

    spawn(fn ->
      if interval = interval(node), do: send_tick(owner, reference, interval)
    end)

    reference
  end

  @doc """
  Sends traffic in both directions without waiting for it, and schedules the next tick.
  """
  @spec now(node(), pos_integer()) :: reference()
  def now(node, interval) do
    reference = make_ref()
    spawn(fn -> catch_noconnection(fn -> :erpc.call(node, :erlang, :node, []) end) end)
    send_tick(self(), reference, interval)
    reference
  end

  defp send_tick(owner, reference, interval),
    do: Process.send_after(owner, {:tick, reference, interval}, interval)

  # In milliseconds; nil if the ticks of each side are frequent enough for the other.
  defp interval(node) do
    reported =
      catch_noconnection(fn -> :erpc.call(node, :net_kernel, :get_net_ticktime, [], 5_000) end)

    case {ticktime(reported), ticktime(:net_kernel.get_net_ticktime())} do
      {same, same} -> nil
      {nil, _ours} -> nil
      {theirs, ours} -> min(theirs, ours) * 250
    end
  end

  # The node is disconnected, and its nodedown follows.
  defp catch_noconnection(fun) do
    fun.()
  catch
    :error, {:erpc, _reason} -> nil
  end

  defp ticktime({:ongoing_change_to, seconds}), do: ticktime(seconds)
  defp ticktime(seconds) when is_integer(seconds) and seconds > 0, do: seconds
  # The node may return any term.
  defp ticktime(_other), do: nil
end
