defmodule K8sConnect.Route.VM do
  @moduledoc false
  # A node's address leads to its pod from inside of this BEAM: a distribution module in front of the
  # ordinary one in `net_kernel` takes connections to attached nodes from their link. No privilege,
  # no VM flag, no open port; every other node connects as ever. A `net_kernel` that is not known is
  # left alone, and the documented way is taken where that can be done in a running VM.
  #
  # A node that has left has a tombstone for as long as others are attached: a stray message to it
  # then fails at once instead of dialling an address that leads nowhere.

  @behaviour K8sConnect.Route.Behaviour

  alias K8sConnect.{Distribution, Error, Native}
  alias K8sConnect.Route.VM.{Carrier, Epmd, NetKernel, Table}

  @doc """
  Makes the table that `net_kernel` looks into; it lives as long as the caller.
  """
  @spec new() :: :ok
  def new, do: Table.new()

  # The socket takes one connection, and is made before, so that its failure has a reason.
  @impl true
  def prepare(_connection, owner, session, %{visible: false}) do
    with {:ok, path} <- Native.call(:dial, [session, socket_directory()]),
         do: {:ok, %{owner: owner, session: session, path: path, listener: nil}}
  end

  def prepare(_connection, _owner, _session, %{visible: true}) do
    {:error, Error.new(:route, {:always_hidden, %{}})}
  end

  @impl true
  def attach(node, prepared) do
    case NetKernel.install(Carrier) do
      :ok ->
        Table.put(node, prepared.path)
        {:ok, prepared}

      {:error, {:unknown_net_kernel, _details} = reason} ->
        if Distribution.same_kind?(node) and Epmd.install(),
          do: listen(node, prepared),
          else: {:error, Error.new(:route, reason)}

      {:error, reason} ->
        {:error, Error.new(:route, reason)}
    end
  end

  # The connection comes from `:inet_tcp_dist`; the listener makes it a hidden one.
  defp listen(node, %{owner: owner, session: session} = prepared) do
    with {:ok, %{listener: listener, redirects: [_epmd, {_address, port}]}} <-
           Native.call(:listen, [session, owner, false]) do
      Table.put(node, port)
      {:ok, %{prepared | listener: listener}}
    end
  end

  @impl true
  def detach(node, %{listener: listener}) do
    Table.bury(node)
    if listener, do: Native.unlisten(listener)
  end

  @impl true
  def leave do
    _ = NetKernel.remove(Carrier)
    _ = Epmd.remove()
    Table.clear()
  end

  # What the local node is does not matter: the connections are hidden.
  @impl true
  def connect(node, _options), do: Node.connect(node)

  # The runtime directory is the user's own, where it is there and usable.
  defp socket_directory do
    with directory when is_binary(directory) <- System.get_env("XDG_RUNTIME_DIR"),
         {:ok, %File.Stat{type: :directory, access: :read_write}} <- File.stat(directory) do
      directory
    else
      _not_usable -> System.tmp_dir!()
    end
  end
end
