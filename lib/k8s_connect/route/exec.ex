defmodule K8sConnect.Route.Exec do
  @moduledoc false
  # A node's address leads to its pod for one command and what it starts, see `K8sConnect.Command`: the
  # command's connections to the pod's address are made to two listeners of ours on the loopback, the
  # same as the kernel route has. No privilege, and nothing is installed.
  #
  # This BEAM itself does not connect to the node, so it need not be one, and has no cookie.

  @behaviour K8sConnect.Route.Behaviour

  alias K8sConnect.{Connection, Error, Native}
  alias K8sConnect.Route.Kernel.Hosts

  @impl true
  def prepare(connection, owner, session, %{visible: visible}) do
    with :ok <- check_system(),
         {:ok, _address} <- address(connection),
         do: Native.call(:listen, [session, owner, visible])
  end

  @doc """
  What the command has to know to find a node by its name; `nil` where that is nothing.
  """
  @spec note(Connection.t()) :: String.t() | nil
  def note(%{node: node} = connection) do
    [_name, host] = String.split(Atom.to_string(node), "@")

    with {:error, _a_name} <- :inet.parse_strict_address(to_charlist(host)),
         {:ok, address} <- address(connection) do
      "#{host} is known in the cluster only; the command needs: #{Hosts.recipe(host, address)}"
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
    if :os.type() == {:unix, :linux},
      do: :ok,
      else: {:error, Error.new(:exec, {:linux_only, %{}})}
  end

  defp address(%{ip: ip, pod: pod, namespace: namespace}) do
    with {:error, _reason} <- :inet.parse_strict_address(to_charlist(ip || "")) do
      {:error, Error.new(:endpoint, {:no_pod_address, %{pod: pod, namespace: namespace}})}
    end
  end
end
