defmodule K8sConnect.Doctor do
  @moduledoc """
  Looks at the whole way from this machine to the node in a pod, layer by layer, and says of each
  what is so, where that is known from, and what to do about what is not as it should be.

      iex> report = K8sConnect.Doctor.examine("app-0", namespace: "shop")
      iex> report.status
      :ok

  `mix k8s.doctor` prints it.

  ## A report

  `%{status: status, target: target, layers: layers}`, of plain maps, lists, strings, numbers and atoms.
  A layer is `%{name: name, title: title, status: status, checks: checks}`; the layers are `:machine`,
  `:cluster`, `:permissions`, `:pod`, `:node`, `:handshake` and `:route`. A check is

      %{name: "clock", status: :warning, fact: "90 s ahead of the API server's", source: "…",
        why: "…", command: "…"}

  where `:source`, `:why` and `:command` may be `nil`; what `:failed` has all of the last two.

    * `:ok` - so it should be.
    * `:warning` - it may be what is wrong, and may be not.
    * `:failed` - this is wrong.
    * `:skipped` - not looked at, as something else that it needs is not there; the fact says what.
    * `:crashed` - the check itself failed, which is a fault of this library.

  The status of a layer, and of the report, is the worst of its parts; what was skipped is no fault.
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
  Examines the way to `target`, which may be `nil`: then the layers from the pod on are left out.

  The options are those of `K8sConnect.connect/2` without `:owner`, `:connect_timeout` and `:progress`. It asks the API
  server, opens a link to the pod, and connects to the node by each route that there is, for a moment;
  a connection that is there already is used, and left as it is.
  """
  @spec examine(String.t() | nil, keyword()) :: report()
  def examine(target, options \\ []), do: examine(target, options, @layers)

  @doc false
  # For tests, which put checks of their own between ours.
  @spec examine(String.t() | nil, keyword(), [{atom(), module()}]) :: report()
  def examine(target, options, layers) do
    {:ok, _started} = Application.ensure_all_started(:k8s_connect)
    # In a process of its own: the link that is opened, and all else, ends with it.
    Task.await(Task.async(fn -> run(target, options, layers) end), :infinity)
  end

  defp run(target, options, layers) do
    context = context(target, options)

    {layers, context} =
      Enum.map_reduce(layers, context, fn {name, module}, context ->
        {checks, context} = Layer.run(module, context)
        {%{name: name, title: title(name), status: Check.worst(checks), checks: checks}, context}
      end)

    if context[:ours], do: K8sConnect.disconnect(context.connection)
    %{status: overall(layers), target: target || options[:selector], layers: layers}
  end

  @doc false
  @spec layers() :: [{atom(), module()}]
  def layers, do: @layers

  # What the checks find out is added to it, under the name of what they give.
  defp context(target, options) do
    {target, options} = Options.named(target, options)
    asked = %{asked: target, options: options}

    case Options.connect(target || "none", Keyword.drop(options, [:selector])) do
      {:ok, checked} -> Map.merge(asked, wanted(target, options, checked))
      {:error, error} -> Map.put(asked, :unusable, error)
    end
  end

  defp wanted(target, options, checked) do
    labels =
      options[:selector] || (target == nil && Application.get_env(:k8s_connect, :selector)) || nil

    wish = %{checked.target | target: target, labels: labels, trust: false}

    wanted = %{
      api: Native.with_environment(checked.api),
      wish: wish,
      route: checked.route,
      yes: checked.yes,
      confirm: checked.confirm
    }

    if target || labels, do: Map.put(wanted, :target, target || labels), else: wanted
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
