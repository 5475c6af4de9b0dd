defmodule K8sConnect.Error.Catalogue.Cluster do
  @moduledoc false
  # The API server and the path to it. `Login` and `Proxy` have the rest of the stage.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue
  alias K8sConnect.Error.Catalogue.{Login, Proxy}

  # From 1.35 on the API server authorizes the GET of a WebSocket for `create`, too: its feature gate
  # AuthorizePodWebsocketUpgradeCreatePermission.
  @verbs "SPDY needs create. A WebSocket needs get, and from Kubernetes 1.35 on also create"

  @check {"Check with", {:kubectl, ["cluster-info"]}}
  @whoami {:kubectl, ["auth", "whoami"]}

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:unreachable, %{server: server, problem: problem}) do
    {"could not connect to the API server #{server}: #{bare(problem)}",
     advise("Is the cluster up? Does it need a VPN?", @check)}
  end

  def entry(:timed_out, %{server: server, timeout_ms: timeout}) do
    {"timed out after #{timeout} ms waiting for the API server #{server}",
     advise("Does it need a VPN?", @check)}
  end

  def entry(:unknown_authority, %{server: server}) do
    {"could not verify the certificate of the API server #{server}: unknown certificate authority",
     {"Is it the right cluster?", "Compare certificate-authority in", view()}}
  end

  def entry(:tls, %{server: server, problem: problem}),
    do: {"could not set up TLS with the API server #{server}: #{bare(problem)}", @check}

  def entry(:client_certificate_expired, %{context: context, not_after: not_after}) do
    {"could not log in: the client certificate of context #{inspect(context)} expired at #{not_after}",
     {"Get a new kubeconfig", "Then check with", @whoami}}
  end

  def entry(:unauthorized, %{context: context, server: server}) do
    {"could not log in: the API server #{server} rejected the credentials of context #{inspect(context)} (401)",
     {"Log in again", "Then check with", @whoami}}
  end

  def entry(:credentials_withheld, %{context: context, server: server}) do
    {"could not log in: the API server #{server} needs credentials (401). Those of context #{inspect(context)} are " <>
       "sent over https:// only, as by kubectl",
     {"Use the https:// URL of the API server in the cluster's server", "Check with", view()}}
  end

  def entry(:forbidden, %{resource: "pods/exec", verb: verb} = details),
    do: exec_forbidden("verb #{verb} on pods/exec is", details)

  def entry(:forbidden, %{message: message, verb: verb, resource: resource} = details) do
    cond do
      message =~ "cannot impersonate" ->
        {"permission denied: the user of the kubeconfig cannot impersonate another one (403): #{bare(message)}",
         {"Ask for the verb impersonate, or remove as: from the user's entry", "Check with",
          view()}}

      details.namespace == "" ->
        {"permission denied: could not #{verb} #{resource} in all namespaces (403): #{bare(message)}",
         {"Ask for a ClusterRole with the verb #{verb} on #{resource}",
          "Or list those of one namespace with", {:mix, "k8s.pods", [namespace: "NAMESPACE"]}}}

      resource == "pods/portforward" ->
        portforward_forbidden("verb #{verb} on pods/portforward is", verb, details)

      true ->
        {"permission denied: could not #{verb} #{resource} in namespace #{inspect(details.namespace)} (403): " <>
           bare(message), advise("Is it the right namespace?", role(verb, resource))}
    end
  end

  def entry(:denied_by_policy, %{message: message}) do
    {"permission denied: a policy of the cluster rejects the request: #{bare(message)}",
     {"A Role does not change that: ask whoever runs the cluster for an exception",
      "List the policies with",
      {:kubectl, ["get", "validatingadmissionpolicies,validatingwebhookconfigurations"]}}}
  end

  def entry(:forbidden_get_and_create, %{resource: "pods/exec"} = details),
    do: exec_forbidden("verbs get and create on pods/exec are", details)

  def entry(:forbidden_get_and_create, details),
    do: portforward_forbidden("verbs get and create on pods/portforward are", "create", details)

  def entry(:refused, %{server: server, code: code, message: message}) do
    {"could not complete the request: the API server #{server} answered #{code}: #{bare(message)}",
     @check}
  end

  def entry(:not_kubernetes, %{server: server, problem: problem}) do
    {"invalid answer from #{server}: it is not a Kubernetes API server (#{bare(problem)})",
     {"Check the server in", view()}}
  end

  def entry(:server_certificate_not_yet_valid, details) do
    {"could not verify the certificate of the API server #{details.server}: it is valid from #{details.not_before}, " <>
       "and this machine's clock says #{details.now}",
     {"If the clock is wrong, set it with", {:sh, ["sudo", "timedatectl", "set-ntp", "true"]}}}
  end

  def entry(:server_certificate_expired, details) do
    {"could not verify the certificate of the API server #{details.server}: it expired at #{details.not_after}, and " <>
       "this machine's clock says #{details.now}",
     {"If the clock is right, renew the certificate on the control plane with",
      {:sh, ["kubeadm", "certs", "renew", "apiserver"]}}}
  end

  def entry(:connection_closed, %{server: server, problem: problem}) do
    {"could not complete the request: the API server #{server}, or a gateway in front of it, closed the connection " <>
       "(#{bare(problem)})", advise("Some gateways limit the number of connections", @check)}
  end

  def entry(:too_many_requests, %{server: server, message: message}) do
    {"could not complete the request: the API server #{server} is overloaded (429): #{bare(message)}",
     {"Try again later, or allow more time", {:mix, "k8s.connect", [timeout: 60_000]}}}
  end

  def entry(:no_upgrade, %{server: server, pod: pod, answers: answers}) do
    {"could not open a port-forward connection to pod #{inspect(pod)} through #{server}: " <>
       Enum.map_join(answers, ", and ", &bare/1),
     {"A proxy or gateway has to pass SPDY or a WebSocket, with the header Upgrade unchanged",
      "Check with", {:kubectl, ["port-forward", pod, "4369"]}}}
  end

  def entry(kind, details) do
    case Atom.to_string(kind) do
      "proxy_" <> _rest -> Proxy.entry(kind, details)
      _name -> Login.entry(kind, details)
    end
  end

  defp advise(advice, {lead, command}), do: {advice, lead, command}

  defp portforward_forbidden(missing, verb, %{namespace: namespace, message: message}) do
    advice = "#{@verbs}. The Role needs this rule: #{rule("pods/portforward")}"

    {"permission denied: #{missing} missing in namespace #{inspect(namespace)} (403): #{bare(message)}",
     advise(advice, role(verb, "pods/portforward"))}
  end

  defp exec_forbidden(missing, %{namespace: namespace}) do
    {"permission denied: could not read the cookie from the running node, because #{missing} missing in namespace " <>
       "#{inspect(namespace)} (403)",
     {"#{@verbs}. The Role needs this rule: #{rule("pods/exec")}", "Or pass the cookie in a file",
      {:mix, "k8s.connect", [cookie_file: "PATH"]}}}
  end

  defp role(verb, resource), do: {"Print the missing Role with", {:permission, verb, resource}}
end
