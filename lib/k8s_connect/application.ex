defmodule K8sConnect.Application do
  @moduledoc false
  # Starts idle processes only. The first call of a native function loads the native library.

  use Application

  @impl true
  def start(_type, _arguments) do
    # This process ends with the application, after its supervision tree.
    :ok = K8sConnect.Originals.new()

    # If the helper's process ends, the routes end with it, and with the routes the sessions. So do all if the list of
    # servers is lost.
    children = [
      K8sConnect.Servers,
      K8sConnect.Distribution.Name,
      K8sConnect.Helper,
      K8sConnect.NodeMonitor,
      K8sConnect.Route,
      K8sConnect.Sessions
    ]

    Supervisor.start_link(children, strategy: :rest_for_one, name: K8sConnect.Supervisor)
  end

  @impl true
  def stop(_state), do: K8sConnect.Originals.keep()
end
