defmodule K8sConnect.Distribution do
  @moduledoc false
  # The local node. One that is alive is used as it is; otherwise one is started, hidden, not
  # listening, and without epmd, so that nobody can connect to this machine because of us.

  alias K8sConnect.Distribution.{Cookies, Name}

  @own {__MODULE__, :own_node}

  # What starting a node loads; OpenSSL alone takes longer than the rest of a connection.
  @modules [:crypto, :auth, :erl_epmd, :inet_tcp_dist, :inet_tcp, :local_tcp, :dist_util]

  @doc """
  Loads what `ensure/1` needs, while there is something else to wait for.
  """
  @spec preload() :: pid()
  def preload, do: spawn(fn -> Enum.each(@modules, &:code.ensure_loaded/1) end)

  @doc """
  Makes sure that a local node is alive that can talk to `node`.
  """
  @spec ensure(node()) :: :ok | {:error, {atom(), map()}}
  def ensure(node) do
    if Node.alive?(), do: :ok, else: start(node)
  end

  @doc """
  Whether the local node's name and that of `node` are both long or both short, as OTP's own
  distribution wants it.
  """
  @spec same_kind?(node()) :: boolean()
  def same_kind?(node) do
    [_name, host] = String.split(Atom.to_string(node), "@")
    :net_kernel.longnames() == String.contains?(host, ".")
  end

  @doc """
  Stops the node that `ensure/1` has started, unless it has other connections.
  """
  @spec stop() :: :ok
  def stop do
    # Not in the state of a process: the one that started it may have been killed.
    name = Node.self()

    if own?() and Node.list(:connected) == [] and :net_kernel.stop() == :ok,
      do: await(5_000, fn -> Node.self() != name end),
      else: :ok
  end

  @doc """
  Closes the connection to `node`.
  """
  @spec disconnect(node()) :: :ok
  def disconnect(node) do
    # With a net_kernel that is busy, the call takes as long as that is.
    if node in Node.list(:connected) and Node.disconnect(node) == true,
      do: await(1_000, fn -> node not in Node.list(:connected) end),
      else: :ok
  end

  # The VM changes both a moment after the call, and notifies nobody.
  defp await(0, _fun), do: :ok

  defp await(tries, fun) do
    if fun.() do
      :ok
    else
      Process.sleep(1)
      await(tries - 1, fun)
    end
  end

  @doc """
  Whether the local node is one that `ensure/1` has started.
  """
  @spec own?() :: boolean()
  def own?, do: Node.alive?() and :persistent_term.get(@own, nil) == Node.self()

  @doc """
  Sets the cookie for `node` and for no other node.
  """
  @spec set_cookie(node(), binary()) :: :ok
  def set_cookie(node, cookie), do: Cookies.put(node, to_atom(cookie))

  @doc """
  The nodes with a cookie of `set_cookie/2`.
  """
  @spec nodes() :: [node()]
  def nodes, do: Cookies.nodes()

  @doc """
  Gives `node` the cookie back that it had before `set_cookie/2`: its own, or that of every other node.
  """
  @spec restore_cookie(node()) :: :ok
  def restore_cookie(node), do: Cookies.restore(node)

  @doc """
  A name for the local node, of the kind that `node` has, long or short: with another kind, code in the pod that
  addresses this node later logs errors.
  """
  @spec name(node()) :: node()
  def name(node) do
    [_name, host] = String.split(Atom.to_string(node), "@")
    kind = if String.contains?(host, "."), do: "127.0.0.1", else: "localhost"
    :"#{Name.get()}@#{kind}"
  end

  defp start(node) do
    name = name(node)

    kind =
      if String.ends_with?(Atom.to_string(name), "localhost"), do: :shortnames, else: :longnames

    # Before it is alive: this process may be killed.
    :persistent_term.put(@own, name)

    case :net_kernel.start(name, %{name_domain: kind, dist_listen: false, hidden: true}) do
      {:ok, _pid} ->
        :ok

      {:error, reason} ->
        _ = :persistent_term.erase(@own)
        # Somebody else may have been faster.
        if Node.alive?(), do: :ok, else: refused(name, reason)
    end
  end

  defp refused(name, reason) do
    {:error, {:no_distribution, %{name: Atom.to_string(name), problem: inspect(reason)}}}
  end

  # As the pod's VM made it from its command line.
  defp to_atom(cookie) do
    if String.valid?(cookie),
      do: String.to_atom(cookie),
      else: :erlang.binary_to_atom(cookie, :latin1)
  end
end
