defmodule K8sConnect.Preload do
  @moduledoc false
  # Loads modules together. Otherwise the code server loads each module when it is first called, and stops all schedulers
  # each time. The modules of a first connect take 30 ms one by one, and 17 ms together, because OTP reads and compiles
  # them in parallel. A module that is missing in a list is loaded when it is called. A listed module that does not exist
  # is searched for by each connect.

  @connect [
    K8sConnect.Application,
    K8sConnect.Distribution,
    K8sConnect.Distribution.Cookies,
    K8sConnect.Distribution.Name,
    K8sConnect.Error,
    K8sConnect.Events,
    K8sConnect.Helper,
    K8sConnect.Native,
    K8sConnect.NodeMonitor,
    K8sConnect.Options,
    K8sConnect.Options.Configuration,
    K8sConnect.Options.Values,
    K8sConnect.Originals,
    K8sConnect.PodConnection,
    K8sConnect.PodConnection.Restart,
    K8sConnect.Protection,
    K8sConnect.ReadOnly,
    K8sConnect.Reconnect,
    K8sConnect.Route,
    K8sConnect.Route.Exec,
    K8sConnect.Route.Kernel,
    K8sConnect.Route.Kernel.Hosts,
    K8sConnect.Route.NetKernel,
    K8sConnect.Route.VM,
    K8sConnect.Route.VM.Dist,
    K8sConnect.Route.VM.Epmd,
    K8sConnect.Route.VM.Folders,
    K8sConnect.Route.VM.Table,
    K8sConnect.Server,
    K8sConnect.Servers,
    K8sConnect.Session,
    K8sConnect.Session.Attempt,
    K8sConnect.Session.Status,
    K8sConnect.Sessions,
    K8sConnect.Setup,
    K8sConnect.Temporary,
    K8sConnect.Tick,
    DynamicSupervisor,
    Enumerable,
    Enumerable.MapSet,
    File.Stat,
    Integer,
    MapSet,
    Node,
    Range,
    String.Chars,
    String.Chars.Atom,
    :auth,
    :dist_util,
    :erl_epmd,
    :inet_tcp,
    :inet_tcp_dist,
    :local_tcp,
    :local_udp,
    :raw_file_io_list,
    :gen_statem,
    :sys
  ]

  @doc """
  Loads what `K8sConnect.connect/2` needs.
  """
  @spec connect() :: :ok
  def connect, do: load(modules())

  @doc """
  The modules that `K8sConnect.connect/2` needs.
  """
  @spec modules() :: [module()]
  def modules, do: @connect

  @doc """
  Loads the modules that are not loaded, as the code server would.
  """
  @spec load([module()]) :: :ok
  def load(modules) do
    _ = unless all_loaded?(modules), do: :code.ensure_modules_loaded(modules)
    :ok
  end

  # Not with `Enum`, which may not be loaded.
  defp all_loaded?(modules), do: :lists.all(&:erlang.module_loaded/1, modules)
end
