defmodule K8sConnect.Route.Kernel do
  @moduledoc false
  # Every program of this user can connect to the pod's address. The helper redirects these connections to two
  # listeners on the loopback address: one for the pod's epmd, one for the node. The listeners accept connections of
  # this user only. They set the hidden flag in the handshake for both sides, unless `visible` is true.
  #
  # This BEAM connects like every other program, with OTP's own distribution.

  @behaviour K8sConnect.Route.Behaviour

  alias K8sConnect.{Connection, Distribution, Error, Helper, Native}
  alias K8sConnect.Route.Kernel.{Hosts, IPv6}
  alias K8sConnect.Route.{NetKernel, PodAddress}

  # The listener is local and answers at once.
  @timeout 1_000

  @impl true
  def prepare(%{node: node} = connection, owner, native, options) do
    with :ok <- check_system(),
         {:ok, address} <- PodAddress.parse(connection),
         :ok <- check_kind(node),
         {:ok, named} <- PodAddress.check_host(node, address, :kernel),
         {:ok, %{listener: listener, redirects: redirects}} <-
           Native.call(:listen, [native, owner, options.guard, options.visible, nil]) do
      # Another session may still hold a claim for a node of this name.
      key = {node, owner}

      prepared = %{
        listener: listener,
        key: key,
        address: address,
        named: named,
        cookie: options.cookie
      }

      with :ok <- Helper.claim(key, owner, redirects, options.sudo),
           :ok <- check_open(redirects) do
        {:ok, prepared}
      else
        {:error, error} ->
          release(prepared)
          {:error, error}
      end
    end
  end

  @doc """
  What other programs of this user need to connect to the node; `nil` if they need nothing.
  """
  @spec note(Connection.t()) :: String.t() | nil
  def note(%{node: node} = connection) do
    with {:ok, address} <- PodAddress.parse(connection),
         {:ok, true} <- PodAddress.check_host(node, address, :kernel) do
      "#{host(node)} resolves in this BEAM; another one has to evaluate: #{Hosts.recipe(host(node), address)}" <>
        if(ipv6?(address), do: ", and needs #{IPv6.flag()}", else: "")
    else
      {:ok, false} -> if node |> host() |> ipv6?(), do: "another BEAM needs #{IPv6.flag()}"
      _no_address -> nil
    end
  end

  @impl true
  def attach(node, prepared) do
    with :ok <- check_family(node, prepared.address) do
      if prepared.named, do: Hosts.put(node, host(node), prepared.address)

      # From now on the name leads to the listener. An attempt from before may have reached a machine of the pod's choice.
      if Distribution.end_attempt(node) do
        # That of the node, because the listener can be that of another BEAM of this user.
        Distribution.set_cookie(node, prepared.cookie.())
        {:ok, prepared}
      else
        failed(:node_taken, %{node: node})
      end
    end
  end

  @impl true
  def detach(node, prepared) do
    Hosts.remove(node)
    release(prepared)
  end

  # In this order, because connections to the pod's address are refused while a redirect has no listener.
  defp release(%{key: key, listener: listener}) do
    Helper.release(key)
    Native.unlisten(listener)
  end

  @impl true
  def leave do
    _ = NetKernel.remove(IPv6)
    Hosts.clear()
  end

  @impl true
  def connect(node, %{visible: true}), do: Node.connect(node)
  def connect(node, %{visible: false}), do: :net_kernel.hidden_connect_node(node)

  # A VM uses one address family for its distribution, and chooses it when it starts.
  defp check_family(node, address) do
    if ipv6?(address) and not NetKernel.installed?(:inet6_tcp_dist) do
      with {:error, _reason} <- NetKernel.install(IPv6, :last),
           do: failed(:address_family, %{node: node})
    else
      :ok
    end
  end

  defp ipv6?(address) when is_tuple(address), do: tuple_size(address) == 8
  defp ipv6?(host), do: String.contains?(host, ":")

  defp check_system do
    if Native.linux?(), do: :ok, else: failed(:linux_only, %{})
  end

  # OTP's distribution makes the same check when it connects, but only logs the failure.
  defp check_kind(node) do
    # If distribution is not started, it will be started with a name of the same kind.
    if Node.alive?() and not Distribution.same_kind?(node),
      do: failed(:name_kind, %{node: node, me: Node.self()}),
      else: :ok
  end

  # The helper's programs do not redirect this BEAM if it is in another cgroup or has a capability. An epmd request
  # to the pod's address shows whether they do.
  defp check_open([{epmd, _via} | _node]) do
    {ip, port} = split(epmd)
    family = if tuple_size(ip) == 4, do: :inet, else: :inet6
    options = [family, :binary, active: false]

    with {:ok, socket} <- :gen_tcp.connect(ip, port, options, @timeout),
         :ok <- :gen_tcp.send(socket, <<1::16, ?n>>),
         {:ok, <<^port::32, _names::binary>>} <- :gen_tcp.recv(socket, 0, @timeout) do
      :gen_tcp.close(socket)
    else
      {:ok, _another_answer} ->
        failed(:blocked, %{address: epmd, problem: "another program answers"})

      {:error, reason} ->
        failed(:blocked, %{address: epmd, problem: problem(reason)})
    end
  end

  defp split(address) do
    [port | host] = address |> String.split(":") |> Enum.reverse()

    host =
      host
      |> Enum.reverse()
      |> Enum.join(":")
      |> String.trim_leading("[")
      |> String.trim_trailing("]")

    {:ok, ip} = :inet.parse_strict_address(to_charlist(host))
    {ip, String.to_integer(port)}
  end

  defp problem(:timeout), do: "timed out"
  defp problem(reason), do: to_string(:inet.format_error(reason))

  defp host(node) do
    [_name, host] = String.split(Atom.to_string(node), "@")
    host
  end

  defp failed(kind, details), do: {:error, Error.new(:route, {kind, details})}
end
