defmodule K8sConnect.Preload do
  @moduledoc false
  # Loads modules together. Without this, the code server loads each one when it is first called: it looks into the
  # directories of the code path one after the other, and all schedulers stop for each module. For the 60 modules of a
  # first connect that is 60 ms of 100. A name that is missing in these lists costs a millisecond, and nothing else.

  @connect [
    k8s_connect: [
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
      K8sConnect.Tick
    ],
    elixir: [
      Calendar.ISO,
      DateTime,
      DynamicSupervisor,
      Enumerable,
      Enumerable.MapSet,
      File.Stat,
      Integer,
      MapSet,
      Node,
      Range,
      String.Chars,
      String.Chars.Atom
    ],
    kernel: [
      :auth,
      :dist_util,
      :erl_epmd,
      :inet_tcp,
      :inet_tcp_dist,
      :local_tcp,
      :local_udp,
      :raw_file_io_list
    ],
    stdlib: [
      :gen_statem,
      :sys
    ]
  ]

  @doc """
  Loads what `K8sConnect.connect/2` needs.
  """
  @spec connect() :: :ok
  def connect, do: load(@connect)

  @doc """
  Loads the modules of these applications that are not loaded. A file that cannot be read, for example one in a zip
  archive, is left to the code server.
  """
  @spec load(keyword([module()])) :: :ok
  def load(applications) do
    unless missing(applications) == [] or :code.get_mode() == :embedded do
      {pid, monitor} = spawn_monitor(fn -> load_alone(applications) end)
      receive do: ({:DOWN, ^monitor, :process, ^pid, _reason} -> :ok)
    end

    :ok
  end

  # A module that is loaded twice has old code, and a purge would end the processes that run it.
  defp load_alone(applications) do
    true = Process.register(self(), __MODULE__)

    _ =
      :code.atomic_load(
        for {application, modules} <- missing(applications),
            module <- read(application, modules),
            do: module
      )
  rescue
    ArgumentError -> await(Process.whereis(__MODULE__))
  end

  defp await(nil), do: :ok

  defp await(pid) do
    monitor = Process.monitor(pid)
    receive do: ({:DOWN, ^monitor, :process, ^pid, _reason} -> :ok)
  end

  defp missing(applications) do
    for {application, modules} <- applications,
        absent = for(module <- modules, not :erlang.module_loaded(module), do: module),
        absent != [],
        do: {application, absent}
  end

  defp read(application, modules) do
    for directory <- ebin(application),
        module <- modules,
        path = :filename.join(directory, Atom.to_charlist(module) ++ ~c".beam"),
        {:ok, binary} <- [:file.read_file(path)],
        do: {module, path, binary}
  end

  defp ebin(:k8s_connect) do
    # The folder of an archive has the version in its name, or another one.
    case :code.which(__MODULE__) do
      path when is_list(path) -> [:filename.dirname(path)]
      _cover_compiled -> []
    end
  end

  defp ebin(application) do
    case :code.lib_dir(application) do
      path when is_list(path) -> [:filename.join(path, ~c"ebin")]
      {:error, :bad_name} -> []
    end
  end
end
