defmodule K8sConnect.Doctor do
  @moduledoc """
  Checks everything between this machine and the node in a pod, layer by layer. Each check has a fact, its source,
  and for a problem the cause and a command.

      iex> report = K8sConnect.Doctor.examine("app-0", namespace: "shop")
      iex> report.status
      :ok

  `mix k8s.doctor` prints it.

  ## A report

  `%{status: status, target: target, layers: layers}`, of plain maps, lists, strings, numbers and atoms.
  A layer is `%{name: name, title: title, status: status, checks: checks}`; the layers are `:machine`,
  `:cluster`, `:permissions`, `:pod`, `:node`, `:handshake` and `:route`. A check is

      %{name: "clock", status: :warning, fact: "90 s ahead of the API server", source: "…",
        why: "…", command: "…"}

  where `:source`, `:why` and `:command` may be `nil`. A check that failed has a `:why`.

    * `:ok` - no problem.
    * `:warning` - a possible problem.
    * `:failed` - a problem.
    * `:skipped` - not checked, because a prerequisite is missing; the fact names it.
    * `:crashed` - the check itself failed: an internal error of this library.

  The status of a layer, and of the report, is the worst of its parts. Skipped checks do not count.
  """

  alias K8sConnect.Doctor.{Check, Cluster, Handshake, Layer, Machine, Permissions, Pod, Route}
  alias K8sConnect.{Native, Options}

  @layers [
    machine: Machine,
    cluster: Cluster,
    permissions: Permissions,
    pod: Pod,
    node: K8sConnect.Doctor.Node,
    handshake: Handshake,
    route: Route
  ]

  @type status :: :ok | :warning | :failed | :skipped | :crashed
  @type check :: %{
          name: String.t(),
          status: status(),
          fact: String.t(),
          source: String.t() | nil,
          why: String.t() | nil,
          command: String.t() | nil
        }
  @type layer :: %{name: atom(), title: String.t(), status: status(), checks: [check()]}
  @type report :: %{
          status: :ok | :warning | :failed,
          target: String.t() | nil,
          layers: [layer()]
        }

  @doc """
  Examines the path to `target`. Without a target the layers from the pod on are skipped.

  The options are those of `K8sConnect.connect/2` without `:owner`. `:progress` is a function that is called with
  each layer when it is done. The examination sends requests to the API server, opens a port-forward connection to
  the pod, and connects to the node by each available route. It closes these connections again. An existing
  connection to the pod is used, and left open.

  Raises `ArgumentError` for invalid options and configuration.
  """
  @spec examine(String.t() | nil, keyword()) :: report()
  def examine(target, options \\ []), do: examine(target, options, @layers)

  @doc false
  # For tests, which add layers of their own.
  @spec examine(String.t() | nil, keyword(), [{atom(), module()}]) :: report()
  def examine(target, options, layers) do
    context = context(target, options)
    {:ok, _started} = Application.ensure_all_started(:k8s_connect)
    # The connections of the examination end with this process.
    Task.await(Task.async(fn -> run(context, layers) end), :infinity)
  end

  defp run(%{requested_target: target, options: options} = context, layers) do
    progress = options[:progress] || fn _layer -> :ok end
    {layers, context} = Enum.map_reduce(layers, context, &run_layer(&1, &2, progress))
    if context[:opened], do: K8sConnect.disconnect(context.connection)
    %{status: overall(layers), target: target || options[:selector], layers: layers}
  end

  defp run_layer({name, module}, context, progress) do
    {checks, context} = Layer.run(module, context)
    layer = %{name: name, title: title(name), status: Check.worst(checks), checks: checks}
    progress.(layer)
    {layer, context}
  end

  @doc false
  @spec layers() :: [{atom(), module()}]
  def layers, do: @layers

  # Checks add their results to it.
  defp context(target, options) do
    result = Options.connect(placeholder(target, options), options)
    {target, options} = Options.Configuration.named(target, options)
    request = %{requested_target: target, options: options}

    case result do
      {:ok, checked} -> Map.merge(request, resolve(target, options, checked))
      {:error, error} -> Map.put(request, :unusable, error)
    end
  end

  # A connection needs a target or a selector, an examination does not.
  defp placeholder(nil, options),
    do: if(Keyword.keyword?(options) and options[:selector] != nil, do: nil, else: "none")

  defp placeholder(target, _options), do: target

  defp resolve(target, options, checked) do
    labels =
      options[:selector] || (target == nil && Application.get_env(:k8s_connect, :selector)) || nil

    resolved = %{
      api: Native.with_environment(checked.api),
      # The node is asked for its name even where the pod's spec has one.
      attach: %{checked.target | target: target, labels: labels, assume_name: false},
      route: checked.route,
      yes: checked.yes,
      # The doctor connects with the guard.
      trust: false,
      confirm: checked.confirm
    }

    if target || labels, do: Map.put(resolved, :target, target || labels), else: resolved
  end

  defp title(name), do: name |> Atom.to_string() |> String.capitalize()

  defp overall(layers) do
    case Check.worst(layers) do
      :crashed -> :failed
      :skipped -> :ok
      status -> status
    end
  end
end
