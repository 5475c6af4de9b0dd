defmodule K8sConnect.PodConnection.Restart do
  @moduledoc false
  # A session in a supervision tree of the user outlives the processes of this application, which can restart or end.

  alias K8sConnect.{Error, Route}

  @doc """
  An error while the application is not running. A session that reconnects waits for its next start.
  """
  @spec check_running(String.t()) :: :ok | {:error, Error.t()}
  def check_running(target), do: if(Process.whereis(Route), do: :ok, else: restarted(target))

  @doc """
  Why an attached node was disconnected by this VM: `:disconnected` if the user called `Node.disconnect/1` or the
  application ends; an error if the process of the routes was restarted, which disconnects all nodes.
  """
  @spec cause(node()) :: :disconnected | {:error, Error.t()}
  def cause(node) do
    # A new process does not know the node.
    if Route.attached(node), do: :disconnected, else: restarted(node)
  catch
    # It has ended.
    :exit, _reason -> if supervisor_runs?(), do: restarted(node), else: :disconnected
  end

  @doc """
  Whether the application has ended, or is about to.
  """
  @spec ended?() :: boolean()
  def ended? do
    # A process that ends does not answer any more.
    _ = Route.attached(Node.self())
    false
  catch
    :exit, _reason -> not supervisor_runs?()
  end

  # Returns when the supervisor has restarted its processes, or has ended with the application.
  defp supervisor_runs? do
    is_list(Supervisor.which_children(K8sConnect.Supervisor))
  catch
    :exit, _reason -> false
  end

  defp restarted(node),
    do: {:error, Error.new(:connect, {:lost, %{node: node, reason: :route_restarted}})}
end
