defmodule K8sConnect.Application do
  @moduledoc false
  # Three idle processes. The native library is not among them: the first call loads it.

  use Application

  @impl true
  def start(_type, _arguments) do
    children = [
      {Registry, keys: :unique, name: K8sConnect.Registry},
      K8sConnect.Route.VM,
      {DynamicSupervisor, name: K8sConnect.Sessions}
    ]

    # Sessions do not outlive the table that their nodes are in. The many restarts are for a killed
    # Registry, whose own processes take a moment to follow it and hold their names until then.
    options = [strategy: :rest_for_one, max_restarts: 100, max_seconds: 1]
    Supervisor.start_link(children, [name: K8sConnect.Supervisor] ++ options)
  end
end
