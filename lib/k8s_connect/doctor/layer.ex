defmodule K8sConnect.Doctor.Layer do
  @moduledoc false
  # Runs the checks of a layer, each on its own: a check that crashes does not stop the others, and a check
  # without its prerequisite is skipped.

  alias K8sConnect.Doctor.Check

  @typedoc """
  A check: its name, its prerequisite, and its function. The function returns a finding, or several with names of
  their own, and optionally what later checks use.
  """
  @type check :: {String.t(), prerequisite(), (map() -> result())}
  @type result ::
          Check.finding() | [Check.finding()] | {Check.finding() | [Check.finding()], map()}
  @type prerequisite ::
          :nothing
          | :api
          | :library
          | :access
          | :server
          | :target
          | :pod
          | :port_forward
          | :node
          | :connection

  @callback checks() :: [check()]

  # In the order of a connection setup. Each includes those before it; the first missing one is the reason.
  @prerequisites [
    api: "the options cannot be used",
    library: "the native library is not loaded",
    access: "the kubeconfig gives no cluster",
    server: "the API server did not answer",
    target: "no TARGET given",
    pod: "no pod",
    port_forward: "no port-forward connection",
    node: "no node found",
    connection: "not connected to the node"
  ]

  @spec run(module(), map()) :: {[K8sConnect.Doctor.check()], map()}
  def run(module, context) do
    {checks, context} = Enum.map_reduce(module.checks(), context, &run_check/2)
    {List.flatten(checks), context}
  end

  defp run_check({name, prerequisite, function}, context) do
    case missing(prerequisite, context) do
      nil -> function |> call(context) |> finish(name, context)
      reason -> finish(Check.skipped(reason), name, context)
    end
  end

  defp missing(:nothing, _context), do: nil

  defp missing(prerequisite, context) do
    count = Enum.find_index(@prerequisites, fn {name, _reason} -> name == prerequisite end) + 1

    Enum.find_value(Enum.take(@prerequisites, count), fn {name, reason} ->
      if is_map_key(context, name), do: nil, else: reason
    end)
  end

  defp finish({findings, results}, name, context) do
    context = Map.merge(context, results)
    {complete(findings, name, context), context}
  end

  defp finish(findings, name, context), do: {complete(findings, name, context), context}

  defp complete(findings, name, context) when is_list(findings),
    do: Enum.map(findings, &complete(&1, name, context))

  defp complete(finding, name, context),
    do: finding |> Map.put_new(:name, name) |> Check.render(context) |> Check.printable()

  # Without the stacktrace: its arguments may be secrets.
  defp call(function, context) do
    function.(context)
  rescue
    exception -> Check.crashed(exception.__struct__ |> inspect() |> describe(exception))
  catch
    :throw, {Check, finding} -> finding
    kind, _reason -> Check.crashed("#{kind}")
  end

  # Other exceptions may have a secret value in their message.
  defp describe(name, %{message: message}) when is_binary(message),
    do: "#{name}: #{String.slice(message, 0, 200)}"

  defp describe(name, _exception), do: name
end
