defmodule K8sConnect.Error.Catalogue.Endpoint do
  @moduledoc false
  # The local endpoint: the socket or port through which the VM reaches the port-forward connection.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:no_socket, %{directory: directory, problem: problem}) do
    {"could not create a socket in #{directory}: #{bare(problem)}",
     {"Choose another directory with", {:sh, ["export", "TMPDIR=/path"]}}}
  end

  def entry(:no_listener, %{address: address, problem: problem}) do
    {"could not listen on #{address}: #{bare(problem)}",
     {"Check with", {:sh, ["ip", "addr", "show", "lo"]}}}
  end

  def entry(:no_pod_address, %{pod: pod} = details) do
    {"could not redirect connections: #{pod(details)} has no IP address yet",
     {"Check with", {:kubectl, ["get", "pod", pod, "-o", "wide"]}}}
  end

  def entry(:target_is_server, %{address: address}) do
    {"could not redirect #{address}: the API server has the same address",
     {"Use the vm route", {:mix, "k8s.connect", [route: :vm]}}}
  end
end
