defmodule K8sConnect.Doctor.Layer do
  @moduledoc false
  # Runs the checks of a layer, each by itself: one that crashes is told as that, and one whose ground
  # is not there is skipped, and says what is missing.

  alias K8sConnect.Doctor.Check

  @typedoc """
  A check: its name, what it needs to be there, and what finds it out. That answers a finding, or
  several with names of their own; and what it gives to later ones.
  """
  @type check :: {String.t(), ground(), (map() -> answer())}
  @type answer ::
          Check.finding() | [Check.finding()] | {Check.finding() | [Check.finding()], map()}
  @type ground ::
          :nothing
          | :api
          | :library
          | :access
          | :server
          | :target
          | :pod
          | :link
          | :node
          | :connection

  @callback checks() :: [check()]

  # In the order of the way: each needs those before it, and the first that is missing is the reason.
  @grounds [
    api: "the options cannot be used",
    library: "the native library was not loaded",
    access: "the kubeconfig leads to no cluster",
    server: "the API server gave no answer",
    target: "no TARGET was given",
    pod: "there is no pod to look into",
    link: "there is no link to the pod",
    node: "no node was found",
    connection: "the node was not connected to"
  ]

  @spec run(module(), map()) :: {[K8sConnect.Doctor.check()], map()}
  def run(module, context) do
    {checks, context} = Enum.map_reduce(module.checks(), context, &run_one/2)
    {List.flatten(checks), context}
  end

  defp run_one({name, ground, find_out}, context) do
    case missing(ground, context) do
      nil -> find_out |> safely(context) |> about(context) |> answer(name, context)
      reason -> {named(Check.skipped("not looked at, as #{reason}"), name), context}
    end
  end

  defp missing(:nothing, _context), do: nil

  defp missing(ground, context) do
    count = Enum.find_index(@grounds, fn {name, _reason} -> name == ground end) + 1

    Enum.find_value(Enum.take(@grounds, count), fn {name, reason} ->
      if is_map_key(context, name), do: nil, else: reason
    end)
  end

  defp about({found, given}, context), do: {about(found, context), given}
  defp about(found, context) when is_list(found), do: Enum.map(found, &Check.about(&1, context))
  defp about(found, context), do: Check.about(found, context)

  defp answer({found, given}, name, context),
    do: {named(found, name), Map.merge(context, given)}

  defp answer(found, name, context), do: {named(found, name), context}

  defp named(findings, name) when is_list(findings), do: Enum.map(findings, &named(&1, name))
  defp named(finding, name), do: finding |> Map.put_new(:name, name) |> Check.printable()

  # Kind and reason, and nothing of the stack: arguments may be secrets.
  defp safely(find_out, context) do
    find_out.(context)
  rescue
    exception -> Check.crashed(exception.__struct__ |> inspect() |> said(exception))
  catch
    kind, _reason -> Check.crashed("#{kind}")
  end

  # An exception's own words may quote what it was given.
  defp said(name, %{message: message}) when is_binary(message),
    do: "#{name}: #{String.slice(message, 0, 200)}"

  defp said(name, _exception), do: name
end
