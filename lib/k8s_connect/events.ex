defmodule K8sConnect.Events do
  @moduledoc false
  # What others get to know of a connection: messages to subscribers, the log, and telemetry where the
  # application has `:telemetry` (no dependency of ours).
  #
  # The log has one line for a loss and one for the return, however many attempts are between them.

  alias K8sConnect.{Connection, Error}

  @typep subscribers :: %{reference() => pid()}

  @doc """
  The node is connected; `previous` is the connection that was lost, or nil the first time.
  """
  @spec up(subscribers(), Connection.t(), Connection.t() | nil) :: :ok
  def up(subscribers, connection, previous) do
    telemetry(:up, %{
      connection: connection,
      previous: previous,
      target: connection.target
    })

    if previous,
      do:
        log(
          :info,
          "connected to ~ts again~ts",
          [connection.node, was(previous, connection)],
          connection
        )

    publish(subscribers, {:up, connection})
  end

  @doc """
  The connection was lost, or a first attempt has failed and is repeated.
  """
  @spec lost(Connection.t() | nil, Error.t(), String.t()) :: :ok
  def lost(nil, error, target) do
    telemetry(:reconnecting, %{connection: nil, error: error, target: target})
    log(:warning, "could not connect to ~ts yet: ~ts", [target, Error.summary(error)], nil)
  end

  def lost(connection, error, target) do
    telemetry(:reconnecting, %{connection: connection, error: error, target: target})
    log(:warning, "lost ~ts: ~ts; reconnecting", [connection.node, cause(error)], connection)
  end

  @doc """
  Attempt number `attempt` begins in `delay` milliseconds.
  """
  @spec reconnecting(subscribers(), Error.t(), pos_integer(), non_neg_integer()) :: :ok
  def reconnecting(subscribers, error, attempt, delay),
    do: publish(subscribers, {:reconnecting, error, attempt, delay})

  @doc """
  The connection has ended; without an error that is what was asked for.
  """
  @spec down(subscribers(), Connection.t() | nil, Error.t() | nil, String.t()) :: :ok
  def down(subscribers, connection, error, target) do
    publish(subscribers, {:down, error})
    telemetry(:down, %{connection: connection, error: error, target: target})

    if error,
      do:
        log(
          :error,
          ended(connection),
          [target(connection, target), Error.message(error)],
          connection
        )

    :ok
  end

  @doc """
  Why a connection was lost, in a few words.
  """
  @spec cause(Error.t()) :: String.t()
  def cause(%Error{reason: {:replaced, _details}}), do: "pod replaced"
  def cause(%Error{reason: {:not_running, %{phase: "Deleted"}}}), do: "pod deleted"
  def cause(%Error{reason: {:not_running, %{phase: "Terminating"}}}), do: "pod is being deleted"
  def cause(%Error{reason: {:port_forward_closed, %{reason: reason}}}), do: reason

  def cause(%Error{reason: {:lost, %{reason: :connection_closed}}}),
    do: "node closed the connection"

  def cause(%Error{reason: {:lost, %{reason: :net_tick_timeout}}}), do: "net tick timeout"
  def cause(%Error{reason: {:lost, %{reason: :net_kernel_terminated}}}), do: "net_kernel stopped"
  def cause(%Error{reason: {:unreachable, _details}}), do: "API server unreachable"
  def cause(%Error{} = error), do: Error.summary(error)

  defp publish(subscribers, event) do
    for {reference, pid} <- subscribers, do: send(pid, {:k8s_connect, reference, event})
    :ok
  end

  defp ended(nil), do: "could not connect to ~ts: ~ts"
  defp ended(_connection), do: "lost ~ts: ~ts"

  defp target(nil, target), do: target
  defp target(%{node: node}, _target), do: node

  # A pod that replaces another usually has another name for its node.
  defp was(%{node: node}, %{node: node}), do: ""
  defp was(%{node: node}, _connection), do: " (it was #{node})"

  defp telemetry(event, metadata) do
    if Code.ensure_loaded?(:telemetry) do
      measurements = %{system_time: System.system_time()}
      apply(:telemetry, :execute, [[:k8s_connect, :connection, event], measurements, metadata])
    end

    :ok
  end

  defp log(level, format, arguments, connection) do
    if Application.get_env(:k8s_connect, :log, true) do
      metadata = metadata(connection)
      :logger.log(level, "k8s_connect: " <> format, arguments, metadata)
    end

    :ok
  end

  defp metadata(nil), do: %{domain: [:k8s_connect]}

  defp metadata(connection) do
    connection
    |> Map.take([:node, :pod, :namespace, :context, :route])
    |> Map.put(:domain, [:k8s_connect])
  end
end
