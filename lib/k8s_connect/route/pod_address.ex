defmodule K8sConnect.Route.PodAddress do
  @moduledoc false
  # The address at which other programs connect to a pod.

  alias K8sConnect.{Connection, Error}

  @spec parse(Connection.t()) :: {:ok, :inet.ip_address()} | {:error, Error.t()}
  def parse(%{ip: ip, pod: pod, namespace: namespace}) do
    with {:error, _reason} <- :inet.parse_strict_address(to_charlist(ip || "")) do
      {:error, Error.new(:endpoint, {:no_pod_address, %{pod: pod, namespace: namespace}})}
    end
  end
end
