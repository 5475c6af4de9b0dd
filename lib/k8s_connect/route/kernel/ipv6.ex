defmodule K8sConnect.Route.Kernel.IPv6 do
  @moduledoc false
  # The distribution module for nodes in pods that have only an IPv6 address, in a VM whose distribution uses IPv4.
  # It is OTP's own. `net_kernel` asks it last, so it gets only the nodes that no other module can connect to.

  @doc """
  The flag with which a VM uses IPv6 for its distribution.
  """
  @spec flag() :: String.t()
  def flag, do: ~s(--erl "-proto_dist inet6_tcp")

  def select(node), do: :inet6_tcp_dist.select(node)
  def address, do: :inet6_tcp_dist.address()
  def childspecs, do: {:ok, []}
  def is_node_name(node), do: :inet6_tcp_dist.is_node_name(node)
  def close(socket), do: :inet6_tcp_dist.close(socket)

  def setup(node, type, me, long_or_short, setup_time),
    do: :inet6_tcp_dist.setup(node, type, me, long_or_short, setup_time)

  # This module only makes outgoing connections.
  def listen(_name), do: {:error, :eafnosupport}
  def listen(_name, _host), do: {:error, :eafnosupport}
  def accept(_listen), do: exit(:not_supported)
  def accept_connection(_acceptor, _socket, _me, _allowed, _time), do: exit(:not_supported)

  # `:net_kernel.setopts/2` with `:new` calls each module with its listener.
  def setopts(:undefined, _options), do: :ok
  def setopts(socket, options), do: :inet6_tcp_dist.setopts(socket, options)
  def getopts(:undefined, _options), do: {:ok, []}
  def getopts(socket, options), do: :inet6_tcp_dist.getopts(socket, options)
end
