defmodule K8sConnect.Doctor.Route do
  @moduledoc false
  # The route that a connection takes, and a test connection over each available route.

  @behaviour K8sConnect.Doctor.Layer

  import K8sConnect.Doctor.Check

  alias K8sConnect.Doctor.{Cluster, Handshake}
  alias K8sConnect.Helper.Program
  alias K8sConnect.Route

  @impl true
  def checks do
    [
      {"choice", :connection, &choice/1},
      {"vm", :connection, &vm/1},
      {"kernel", :connection, &kernel/1}
    ]
  end

  defp choice(%{route: %{visible: true}}) do
    warning(
      "kernel, for programs that are visible nodes",
      "--visible",
      "a visible node can make :global disconnect nodes of the cluster",
      {:mix, "k8s.doctor", [route: :kernel, visible: false]}
    )
  end

  defp choice(%{route: route}) do
    {_routes, why} = Route.choose(route)
    ok(why, "--route #{route.route}")
  end

  defp vm(%{opened: false, connection: connection}), do: in_use(connection, :vm)

  defp vm(%{connection: %{route: :vm}} = context) do
    K8sConnect.disconnect(context.connection)
    ok("connected after #{Cluster.ms(context.took)}", "test connection, closed again")
  end

  # The handshake took the kernel route, because this one had failed.
  defp vm(context), do: try_route(:vm, context)

  defp kernel(%{opened: false, connection: connection}), do: in_use(connection, :kernel)

  defp kernel(%{route: %{route: requested, sudo: sudo}} = context) do
    cond do
      requested == :vm -> skipped("--route vm given")
      requested == :kernel or sudo or Program.installed?() -> try_route(:kernel, context)
      true -> skipped("the helper is not installed (mix help k8s.helper)")
    end
  end

  defp in_use(%{route: route}, route),
    do: ok("in use by this BEAM, left open", "K8sConnect.connections()")

  defp in_use(_connection, _route),
    do: skipped("this BEAM is connected over the other route")

  defp try_route(route, context) do
    K8sConnect.disconnect(context.connection)
    {time, result} = :timer.tc(fn -> Handshake.connect_by(route, context) end)

    case result do
      {:ok, connection} ->
        K8sConnect.disconnect(connection)
        ok("connected after #{Cluster.ms(time)}", "test connection, closed again")

      {:error, error} ->
        if_required(failure("does not work", error, context), route, context)
    end
  end

  # A connection takes the other route, unless this one was requested.
  defp if_required(finding, route, %{route: %{route: requested}}) do
    if requested == route, do: finding, else: %{finding | status: :warning}
  end
end
