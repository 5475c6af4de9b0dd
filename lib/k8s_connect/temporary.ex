defmodule K8sConnect.Temporary do
  @moduledoc false
  # Work in another process, which goes on if the caller is killed. Also for work that needs much memory for a moment: a
  # process that lives on would shrink its heap afterwards, and with many sessions the gaps are more memory than the
  # sessions.

  @doc """
  The result of `fun`.
  """
  @spec run((() -> result)) :: result when result: term()
  def run(fun) do
    # Not with Task, which is 57 kB of code that a connection does not need.
    {pid, monitor} = spawn_monitor(fn -> exit({:done, fun.()}) end)

    receive do
      {:DOWN, ^monitor, :process, ^pid, {:done, result}} -> result
      {:DOWN, ^monitor, :process, ^pid, reason} -> exit(reason)
    end
  end
end
