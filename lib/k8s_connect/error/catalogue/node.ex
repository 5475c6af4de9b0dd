defmodule K8sConnect.Error.Catalogue.Node do
  @moduledoc false
  # epmd and the node in the pod, before a cookie is needed.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:no_epmd, %{message: message, ports: ports} = details) do
    {lead, command} = logs(details)

    {"no Erlang node in #{pod(details)}: could not connect to epmd on port 4369 (#{bare(message)})#{tried(ports)}",
     {[
        "Is it the right pod, and does its VM have a node name? If it runs without epmd, pass its distribution port, for example ",
        {:option, :port, 9100}
      ], lead, command}}
  end

  def entry(:sandboxed, %{runtime_class: class, message: message} = details) do
    {"unsupported: #{pod(details)} runs in a sandbox (runtimeClassName #{class}), whose loopback address a port-forward " <>
       "does not reach (#{bare(message)})", shell(details)}
  end

  def entry(:cannot_forward, %{message: message} = details) do
    {"could not connect to #{pod(details)}: its Kubernetes node cannot forward ports (#{bare(message)})",
     {"kubectl port-forward fails there, too", "Find the name of the Kubernetes node with",
      {:kubectl, ["get", "pod", details.pod, "-o", "wide"]}}}
  end

  def entry(:no_node_on_port, %{port: port, message: message} = details) do
    {"no Erlang node on port #{port} of #{pod(details)}: could not connect to the pod's loopback address " <>
       "(#{bare(message)})", listening(details)}
  end

  def entry(:epmd_timed_out, %{} = details) do
    {"timed out after 5 s: epmd's port 4369 in #{pod(details)} accepts connections and does not answer",
     names(details)}
  end

  def entry(:epmd_invalid_answer, %{actual: actual} = details) do
    {"invalid answer on epmd's port 4369 in #{pod(details)}: expected epmd, got #{bare(actual)}",
     names(details)}
  end

  def entry(:no_nodes, %{} = details) do
    {lead, command} = logs(details)

    {"no Erlang node in #{pod(details)}: none is registered with epmd",
     {"The VM has no node name, or is still starting", lead, command}}
  end

  def entry(:unknown_node, %{name: name, available: available} = details) do
    {"no such node: #{inspect(name)} in #{pod(details)}. Registered with epmd: #{Enum.join(available, ", ")}",
     {"Choose one", {:mix, "k8s.connect", [node: List.first(available)]}}}
  end

  def entry(:several_nodes, %{available: available} = details) do
    {"could not choose a node: #{pod(details)} has several: #{Enum.join(available, ", ")}",
     {"Choose one", {:mix, "k8s.connect", [node: hd(available)]}}}
  end

  def entry(:port_refused, %{node: node, port: port, message: message} = details) do
    {lead, command} = listening(details)

    {"could not connect to node #{inspect(node)} on port #{port} of the pod's loopback address (#{bare(message)})",
     {"It listens on the pod's IP only: remove inet_dist_use_interface from vm.args, or set it to {0,0,0,0}",
      lead, command}}
  end

  def entry(:handshake_timed_out, %{node: node} = details) do
    {lead, command} = logs(details)

    {"timed out waiting for the handshake: node #{inspect(node)} accepted the connection and did not answer",
     {"Is the VM stuck?", lead, command}}
  end

  def entry(:tls_only, %{node: node, port: port} = details) do
    {"could not connect: the distribution of node #{inspect(node)} in #{pod(details)} is over TLS (port #{port}, -proto_dist inet_tls)",
     {"#{no_certificates(details)}Pass the authority of its certificate, and a certificate with its key if the node verifies its peers",
      {:mix, "k8s.connect", [tls_ca: "ca.crt", tls_cert: "tls.crt", tls_key: "tls.key"]}}}
  end

  def entry(:tls_failed, %{node: node, port: port, problem: problem} = details) do
    {lead, command} = logs(details)

    {"could not connect: the TLS handshake with node #{inspect(node)} in #{pod(details)} failed (port #{port}): #{bare(problem)}",
     {"If the node has rejected your certificate, its log has a TLS alert", lead, command}}
  end

  def entry(:handshake_closed, %{node: node} = details) do
    {lead, command} = logs(details)

    {"could not connect: node #{inspect(node)} in #{pod(details)} closed the connection before the handshake",
     {"The node may require distribution flags that this version of k8s_connect does not send; then its log says so",
      lead, command}}
  end

  def entry(:invalid_handshake, %{expected: expected, actual: actual} = details) do
    {"invalid handshake in #{pod(details)}: it is not an Erlang node (expected #{expected}, got #{inspect(actual)})",
     names(details)}
  end

  def entry(:rejected, %{status: status} = details) do
    {lead, command} = logs(details)

    {"permission denied: the node in #{pod(details)} rejected the handshake: #{bare(status)}",
     {"Does it restrict its nodes with :net_kernel.allow/1?", lead, command}}
  end

  def entry(:unsupported_otp, %{} = details),
    do: {"unsupported: the node in #{pod(details)} is older than OTP 23", shell(details)}

  def entry(:invalid_name, %{name: name} = details),
    do: {"invalid node name in #{pod(details)}: #{inspect(name)}", names(details)}

  def entry(:port_forward_closed, %{reason: reason}) do
    {"lost the port-forward connection to the pod: #{bare(reason)}",
     {"Try again", "If it fails again, check the pod with", {:kubectl, ["get", "pods"]}}}
  end

  defp no_certificates(%{problem: problem}),
    do: "The spec does not lead to its certificates: #{bare(problem)}. "

  defp no_certificates(_details), do: ""

  defp tried([]), do: ""
  defp tried(ports), do: ", and there is no node on port #{Enum.join(ports, ", ")} of its spec"

  defp names(details), do: {"Check with", exec(details, ["epmd", "-names"])}

  defp listening(details), do: {"List its listening ports with", exec(details, ["ss", "-ltn"])}

  defp shell(details), do: {"Open a shell in its container instead", exec(details, ["sh"])}
end
