defmodule K8sConnect.Doctor.Pod do
  @moduledoc false
  # The pod, and the container of the node.

  @behaviour K8sConnect.Doctor.Layer

  import K8sConnect.Doctor.Check

  alias K8sConnect.{Native, Options}

  # A container that restarted in the last minutes may restart again.
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
      {"other pods", :pod, &other_pods/1}
    ]
  end

  # Without a target: possible targets.
  defp pods(%{target: _target}), do: []

  defp pods(%{api: api}) do
    case Native.call(:list_pods, [api, Options.query(nil, [])]) do
      {:ok, pods} -> candidates(for pod <- pods, pod.beam, do: pod.name)
      {:error, _error} -> skipped("could not list the pods")
    end
  end

  defp candidates([]), do: ok("none looks like an Erlang node", "the pods of the namespace")

  defp candidates(names) do
    shown = names |> Enum.take(10) |> Enum.join(", ")
    more = if length(names) > 10, do: " and #{length(names) - 10} more", else: ""
    ok("#{shown}#{more} look like Erlang nodes", "the pods of the namespace")
  end

  defp pod(context) do
    case context[:read] || Native.call(:diagnose_pod, [context.access.diagnosis, context.attach]) do
      {:ok, %{problem: nil} = pod} ->
        {running(pod), %{pod: pod}}

      {:ok, %{problem: {stage, reason}}} ->
        failure("not running", K8sConnect.Error.new(stage, reason), context)

      {:error, error} ->
        failure("not found", error, context)
    end
  end

  defp running(%{leaving: true} = pod) do
    warning(
      "#{pod.name} is running, and is being deleted",
      "its deletionTimestamp",
      "the connection ends with the pod",
      {:kubectl, ["get", "pod", pod.name, "-w"]}
    )
  end

  defp running(pod) do
    ok("#{pod.name} is running, IP #{pod.ip || "none"}, uid #{pod.uid}", "GET of the pod")
  end

  defp container(%{pod: pod}), do: ok("#{pod.container}, image #{pod.image}", pod.why)

  defp ready(%{pod: %{ready: true}}), do: ok("yes", "its status")

  defp ready(%{pod: pod}) do
    warning(
      "container #{pod.container} is not ready",
      "its status",
      "the node may be starting or stuck, and not answer",
      {:kubectl, ["describe", "pod", pod.name]}
    )
  end

  defp restarts(%{pod: pod}), do: restarts_of(pod)

  @doc false
  @spec restarts_of(map()) :: K8sConnect.Doctor.Check.finding()
  def restarts_of(%{restarts: 0}), do: ok("none", "its status")

  def restarts_of(%{restarts: count, ended: ended} = pod) do
    fact = "#{count}#{last(ended)}"

    if count > @many or match?({ago, _why} when ago < @recent_s, ended) do
      command = {:kubectl, ["logs", pod.name, "-c", pod.container, "--previous"]}

      warning(
        fact,
        "its status",
        "the connection ends when the container restarts",
        command
      )
    else
      ok(fact, "its status")
    end
  end

  defp last(nil), do: ""
  defp last({ago, why}) when ago < 120, do: ", the last #{ago} s ago (#{why})"
  defp last({ago, why}), do: ", the last #{div(ago, 60)} min ago (#{why})"

  defp other_pods(%{pod: %{named: true}}), do: []

  defp other_pods(%{pod: %{others: []}}),
    do: ok("no other ready pod matches", "the pods of the namespace")

  defp other_pods(%{pod: %{others: others}}),
    do: ok("also ready: #{Enum.join(others, ", ")}", "the pods of the namespace")
end
