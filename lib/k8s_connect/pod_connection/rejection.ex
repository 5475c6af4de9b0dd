defmodule K8sConnect.PodConnection.Rejection do
  @moduledoc false
  # Why a node that discovery has reached accepts no connection.

  alias K8sConnect.{Connection, Error, Native}
  alias K8sConnect.Distribution.Flags

  @doc """
  The reason, in another handshake. If the node closes the connection without one, the cause is the cookie.
  """
  @spec error(Connection.t(), reference()) :: Error.t()
  def error(connection, native) do
    case Native.call(:rejection, [native, Atom.to_string(Node.self())]) do
      {:error, %Error{stage: :node, reason: {kind, _details}} = error}
      when kind in [:port_forward_closed, :rejected] ->
        error

      {:ok, flags} when is_integer(flags) ->
        mismatch(Flags.missing(flags), connection)

      _no_reason ->
        mismatch([], connection)
    end
  end

  defp mismatch([], connection) do
    details = %{node: connection.node, source: connection.cookie_source}
    Error.new(:connect, {:refused, details})
  end

  defp mismatch(flags, connection) do
    otp = List.to_string(:erlang.system_info(:otp_release))
    details = %{node: connection.node, pod: connection.pod, flags: flags, otp: otp}
    Error.new(:connect, {:missing_flags, details})
  end
end
