defmodule K8sConnect.Doctor.Route do
  @moduledoc false
  # Which route is taken, and whether each that there is works: really connected, and taken down.

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

  defp choice(%{route: %{visible: true}} = context) do
    warning(
      "kernel, for programs that are visible nodes",
      "--visible",
      "a visible node can make a cluster's nodes drop each other; hidden ones cannot",
      again(context, ["--route", "kernel"])
    )
  end

  defp choice(%{route: route}) do
    {_routes, why} = Route.choose(route)
    ok(why, "--route #{route.route}")
  end

  defp vm(%{ours: false, connection: connection}), do: in_use(connection, :vm)

  defp vm(%{connection: %{route: :vm}} = context) do
    K8sConnect.disconnect(context.connection)
    ok("connected after #{Cluster.ms(context.took)}, and taken down again", "tried")
  end

  # The handshake has come by the other one, so this one has failed.
  defp vm(context), do: tried(:vm, context)

  defp kernel(%{ours: false, connection: connection}), do: in_use(connection, :kernel)

  defp kernel(%{route: %{route: asked, sudo: sudo}} = context) do
    cond do
      asked == :vm -> skipped("not tried, as --route vm was asked for")
      asked == :kernel or sudo or Program.installed?() -> tried(:kernel, context)
      true -> skipped("not tried, as no helper is installed (mix help k8s.helper)")
    end
  end

  defp in_use(%{route: route}, route),
    do: ok("in use by this BEAM, and left as it is", "K8sConnect.connections()")

  defp in_use(_connection, _route),
    do: skipped("not tried, as this BEAM is connected by the other one")

  defp tried(route, context) do
    K8sConnect.disconnect(context.connection)
    {time, result} = :timer.tc(fn -> Handshake.connect_by(route, context) end)

    case result do
      {:ok, connection} ->
        K8sConnect.disconnect(connection)
        ok("connected after #{Cluster.ms(time)}, and taken down again", "tried")

      {:error, error} ->
        needed(failure("does not work", error, context), route, context)
    end
  end

  # The other one is taken then.
  defp needed(finding, route, %{route: %{route: asked}}) do
    if asked == route, do: finding, else: %{finding | status: :warning}
  end
end
