defmodule K8sConnect.Doctor.Pod do
  @moduledoc false
  # The pod, and the container in it that is held for the node's.

  @behaviour K8sConnect.Doctor.Layer

  import K8sConnect.Doctor.Check

  alias K8sConnect.Native

  # A container that was started again within the last minutes may be about to be once more.
  @recent_s 600
  @many 5

  @impl true
  def checks do
    [
      {"pods", :server, &pods/1},
      {"pod", :target, &pod/1},
      {"container", :pod, &container/1},
      {"ready", :pod, &ready/1},
      {"restarts", :pod, &restarts/1},
      {"others", :pod, &others/1}
    ]
  end

  # Without a target: what could be one.
  defp pods(%{target: _target}), do: []

  defp pods(%{api: api}) do
    case Native.call(:list_pods, [api]) do
      {:ok, pods} -> candidates(for pod <- pods, pod.beam, do: pod.name)
      {:error, _error} -> skipped("not looked for, as they cannot be listed")
    end
  end

  defp candidates([]), do: ok("none looks like an Erlang node", "the pods of the namespace")

  defp candidates(names) do
    shown = names |> Enum.take(10) |> Enum.join(", ")
    more = if length(names) > 10, do: " and #{length(names) - 10} more", else: ""
    ok("#{shown}#{more} look like Erlang nodes", "the pods of the namespace")
  end

  defp pod(context) do
    case context[:read] || Native.call(:survey_pod, [context.access.survey, context.wish]) do
      {:ok, %{problem: nil} = pod} ->
        {running(pod, context), %{pod: pod}}

      {:ok, %{problem: {stage, reason}}} ->
        failure("not running", K8sConnect.Error.new(stage, reason), context)

      {:error, error} ->
        failure("none that can be looked into", error, context)
    end
  end

  defp running(%{leaving: true} = pod, context) do
    warning(
      "#{pod.name} is running, and is being deleted",
      "its deletionTimestamp",
      "the connection ends with it",
      "kubectl get pod #{pod.name} -n #{context.access.namespace} -w"
    )
  end

  defp running(pod, _context) do
    ok("#{pod.name} is running, at #{pod.ip || "no address"}, uid #{pod.uid}", "GET of the pod")
  end

  defp container(%{pod: pod}), do: ok("#{pod.container}, image #{pod.image}", pod.why)

  defp ready(%{pod: %{ready: true}}), do: ok("yes", "its status")

  defp ready(%{pod: pod} = context) do
    warning(
      "no: the kubelet does not hold container #{pod.container} for ready",
      "its status",
      "a node that is starting, or stuck, may not answer",
      "kubectl describe pod #{pod.name} -n #{context.access.namespace}"
    )
  end

  defp restarts(%{pod: pod} = context),
    do: restarts_of(pod, context.access.namespace)

  @doc false
  @spec restarts_of(map(), String.t()) :: K8sConnect.Doctor.Check.finding()
  def restarts_of(%{restarts: 0}, _namespace), do: ok("none", "its status")

  def restarts_of(%{restarts: count, ended: ended} = pod, namespace) do
    fact = "#{count}#{last(ended)}"

    if count > @many or match?({ago, _why} when ago < @recent_s, ended) do
      command = "kubectl logs #{pod.name} -n #{namespace} -c #{pod.container} --previous"

      warning(
        fact,
        "its status",
        "a connection ends with the container that it leads to",
        command
      )
    else
      ok(fact, "its status")
    end
  end

  defp last(nil), do: ""
  defp last({ago, why}) when ago < 120, do: ", the last #{ago} s ago (#{why})"
  defp last({ago, why}), do: ", the last #{div(ago, 60)} min ago (#{why})"

  defp others(%{pod: %{named: true}}), do: []

  defp others(%{pod: %{others: []}}),
    do: ok("no other ready pod fits", "the pods of the namespace")

  defp others(%{pod: %{others: others}}),
    do: ok("also ready: #{Enum.join(others, ", ")}", "the pods of the namespace")
end
