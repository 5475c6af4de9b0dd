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
    check =
      if problem =~ "Too many open files",
        do: {"Raise the limit of this shell with", {:sh, ["ulimit", "-n", "4096"]}},
        else: {"Check with", {:sh, ["ip", "addr", "show", "lo"]}}

    {"could not listen on #{address}: #{bare(problem)}", check}
  end

  def entry(:no_pod_address, %{pod: pod} = details) do
    {"could not redirect connections: #{pod(details)} has no IP address yet",
     {"Check with", {:kubectl, ["get", "pod", pod, "-o", "wide"]}}}
  end

  def entry(:too_many_atoms, %{node: node, limit: limit}) do
    {"closed the connection to #{node}: it sent more than #{limit} different atoms, and the atom table of this VM never " <>
       "forgets one",
     {"If you trust the pod, raise the limit", {:mix, "k8s.connect", [max_atoms: 2 * limit]}}}
  end

  def entry(:too_many_functions, %{node: node, limit: limit}) do
    {"closed the connection to #{node}: it sent more than #{limit} different functions, and this VM never forgets one",
     {"If you trust the pod, connect without checks", {:mix, "k8s.connect", [trust: true]}}}
  end

  def entry(:message_too_large, %{node: node, size: size, limit: limit}) do
    {"closed the connection to #{node}: it sent a message of #{size} bytes, and the limit is #{limit}",
     {"If you asked for so much, raise the limit",
      {:mix, "k8s.connect", [max_message: max(size, 2 * limit)]}}}
  end

  def entry(:malformed_message, %{node: node, problem: problem}) do
    {"closed the connection to #{node}: it sent a malformed message (#{problem}), which no OTP release sends",
     {"If you trust the pod, connect without checks", {:mix, "k8s.connect", [trust: true]}}}
  end

  def entry(:no_audit_file, %{file: file, problem: problem}) do
    {"could not open the audit log #{file}: #{bare(problem)}",
     {"Without it nothing is sent to the pod", "Check with", {:sh, ["ls", "-ld", file(file)]}}}
  end

  def entry(:audit_not_written, %{node: node, file: file, problem: problem}) do
    {"closed the connection to #{node}: could not write the audit log #{file}: #{bare(problem)}",
     {"What could not be logged was not sent", "Check with", {:sh, ["df", "-h", file(file)]}}}
  end

  def entry(:target_is_server, %{address: address}) do
    {"could not redirect #{address}: the API server has the same address",
     {"Use the vm route", {:mix, "k8s.connect", [route: :vm]}}}
  end
end
