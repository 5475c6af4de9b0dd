defmodule Mix.K8sConnect.Init do
  @moduledoc false
  # The configuration that `mix k8s.init` suggests: a named target for each workload whose pods look like Erlang nodes,
  # and the contexts to protect. Names come from the cluster, so none becomes an atom here.

  alias K8sConnect.Pod

  @typedoc "A named target: its name, and its options."
  @type target :: {name :: String.t(), [{:context | :namespace | :target, String.t()}]}

  # Of an atom; with the namespace, a name can be longer.
  @longest 255

  # A cluster can have thousands of workloads.
  @most 50

  # A part of the name, not of a word in it: `prod-eu` and `eu_production`, and neither `product` nor `alive`.
  @production ~r/(?<![a-z])(prod|production|prd|live)(?![a-z])/i

  # What can be a target. The API server accepts no other names.
  @valid ~r/\A[a-z0-9][a-z0-9.\/-]*\z/

  @doc """
  The targets of these pods. `known`: the configured targets, which are left out, and whose names are taken.
  """
  @spec targets([Pod.t()], String.t(), keyword()) :: [target()]
  def targets(pods, context, known) do
    workloads =
      for(%{beam: true} = pod <- pods, do: {pod.namespace, pod.owner || pod.name})
      |> Enum.uniq()
      |> Enum.filter(fn {namespace, target} -> namespace =~ @valid and target =~ @valid end)
      |> Enum.map(fn {namespace, target} ->
        {namespace, target, options(context, namespace, target)}
      end)
      |> Enum.reject(fn {_namespace, _target, options} -> known?(options, known) end)
      |> Enum.take(@most)

    taken = MapSet.new(known, fn {name, _options} -> Atom.to_string(name) end)
    {targets, _taken} = Enum.map_reduce(workloads, taken, &named/2)
    for {name, options} <- targets, String.length(name) <= @longest, do: {name, options}
  end

  # In a pod without a kubeconfig there is no context to name.
  defp options(context, namespace, target) do
    context = if context == "in-cluster", do: [], else: [context: context]
    context ++ [namespace: namespace, target: target]
  end

  defp known?(options, known) do
    Enum.any?(known, fn {_name, settings} -> Enum.all?(options, &(&1 in settings)) end)
  end

  defp named({namespace, target, options}, taken) do
    [name | kind] = target |> String.split("/") |> Enum.reverse()
    names = [name, "#{namespace}-#{name}", Enum.join([namespace | kind] ++ [name], "-")]
    name = Enum.find(names, target, &(&1 not in taken))
    {{name, options}, MapSet.put(taken, name)}
  end

  @doc """
  The contexts that look like production.
  """
  @spec production([String.t()]) :: [String.t()]
  def production(contexts), do: Enum.filter(contexts, &(&1 =~ @production))

  @doc """
  The lines `config :k8s_connect, …`, formatted.
  """
  @spec block([target()], protect :: [String.t()]) :: String.t()
  def block(targets, protect) do
    lines = settings(targets, protect)
    format("config :k8s_connect,\n" <> Enum.join(lines, ",\n"))
  end

  @doc """
  The same settings, to be added to a block that is there.
  """
  @spec settings([target()], protect :: [String.t()]) :: [String.t()]
  def settings(targets, protect) do
    protect = if protect == [], do: [], else: ["protect: #{inspect(protect, limit: :infinity)}"]
    targets = Enum.map_join(targets, ",\n", &"  #{target(&1)}")
    protect ++ if(targets == "", do: [], else: ["targets: [\n#{targets}\n]"])
  end

  @doc """
  One target, as an element of `:targets`.
  """
  @spec target(target()) :: String.t()
  def target({name, options}), do: "#{key(name)} #{inspect(options, printable_limit: :infinity)}"

  defp key(name),
    do: if(name =~ ~r/\A[a-z_][A-Za-z0-9_]*\z/, do: "#{name}:", else: inspect(name) <> ":")

  defp format(code), do: IO.iodata_to_binary([Code.format_string!(code), "\n"])
end
