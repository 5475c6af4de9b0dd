defmodule K8sConnect.Application do
  @moduledoc false
  # Idle processes. The native library is not among them: the first call loads it.

  use Application

  @impl true
  def start(_type, _arguments) do
    # Sessions do not outlive the process that holds their routes, nor that one its helper.
    children = [
      K8sConnect.Distribution.Name,
      K8sConnect.Helper,
      K8sConnect.Route,
      K8sConnect.Sessions
    ]

    Supervisor.start_link(children, strategy: :rest_for_one, name: K8sConnect.Supervisor)
  end
end
