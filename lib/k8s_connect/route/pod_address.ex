defmodule K8sConnect.Route.PodAddress do
  @moduledoc false
  # The address at which other programs connect to a pod.

  alias K8sConnect.{Connection, Error}
  alias K8sConnect.Route.Kernel.ThisMachine

  @spec parse(Connection.t()) :: {:ok, :inet.ip_address()} | {:error, Error.t()}
  def parse(%{ip: ip, pod: pod, namespace: namespace}) do
    with {:error, _reason} <- :inet.parse_strict_address(to_charlist(ip || "")) do
      {:error, Error.new(:endpoint, {:no_pod_address, %{pod: pod, namespace: namespace}})}
    end
  end

  @doc """
  Whether the host of a node is a name. It is not resolved, because outside the cluster it has no address, or another one.
  The address of another machine is an error: the pod chooses its node's name, and programs that connect to the node would
  connect to that machine, where no guard is.
  """
  @spec check_host(node(), :inet.ip_address(), :kernel | :exec) ::
          {:ok, boolean()} | {:error, Error.t()}
  def check_host(node, address, route) do
    [_name, host] = String.split(Atom.to_string(node), "@")

    case :inet.parse_address(to_charlist(host)) do
      {:ok, ^address} ->
        {:ok, false}

      {:ok, _other} ->
        elsewhere(node, host, address, route)

      {:error, :einval} ->
        # If a name of this machine resolved to the pod, the program's other connections would go there, too.
        if ThisMachine.named?(host),
          do: elsewhere(node, host, address, route),
          else: {:ok, true}
    end
  end

  defp elsewhere(node, host, address, route) do
    details = %{node: node, host: host, ip: to_string(:inet.ntoa(address)), route: route}
    {:error, Error.new(:route, {:host_elsewhere, details})}
  end
end
