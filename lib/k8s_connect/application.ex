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

    # Sessions do not outlive the table that their nodes are in.
    Supervisor.start_link(children, strategy: :rest_for_one, name: K8sConnect.Supervisor)
  end
end
