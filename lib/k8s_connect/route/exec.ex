defmodule K8sConnect.Route.Exec do
  @moduledoc false
  # One command and its child processes can connect to the node, see `K8sConnect.Command`. Their connections to the
  # pod's address are redirected to two listeners on the loopback address, the same as on the kernel route. This needs
  # no privilege and no installation.
  #
  # This BEAM does not connect to the node, so it needs no node name and no cookie.

  @behaviour K8sConnect.Route.Behaviour

  alias K8sConnect.{Connection, Error, Native}
  alias K8sConnect.Route.Kernel.Hosts
  alias K8sConnect.Route.PodAddress

  @impl true
  def prepare(connection, owner, native, %{visible: visible, guard: guard}) do
    with :ok <- check_system(),
         {:ok, address} <- PodAddress.parse(connection),
         {:ok, _named} <- PodAddress.check_host(connection.node, address, :exec),
         do: Native.call(:listen, [native, owner, guard, visible, nil])
  end

  @doc """
  How the command resolves the node's host; `nil` if the host is an IP address.
  """
  @spec note(Connection.t()) :: String.t() | nil
  def note(%{node: node} = connection) do
    [_name, host] = String.split(Atom.to_string(node), "@")

    with {:error, _a_name} <- :inet.parse_strict_address(to_charlist(host)),
         {:ok, address} <- PodAddress.parse(connection) do
      "#{host} resolves only in the cluster; the command has to evaluate: #{Hosts.recipe(host, address)}"
    else
      _an_address -> nil
    end
  end

  @impl true
  def attach(_node, prepared), do: {:ok, prepared}

  @impl true
  def detach(_node, %{listener: listener}), do: Native.unlisten(listener)

  @impl true
  def leave, do: :ok

  @impl true
  def connect(_node, _options), do: true

  defp check_system do
    if Native.linux?(),
      do: :ok,
      else: {:error, Error.new(:exec, {:linux_only, %{}})}
  end
end
