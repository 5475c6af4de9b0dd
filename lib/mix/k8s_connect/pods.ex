defmodule Mix.K8sConnect.Pods do
  @moduledoc false
  # The output of `mix k8s.pods`, and of `mix k8s.connect` without a target.

  alias K8sConnect.{Error, Pod, Shellwords}
  alias Mix.K8sConnect.Table

  import Mix.K8sConnect.Output, only: [print: 1, say: 1]

  @type output :: :text | :wide | :json | :name

  @doc """
  Prints the pods that look like Erlang nodes. `namespaces?`: whether they are of several namespaces.
  """
  @spec print([Pod.t()], output(), namespaces? :: boolean()) :: :ok
  def print(pods, output, namespaces?) do
    pods = Enum.filter(pods, & &1.beam)
    if pods == [] and output != :json, do: say("no pods look like Erlang nodes")
    print_all(pods, output, namespaces?)
  end

  defp print_all(pods, :json, _namespaces?), do: print(%{pods: Enum.map(pods, &object/1)})
  defp print_all([], _output, _namespaces?), do: :ok

  defp print_all(pods, :name, namespaces?),
    do: puts(Enum.map(pods, &(&1 |> name(namespaces?) |> line())))

  defp print_all(pods, output, namespaces?) do
    now = DateTime.utc_now()
    columns = columns(output, namespaces?)
    header = Enum.map(columns, &header/1)
    rows = for pod <- pods, do: Enum.map(columns, &cell(&1, pod, now))
    puts(Table.lines([header | rows]))
  end

  # At once: standard output fails after `head` has closed its pipe.
  defp puts(lines), do: lines |> Enum.join("\n") |> IO.puts()

  defp object(pod) do
    %{
      (pod
       |> Map.from_struct()
       |> Map.delete(:beam))
      | containers: Enum.map(pod.containers, &Map.from_struct/1)
    }
  end

  # What can be pasted behind `mix k8s.connect`.
  defp name(pod, false), do: "pod/#{pod.name}"

  defp name(pod, true),
    do: "#{Shellwords.escape("pod/#{pod.name}")} -n #{Shellwords.escape(pod.namespace)}"

  defp line(text), do: text |> Error.printable() |> String.replace(["\n", "\t"], "")

  defp columns(output, namespaces?) do
    if(namespaces?, do: [:namespace], else: []) ++
      [:name, :ready, :status, :restarts, :age, :node] ++
      if(output == :wide, do: [:ip, :kubernetes_node, :evidence], else: [])
  end

  defp header(:node), do: "NODE NAME"
  defp header(:kubernetes_node), do: "KUBERNETES NODE"
  defp header(column), do: column |> Atom.to_string() |> String.upcase()

  defp cell(:ready, pod, _now), do: "#{pod.ready_containers}/#{pod.total_containers}"
  defp cell(:restarts, pod, _now), do: "#{pod.restarts}"
  defp cell(:age, pod, now), do: age(pod.created_at, now)
  defp cell(:node, pod, _now), do: pod.node || "?"
  defp cell(:evidence, pod, _now), do: Enum.join(pod.evidence, ", ")
  defp cell(column, pod, _now), do: Map.fetch!(pod, column) || "<none>"

  defp age(created, now) do
    case created && DateTime.from_iso8601(created) do
      {:ok, created, _offset} -> Table.age(DateTime.diff(now, created))
      _unknown -> "<unknown>"
    end
  end
end
