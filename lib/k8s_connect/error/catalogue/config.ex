defmodule K8sConnect.Error.Catalogue.Config do
  @moduledoc false
  # The kubeconfig. No request was sent yet.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:not_found, %{paths: []}) do
    {"missing kubeconfig: neither KUBECONFIG nor HOME is set",
     {"Set its path with", {:sh, ["export", "KUBECONFIG=/path/to/kubeconfig"]}}}
  end

  def entry(:not_found, %{paths: paths}) do
    {"missing kubeconfig: no such file: #{Enum.join(paths, ", ")}",
     {"Pass its path", {:mix, "k8s.connect", [kubeconfig: "PATH"]}}}
  end

  def entry(:unreadable, %{path: path, problem: problem}),
    do: {"could not read the kubeconfig #{path}: #{bare(problem)}", ls(path)}

  def entry(:malformed, %{path: path, problem: problem}) do
    {"invalid kubeconfig #{path}: #{bare(problem)}",
     {"Check with", {:kubectl, ["config", "view", "--kubeconfig", file(path)]}}}
  end

  def entry(:invalid_kuberc, %{path: path, problem: problem}) do
    {"invalid kuberc #{path}: #{bare(problem)}. It decides whether the exec plugin of the kubeconfig may run",
     {"Check with", {:sh, ["cat", path]}}}
  end

  def entry(:no_context, %{available: available}),
    do:
      {"missing context: the kubeconfig has no current-context. #{contexts(available)}",
       choose(available)}

  def entry(:unknown_context, %{context: context, available: available}) do
    {"no such context: #{inspect(context)}. #{contexts(available)}",
     {"List the contexts with", {:kubectl, ["config", "get-contexts"]}}}
  end

  def entry(:unknown_cluster, %{context: context, cluster: cluster}) do
    {"no such cluster in the kubeconfig: #{inspect(cluster)} of context #{inspect(context)}",
     {"List the clusters with", {:kubectl, ["config", "get-clusters"]}}}
  end

  def entry(:unknown_user, %{context: context, user: user}) do
    {"no such user in the kubeconfig: #{inspect(user)} of context #{inspect(context)}",
     {"List the users with", {:kubectl, ["config", "get-users"]}}}
  end

  def entry(:invalid_cluster, %{context: context, problem: problem}) do
    {"invalid cluster entry of context #{inspect(context)}: #{bare(problem)}",
     {"Check with", view()}}
  end

  def entry(:invalid_user, %{context: context, problem: problem}) do
    {"invalid user entry of context #{inspect(context)}: #{bare(problem)}",
     {"Check with", view()}}
  end

  def entry(:unsupported_auth_provider, %{context: context, provider: provider} = details) do
    {"unsupported: the user of context #{inspect(context)} has auth-provider #{inspect(provider)}, which kubectl no " <>
       "longer supports either", replacement(details.replacement)}
  end

  def entry(:invalid_proxy, %{from: from, problem: problem}) do
    {"invalid proxy in #{from}: #{bare(problem)}. Expected a URL such as http://proxy:3128 or socks5://proxy:1080",
     {"Check with", proxy(from)}}
  end

  def entry(:invalid_service_account, %{directory: directory, problem: problem}) do
    {"could not use the service account of this pod: #{bare(problem)}. There is no kubeconfig either",
     ls(directory)}
  end

  def entry(:invalid_namespace, %{namespace: namespace}) do
    {"invalid namespace #{inspect(namespace)}: expected 1 to 63 characters of a-z, 0-9 and -",
     {"List the namespaces with", {:kubectl, ["get", "namespaces"]}}}
  end

  def entry(:protected, %{context: context, pattern: pattern}) do
    {"permission denied: context #{inspect(context)} is protected by #{inspect(pattern)} in config :k8s_connect, and " <>
       "was not confirmed", {"Confirm it with", {:mix, "k8s.connect", [yes: true]}}}
  end

  def entry(:protected_trust, %{context: context, pattern: pattern}) do
    {"permission denied: context #{inspect(context)} is protected by #{inspect(pattern)} in config :k8s_connect, and " <>
       "its name was not typed. A trusted pod can run code on this machine, so a confirmation without a person is not " <>
       "accepted", {"Connect without trust", {:mix, "k8s.connect", [yes: true, trust: false]}}}
  end

  defp contexts([]), do: "It has no contexts"
  defp contexts(available), do: "Available contexts: #{Enum.join(available, ", ")}"

  defp choose([]), do: {"Check with", {:kubectl, ["config", "view"]}}
  defp choose([first | _more]), do: {"Choose one", {:mix, "k8s.connect", [context: first]}}

  defp replacement(nil),
    do: {"Use a token or an exec plugin", {:kubectl, ["config", "set-credentials", "--help"]}}

  defp replacement("kubelogin") do
    switches = [context: "--context", kubeconfig: "--kubeconfig"]
    {"Convert the kubeconfig with", {:sh, ["kubelogin", "convert-kubeconfig"], switches}}
  end

  defp replacement(plugin) do
    {"Install the plugin #{plugin}", "Then write the kubeconfig again with",
     {:sh, ["gcloud", "container", "clusters", "get-credentials", "CLUSTER"]}}
  end

  defp proxy("proxy-url" <> _kubeconfig), do: view()
  defp proxy(variable), do: {:sh, ["printenv", variable]}
end
