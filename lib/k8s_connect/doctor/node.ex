defmodule K8sConnect.Doctor.Node do
  @moduledoc false
  # The port-forward connection, epmd, and the node's handshake up to the cookie.

  @behaviour K8sConnect.Doctor.Layer

  import K8sConnect.Doctor.Check

  alias K8sConnect.{Distribution, Doctor.Cluster, Error, Native}

  @impl true
  def checks do
    [
      {"port-forward", :pod, &port_forward/1},
      {"epmd", :port_forward, &epmd/1},
      {"node", :port_forward, &find_node/1},
      {"name", :node, &name/1},
      {"listener", :node, &listener/1}
    ]
  end

  defp port_forward(%{pod: pod, attach: attach} = context) do
    case Native.call(:diagnose_port_forward, [pod.diagnosis, attach]) do
      {:ok, %{port_forward: port_forward, protocol: protocol, took_us: took}} ->
        {ok("#{protocol}, open after #{Cluster.ms(took)}", "pods/portforward"),
         %{port_forward: port_forward}}

      {:error, error} ->
        failure("not opened", error, context)
    end
  end

  defp epmd(%{port_forward: port_forward} = context) do
    source = "port 4369 of the pod's loopback"

    case Native.call(:diagnose_epmd, [port_forward]) do
      {:ok, []} -> ok("runs, and has no nodes", source)
      {:ok, names} -> ok("has #{Enum.map_join(names, ", ", &entry/1)}", source)
      {:error, %Error{reason: {:no_epmd, _details}}} -> ok("does not run", source)
      {:error, error} -> no_answer(error, source, context)
    end
  end

  defp entry({name, port}), do: "#{name} on port #{port}"

  # A given port is used without epmd.
  defp no_answer(error, source, %{attach: %{port: nil}} = context),
    do: {%{failure("no valid answer", error, context) | source: source}, %{no_epmd: true}}

  defp no_answer(_error, source, _context), do: ok("no valid answer", source)

  defp find_node(%{no_epmd: true}), do: skipped("epmd does not answer")

  defp find_node(%{port_forward: port_forward, attach: attach} = context) do
    case Native.call(:diagnose_node, [port_forward, attach]) do
      {:ok, node} -> {ok("#{node.name}, port #{node.port}", source(node)), %{node: node}}
      {:error, error} -> failure("not found", error, context)
    end
  end

  defp source(node), do: "name from the handshake, port from #{node.source}"

  defp name(%{node: node}) do
    ok("#{kind(node.name)} name#{spec(node)}", "the handshake#{local(node.name)}")
  end

  defp spec(%{expected: nil}), do: ""
  defp spec(%{expected: name, name: name}), do: ", equal to the name in the pod's spec"

  defp spec(%{expected: name}),
    do: ", different from the name in the pod's spec (#{name})"

  defp kind(name), do: if(name =~ ~r/@.*[.:]/, do: "long", else: "short")

  defp local(name) do
    if Node.alive?() and not Distribution.same_kind?(String.to_atom(name)),
      do:
        "; the local node has a #{kind(Atom.to_string(Node.self()))} name, which only the vm route allows",
      else: ""
  end

  defp listener(%{node: node}) do
    tls = if node.tls, do: "with TLS: #{node.tls}", else: "without TLS"
    ok("port #{node.port} of the pod's loopback address, #{tls}", "the handshake")
  end
end
