defmodule K8sConnect.Error.Catalogue.Target do
  @moduledoc false
  # The pod of a target.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:invalid_target, %{target: target}) do
    {"invalid target #{inspect(target)}: expected a pod (app-0), a workload (sts/app, deploy/web) or a Service (svc/app)",
     {"List the pods with", {:kubectl, ["get", "pods"]}}}
  end

  def entry(:no_such_pod, %{pod: pod, namespace: namespace}) do
    {"no such pod: #{inspect(pod)} in namespace #{inspect(namespace)}",
     {"List the pods with", {:kubectl, ["get", "pods"]}}}
  end

  def entry(:no_pods, %{target: target, namespace: namespace}) do
    {"no such pods: no pod belongs to #{target} in namespace #{inspect(namespace)}",
     {"List the pods with", {:kubectl, ["get", "pods", "--show-labels"]}}}
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
end
