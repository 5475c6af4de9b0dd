defmodule K8sConnect.Route.VM.Dist do
  @moduledoc false
  # The distribution module for attached nodes, see
  # https://www.erlang.org/doc/apps/erts/alt_dist.html#distribution-module. It connects to an AF_UNIX socket, which is
  # forwarded to the node by a stream of the port-forward connection. OTP's socket driver owns the descriptor and does
  # the I/O, and OTP's functions do everything else but connect.
  #
  # The connection is always hidden. With a visible node, `:global` in the pods would try to connect all pods to this
  # node, and disconnect them from each other when that fails.

  require Record

  alias K8sConnect.Route.VM.Table

  hrl = &"kernel/include/#{&1}.hrl"
  Record.defrecordp(:hs_data, Record.extract(:hs_data, from_lib: hrl.("dist_util")))
  Record.defrecordp(:net_address, Record.extract(:net_address, from_lib: hrl.("net_address")))

  # Distribution protocol version of OTP 23 and later.
  @version 6

  # The size of the send buffer in bytes: the most that Linux allows unless it is configured otherwise. Data to the pod
  # wakes the schedulers a third less often.
  @options [active: false, packet: 2, sndbuf: 208 * 1024]

  # net_kernel calls it (OTP 25 to 27), or a process of its own (OTP 29).
  def select(node), do: Table.claims?(node)

  def address do
    {:ok, host} = :inet.gethostname()
    net_address(host: host, protocol: :tcp, family: :inet)
  end

  def childspecs, do: {:ok, []}
  def is_node_name(node), do: :inet_tcp_dist.is_node_name(node)
  def close(socket), do: :inet.close(socket)

  # This module only makes outgoing connections.
  def listen(_name), do: {:error, :eafnosupport}
  def listen(_name, _host), do: {:error, :eafnosupport}
  def accept(_listen), do: exit(:not_supported)
  def accept_connection(_acceptor, _socket, _me, _allowed, _time), do: exit(:not_supported)

  # `:net_kernel.setopts/2` with `:new` calls each module with its listener.
  def setopts(:undefined, _options), do: :ok
  def setopts(socket, options), do: :inet_tcp_dist.setopts(socket, options)
  def getopts(:undefined, _options), do: {:ok, []}
  def getopts(socket, options), do: :inet_tcp_dist.getopts(socket, options)

  # Does not check whether both names are long or both are short. `:inet_tcp_dist.setup/5` does, but the protocol does
  # not require it.
  def setup(node, _type, me, _long_or_short, setup_time) do
    kernel = self()

    options = :dist_util.net_ticker_spawn_options()
    :erlang.spawn_opt(fn -> connect(kernel, node, me, setup_time) end, options)
  end

  defp connect(kernel, node, me, setup_time) do
    timer = :dist_util.start_timer(setup_time)

    with {:ok, address} <- Table.address(node),
         # Not `:gen_tcp`, which does not return a port with `-kernel inet_backend socket`.
         {:ok, socket} <- :local_tcp.connect(address, 0, @options, 5000) do
      :dist_util.reset_timer(timer)
      :dist_util.handshake_we_started(handshake(kernel, node, me, timer, socket))
    else
      {:error, reason} -> :dist_util.shutdown(__MODULE__, 0, node, {:dial, reason})
    end
  end

  defp handshake(kernel, node, me, timer, socket) do
    [_name, host] = String.split(Atom.to_string(node), "@")

    address =
      net_address(
        address: {{127, 0, 0, 1}, 0},
        host: to_charlist(host),
        protocol: :tcp,
        family: :inet
      )

    hs_data(
      kernel_pid: kernel,
      other_node: node,
      this_node: me,
      socket: socket,
      timer: timer,
      this_flags: 0,
      other_version: @version,
      request_type: :hidden,
      f_send: &:inet_tcp.send/2,
      f_recv: &:inet_tcp.recv/3,
      f_setopts_pre_nodeup: &:inet.setopts(&1, active: false, packet: 4),
      f_setopts_post_nodeup:
        &:inet.setopts(&1, [:binary, active: true, packet: 4, deliver: :port]),
      f_getll: &:inet.getll/1,
      f_address: fn _socket, _node -> address end,
      mf_tick: &__MODULE__.tick/1,
      mf_getstat: &:inet_tcp_dist.getstat/1,
      mf_setopts: &:inet_tcp_dist.setopts/2,
      mf_getopts: &:inet_tcp_dist.getopts/2
    )
  end

  @doc false
  def tick(socket), do: :inet_tcp_dist.tick(:inet_tcp, socket)
end
