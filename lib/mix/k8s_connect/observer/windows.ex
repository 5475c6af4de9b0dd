defmodule Mix.K8sConnect.Observer.Windows do
  @moduledoc false
  # OTP's Observer, in this BEAM, on the node of a connection.

  alias K8sConnect.{Connection, Error, Events}
  alias Mix.K8sConnect.Output

  # In the order in which Debian's packages need each other.
  @applications [:runtime_tools, :wx, :et, :observer]
  @modules [wx: :wx, observer: :observer, runtime_tools: :observer_backend]

  # On the node, of runtime_tools
  @backend [:observer_backend, :appmon_info]
  @timeout 30_000

  # #wx{} and #wxCommand{} of wx.hrl: a click on an item of a menu.
  @clicked {:wxCommand, :command_menu_selected, [], 0, 0}

  @doc """
  Whether this machine has a display.
  """
  @spec display?() :: boolean()
  def display? do
    match?({:unix, :darwin}, :os.type()) or
      Enum.any?(["DISPLAY", "WAYLAND_DISPLAY"], &(System.get_env(&1, "") != ""))
  end

  @doc """
  Whether this machine can run Observer.
  """
  @spec check() :: :ok | {:error, Error.t()}
  def check do
    # Mix removes applications of OTP that a project does not list from the code path, since Elixir 1.15.
    paths = for name <- @applications, do: Path.wildcard("#{:code.lib_dir()}/#{name}{,-*}/ebin")

    for path <- Enum.concat(paths), do: _added = Code.append_path(path)
    missing = for {name, module} <- @modules, not Code.ensure_loaded?(module), do: name

    case missing do
      [] -> :ok
      [name | _more] -> failed(:no_observer, %{application: name, otp: System.otp_release()})
    end
  end

  @doc """
  Opens the window, and returns when it is closed, or when the connection is lost. Then Observer waits in a dialog, and
  its window ends with this BEAM.
  """
  @spec run(Connection.t()) :: :ok | {:error, Error.t()}
  def run(%{node: node, session: session} = connection) do
    reference = K8sConnect.subscribe(connection)
    monitor = Process.monitor(session)

    with :ok <- check_backend(node),
         :ok <- start(),
         window when is_pid(window) <- Process.whereis(:observer) || :closed,
         closed = Process.monitor(window),
         :ok <- choose(node) do
      Output.say("Observer of #{node}: close its window to end")
      await(closed, {reference, monitor}, node)
    else
      # The user was faster.
      :closed -> :ok
      {:error, error} -> {:error, error}
    end
  rescue
    # `subscribe/1`: the connection has ended already.
    error in Error -> {:error, error}
  end

  # Observer shows an empty window without them, and ends at some tabs. It loads them as well.
  defp check_backend(node) do
    loaded =
      for module <- @backend,
          do: :erpc.call(node, :code, :ensure_loaded, [module], @timeout) == {:module, module}

    if Enum.all?(loaded), do: :ok, else: failed(:no_runtime_tools, %{node: node})
  catch
    :error, {:erpc, reason} when reason != :timeout ->
      {:error, lost(node)}

    # The node may send any reason.
    _kind, reason ->
      problem = inspect(reason, limit: 5, printable_limit: 200, structs: false)
      failed(:not_observed, %{node: node, problem: problem})
  end

  # Since OTP 28 wx logs hundreds of remarks of GTK.
  @silent {&:logger_filters.domain/2, {:stop, :sub, [:wx]}}

  # wx answers a display that cannot be reached with an error, in some versions with an exit. It prints the cause.
  defp start do
    _added_before = :logger.add_primary_filter(__MODULE__, @silent)
    with {:error, _reason} <- apply(:observer, :start, []), do: no_window()
  catch
    _kind, _reason -> no_window()
  end

  defp no_window do
    display = System.get_env("WAYLAND_DISPLAY") || System.get_env("DISPLAY")
    failed(:no_window, %{problem: "wx could not use the display #{display}"})
  end

  # Since OTP 26.
  defp choose(node) do
    if function_exported?(:observer_wx, :set_node, 1),
      do: apply(:observer_wx, :set_node, [node]),
      else: click(node)
  catch
    :exit, _closed -> :closed
  end

  # Before, only the menu has the nodes, with those to which this one is hidden.
  defp click(node) do
    send(:observer, {:get_debug_info, self()})

    receive do
      {:observer_debug, environment, _notebook, _panel} ->
        apply(:wx, :set_env, [environment])
        bar = apply(:observer_wx, :get_menubar, [])
        item = apply(:wxMenuBar, :findMenuItem, [bar, ~c"Nodes", Atom.to_charlist(node)])
        send(:observer, {:wx, item, [], [], @clicked})
        :ok
    after
      5000 -> :ok
    end
  end

  defp await(closed, {reference, monitor} = events, node) do
    receive do
      {:DOWN, ^closed, :process, _pid, _reason} ->
        :ok

      {:k8s_connect, ^reference, {:down, error}} ->
        {:error, error || lost(node)}

      {:DOWN, ^monitor, :process, _session, _reason} ->
        ended(:init.get_status(), node)

      {:k8s_connect, ^reference, {:refused, kind, detail}} ->
        Output.say("#{Events.refusal(node, kind, detail)}. See --trust")
        await(closed, events, node)

      {:k8s_connect, ^reference, _event} ->
        await(closed, events, node)
    end
  end

  # The VM is stopping, and with it the connection. Its exit code is that of the stop.
  defp ended({:stopping, _progress}, _node), do: Process.sleep(:infinity)

  defp ended(_status, node), do: {:error, lost(node)}

  defp lost(node), do: Error.new(:connect, {:lost, %{node: node, reason: nil}})
  defp failed(kind, details), do: {:error, Error.new(:remote, {kind, details})}
end
