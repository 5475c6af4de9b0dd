defmodule K8sConnect.Route.VM do
  @moduledoc false
  # Only this BEAM can connect to the node. A distribution module (`VM.Dist`), placed before the default module in
  # `net_kernel`, connects to attached nodes through their port-forward connections. This needs no privilege, no VM
  # flag and no open port, and does not affect other nodes. If the state of `net_kernel` has an unknown shape, it is
  # not changed, and the documented `epmd_module` is used instead, if this OTP reads it at run time.
  #
  # A detached node stays marked as disconnected while other nodes are attached, so a late message to it fails at
  # once instead of connecting to the pod's address, which is unreachable.

  @behaviour K8sConnect.Route.Behaviour

  alias K8sConnect.{Distribution, Error, Native}
  alias K8sConnect.Route.NetKernel
  alias K8sConnect.Route.VM.{Dist, Epmd, Folders, Table}

  @doc """
  Creates the table of attached nodes. The calling process owns it.
  """
  @spec new() :: :ok
  def new do
    # In the background: others can have many files there. The second is that of `SHORT_DIRECTORY` in `one_shot.rs`.
    spawn(fn -> for parent <- [Folders.parent(), "/tmp"], do: Folders.remove_stale(parent) end)
    Table.new()
  end

  # Creates the socket here, because `net_kernel` would not report why it failed. It accepts one connection.
  @impl true
  def prepare(%{node: node}, owner, native, %{visible: false, guard: guard, cookie: cookie}) do
    # It is not the cookie of the node: see `native/core/src/endpoint/handshake/cookies.rs`.
    local = Native.local_cookie(Atom.to_string(node))
    cookies = fn -> {cookie.(), local} end
    arguments = [native, Folders.parent(), Native.linux?(), guard, cookies.()]

    with {:ok, path} <- Native.call(:dial, arguments) do
      prepared = %{owner: owner, native: native, path: path, guard: guard, cookies: cookies}
      {:ok, Map.put(prepared, :listener, nil)}
    end
  end

  def prepare(_connection, _owner, _native, %{visible: true}) do
    {:error, Error.new(:route, {:always_hidden, %{}})}
  end

  @impl true
  def attach(node, prepared) do
    case NetKernel.install(Dist, :first) do
      :ok ->
        with :ok <- claim(node, prepared) do
          Table.put(node, prepared.path)
          {:ok, prepared}
        end

      {:error, {:unknown_net_kernel, _details} = reason} ->
        if Distribution.same_kind?(node) and Epmd.install(),
          do: listen(node, prepared),
          else: {:error, Error.new(:route, reason)}

      {:error, reason} ->
        {:error, Error.new(:route, reason)}
    end
  end

  # `:inet_tcp_dist` connects, and the listener sets the hidden flag.
  defp listen(node, %{owner: owner, native: native, guard: guard, cookies: cookies} = prepared) do
    with :ok <- claim(node, prepared),
         {:ok, %{listener: listener, redirects: [_epmd, {_address, port}]}} <-
           Native.call(:listen, [native, owner, guard, false, cookies.()]) do
      Table.put(node, port)
      {:ok, %{prepared | listener: listener}}
    end
  end

  # Before the node is attached, because then any process can connect to it. With a wrong cookie that would use up its
  # stream. An attempt from before may have reached another machine, and a connection from before does not go through the
  # guard.
  defp claim(node, %{cookies: cookies}) do
    Table.mark_disconnected(node)
    {_node, local} = cookies.()
    Distribution.set_cookie(node, local)

    if Distribution.end_attempt(node),
      do: :ok,
      else: {:error, Error.new(:route, {:node_taken, %{node: node}})}
  end

  @impl true
  def detach(node, %{listener: listener}) do
    Table.mark_disconnected(node)
    if listener, do: Native.unlisten(listener)
  end

  @impl true
  def leave do
    _ = NetKernel.remove(Dist)
    _ = Epmd.remove()
    Table.clear()
  end

  # The connection is hidden, even if the local node is visible. The first call can join an attempt that another process
  # has made before the node was attached, and that fails.
  @impl true
  def connect(node, _options), do: Node.connect(node) == true or Node.connect(node)
end
