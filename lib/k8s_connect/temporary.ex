defmodule K8sConnect.Temporary do
  @moduledoc false
  # Work in another process, which goes on if the caller is killed. Also for work that needs much memory for a moment: a
  # process that lives on would shrink its heap afterwards, and with many sessions the gaps are more memory than the
  # sessions.

  @doc """
  Runs `fun` in a process of its own.
  """
  @spec run((() -> result)) :: result when result: term()
  def run(fun), do: fun |> start() |> await()

  @doc """
  Starts `fun` in a process of its own.
  """
  @spec start((() -> term())) :: {pid(), reference()}
  def start(fun) do
    # Not with Task, which is 57 kB of code that a connection does not need.
    spawn_monitor(fn -> exit({:done, fun.()}) end)
  end

  @doc """
  The result of what `start/1` has started.
  """
  @spec await({pid(), reference()}) :: term()
  def await({pid, monitor}) do
    receive do
      {:DOWN, ^monitor, :process, ^pid, {:done, result}} -> result
      {:DOWN, ^monitor, :process, ^pid, reason} -> exit(reason)
    end
  end
end
