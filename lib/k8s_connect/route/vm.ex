defmodule K8sConnect.Route.VM do
  @moduledoc false
  # A node's address leads to its pod from inside of this BEAM: a distribution module in front of the
  # ordinary one in `net_kernel` takes connections to attached nodes from their link. No privilege,
  # no VM flag, no open port; every other node connects as ever.
  #
  # A node that has left has a tombstone for as long as others are attached: a stray message to it
  # then fails at once instead of dialling an address that leads nowhere.

  @behaviour K8sConnect.Route.Behaviour

  alias K8sConnect.{Error, Native}
  alias K8sConnect.Route.VM.{Carrier, NetKernel, Table}

  @doc """
  Makes the table that `net_kernel` looks into; it lives as long as the caller.
  """
  @spec new() :: :ok
  def new, do: Table.new()

  # The socket takes one connection, and is made before, so that its failure has a reason.
  @impl true
  def prepare(_connection, session, %{visible: false}) do
    Native.call(:dial, [session, socket_directory()])
  end

  def prepare(_connection, _session, %{visible: true}) do
    {:error, Error.new(:route, {:always_hidden, %{}})}
  end

  @impl true
  def attach(node, path) do
    with :ok <- NetKernel.install(Carrier) do
      Table.put(node, path)
      {:ok, path}
    else
      {:error, reason} -> {:error, Error.new(:route, reason)}
    end
  end

  @impl true
  def detach(node, _path), do: Table.bury(node)

  @impl true
  def leave do
    _ = NetKernel.remove(Carrier)
    Table.clear()
  end

  # What the local node is does not matter: the carrier's connections are hidden.
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
