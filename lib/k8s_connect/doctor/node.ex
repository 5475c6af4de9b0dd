defmodule K8sConnect.Doctor.Node do
  @moduledoc false
  # What answers in the pod: the link there, epmd, and the node by its own word. No cookie is needed.

  @behaviour K8sConnect.Doctor.Layer

  import K8sConnect.Doctor.Check

  alias K8sConnect.{Doctor.Cluster, Error, Native}

  @impl true
  def checks do
    [
      {"link", :pod, &link/1},
      {"epmd", :link, &epmd/1},
      {"node", :link, &found/1},
      {"name", :node, &name/1},
      {"listens", :node, &listens/1}
    ]
  end

  defp link(%{pod: pod, wish: wish} = context) do
    case Native.call(:survey_link, [pod.survey, wish]) do
      {:ok, %{link: link, what: what, took_us: took}} ->
        {ok("#{what}, open after #{Cluster.ms(took)}", "pods/portforward"), %{link: link}}

      {:error, error} ->
        failure("cannot be opened", error, context)
    end
  end

  defp epmd(%{link: link} = context) do
    source = "port 4369 of the pod's loopback"

    case Native.call(:survey_epmd, [link]) do
      {:ok, []} -> ok("runs, and knows no node", source)
      {:ok, names} -> ok("knows #{Enum.map_join(names, ", ", &entry/1)}", source)
      {:error, %Error{reason: {:no_epmd, _details}}} -> ok("none: nothing listens there", source)
      {:error, error} -> no_answer(error, source, context)
    end
  end

  defp entry({name, port}), do: "#{name} at port #{port}"

  # With a port that is known it is not needed.
  defp no_answer(error, source, %{wish: %{port: nil}} = context),
    do: {%{failure("does not answer as one", error, context) | source: source}, %{no_epmd: true}}

  defp no_answer(_error, source, _context), do: ok("does not answer as one", source)

  defp found(%{no_epmd: true}), do: skipped("not looked at, as epmd does not answer")

  defp found(%{link: link, wish: wish} = context) do
    case Native.call(:survey_node, [link, wish]) do
      {:ok, node} -> {ok("#{node.name}, port #{node.port}", source(node)), %{node: node}}
      {:error, error} -> failure("none that can be connected to", error, context)
    end
  end

  defp source(node), do: "the name by its own word, the port by #{node.source}"

  defp name(%{node: node}) do
    ok("#{kind(node.name)}#{spec(node)}", "the handshake#{ours(node.name)}")
  end

  defp spec(%{expected: nil}), do: ""
  defp spec(%{expected: name, name: name}), do: ", as RELEASE_NODE in the pod's spec says"

  defp spec(%{expected: name}),
    do: ", another one than RELEASE_NODE in the pod's spec says (#{name})"

  defp kind(name), do: if(name =~ ~r/@.*[.:]/, do: "long", else: "short")

  defp ours(name) do
    if Node.alive?() and not K8sConnect.Distribution.same_kind?(String.to_atom(name)),
      do: "; this BEAM's is of the other kind, which the route vm does not mind",
      else: ""
  end

  defp listens(%{node: node}) do
    ok("port #{node.port} on the pod's loopback, where a link arrives, without TLS", "its answer")
  end
end
