defmodule K8sConnect.Error.Catalogue.Target do
  @moduledoc false
  # The pod of a target.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:invalid_target, %{target: target}) do
    {"invalid target #{inspect(target)}: expected a pod (app-0), a workload (sts/app, deployment.apps/web), " <>
       "a resource of an operator (rollout.argoproj.io/web) or a Service (svc/app)",
     {"List the pods with", {:kubectl, ["get", "pods"]}}}
  end

  def entry(:no_such_pod, %{pod: pod, namespace: namespace}) do
    {"no such pod: #{inspect(pod)} in namespace #{inspect(namespace)}",
     {"List the pods with", {:kubectl, ["get", "pods"]}}}
  end

  def entry(:no_pods, %{target: target, namespace: namespace, owners: owners}) do
    {"no such pods: no pod belongs to #{target} in namespace #{inspect(namespace)}#{owners(owners)}",
     {"List the pods with", {:kubectl, ["get", "pods", "--show-labels"]}}}
  end

  def entry(:owners_forbidden, %{target: target, resources: resources} = details) do
    resources = Enum.join(resources, ", ")

    {"no such pods: no pod in namespace #{inspect(details.namespace)} names #{target} as its owner, and the owners in " <>
       "between are not known: permission denied to list #{resources} (403): #{bare(details.message)}",
     {"Ask for the verb list on #{resources}, or connect by a label", "List the labels with",
      {:kubectl, ["get", "pods", "--show-labels"]}}}
  end

  def entry(:not_running, %{pod: pod, namespace: namespace, phase: phase} = details) do
    {"could not connect: #{pod(details)} in namespace #{inspect(namespace)} is not running: #{phase}",
     {"See why with", {:kubectl, ["describe", "pod", pod]}}}
  end

  def entry(:no_container, %{container: container, available: available}) do
    {"no such container: #{inspect(container)}. The pod has #{Enum.join(available, ", ")}",
     {"Choose one", {:mix, "k8s.connect", [container: List.first(available)]}}}
  end

  def entry(:workload_deleted, %{target: target, namespace: namespace}) do
    {"could not connect: #{target} in namespace #{inspect(namespace)} was deleted, and its pods with it",
     {"List the pods with", {:kubectl, ["get", "pods"]}}}
  end

  def entry(:replaced, %{namespace: namespace} = details) do
    {"could not connect: #{pod(details)} in namespace #{inspect(namespace)} was replaced by another pod of that name",
     {"Connect to the new pod", {:mix, "k8s.connect", []}}}
  end

  defp owners([]), do: ""

  defp owners(owners) do
    {shown, more} = Enum.split(owners, 5)
    ". The pods there belong to #{Enum.join(shown, ", ")}#{if more != [], do: ", …"}"
  end
end
