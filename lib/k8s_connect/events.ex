defmodule K8sConnect.Events do
  @moduledoc false
  # Tells others about a connection: by messages to subscribers, in the log, and by telemetry if the application has
  # `:telemetry`, which is no dependency of ours.
  #
  # The log has one line for a loss and one for the return, however many attempts are between them.

  alias K8sConnect.{Connection, Error}

  @typedoc "The subscribers, and whether to log."
  @type audience :: {%{reference() => pid()}, log :: boolean()}

  @doc """
  The node is connected. `previous` is the connection that was lost, or nil the first time.
  """
  @spec up(audience(), Connection.t(), Connection.t() | nil) :: :ok
  def up(audience, connection, previous) do
    telemetry(:up, %{connection: connection, previous: previous, target: connection.target})

    if previous do
      text = "connected to #{connection.node} again#{was(previous, connection)}"
      log(audience, :info, text, connection)
    end

    # After the log, so that a subscriber can look at it.
    publish(audience, {:up, connection})
  end

  @doc """
  The connection is lost, or a first attempt has failed and is repeated.
  """
  @spec lost(audience(), Connection.t() | nil, Error.t(), String.t()) :: :ok
  def lost(audience, connection, error, target) do
    telemetry(:reconnecting, %{connection: connection, error: error, target: target})

    text =
      if connection,
        do: "lost #{connection.node}: #{cause(error)}; reconnecting",
        else: "could not connect to #{target} yet: #{Error.summary(error)}"

    log(audience, :warning, text, connection)
  end

  @doc """
  The pod tried something for the first time that it may not do here.
  """
  @spec refused(audience(), Connection.t() | nil, atom(), String.t(), String.t()) :: :ok
  def refused(audience, connection, kind, detail, target) do
    telemetry(:refused, %{connection: connection, kind: kind, detail: detail, target: target})
    who = if connection, do: connection.node, else: target
    text = "#{refusal(who, kind, detail)}. #{remedy(kind)}"
    log(audience, :warning, text, connection)
    publish(audience, {:refused, kind, detail})
  end

  @doc """
  What was refused, in a few words.
  """
  @spec refusal(node() | String.t(), atom(), String.t()) :: String.t()
  def refusal(who, :read_only, detail), do: "read-only: #{detail} was not sent to #{who}"
  def refusal(who, kind, detail), do: "refused: #{who} tried to #{attempt(kind, detail)}"

  defp remedy(:read_only), do: "The configuration :read_only_calls can allow more functions"
  defp remedy(_kind), do: "The option :trust would allow it"

  defp attempt(:spawn, function), do: "start a process here (#{function})"
  defp attempt(:send, to), do: "send to a process here whose pid it was not given (#{to})"
  defp attempt(:name, "logger" <> _ = name), do: "log here (#{name})"
  defp attempt(:name, name), do: "send to #{name} here"
  defp attempt(:message, tag), do: "give a command to a process here ({#{tag}, ...})"
  defp attempt(:group_leader, ""), do: "send a message to a group leader here"
  defp attempt(:group_leader, tag), do: "send a message to a group leader here (#{tag})"
  defp attempt(:io_request, request), do: "have a group leader here run #{request}"
  defp attempt(:monitor, what), do: "monitor a process here (#{what})"
  defp attempt(:link, _detail), do: "link itself to a process here"
  defp attempt(:exit, _detail), do: "end a process here"
  defp attempt(:set_group_leader, _detail), do: "change the group leader of a process here"
  defp attempt(:other, detail), do: "send what only a trusted node may send (#{detail})"

  @doc """
  Attempt number `attempt` begins in `delay` milliseconds.
  """
  @spec reconnecting(audience(), Error.t(), pos_integer(), non_neg_integer()) :: :ok
  def reconnecting(audience, error, attempt, delay),
    do: publish(audience, {:reconnecting, error, attempt, delay})

  @doc """
  The connection has ended. `error` is nil if the user or the owner ended it.
  """
  @spec down(audience(), Connection.t() | nil, Error.t() | nil, String.t()) :: :ok
  def down(audience, connection, error, target) do
    telemetry(:down, %{connection: connection, error: error, target: target})

    if error do
      what = if connection, do: "lost #{connection.node}", else: "could not connect to #{target}"
      log(audience, :error, "#{what}: #{Error.message(error)}", connection)
    end

    publish(audience, {:down, error})
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

  defp publish({subscribers, _log}, event) do
    for {reference, pid} <- subscribers, do: send(pid, {:k8s_connect, reference, event})
    :ok
  end

  # A pod that replaces another usually has another name for its node.
  defp was(%{node: node}, %{node: node}), do: ""
  defp was(%{node: node}, _connection), do: " (it was #{node})"

  defp telemetry(event, metadata) do
    # A handler has loaded the module. Without one, loading would search the whole code path each time.
    if function_exported?(:telemetry, :execute, 3) do
      measurements = %{system_time: System.system_time()}
      apply(:telemetry, :execute, [[:k8s_connect, :connection, event], measurements, metadata])
    end

    :ok
  end

  defp log({_subscribers, false}, _level, _text, _connection), do: :ok

  # The reason of a close comes from the API server, and a log is often read on a terminal.
  defp log({_subscribers, true}, level, text, connection) do
    place = Map.take(connection || %{}, [:node, :pod, :namespace, :context, :route])
    metadata = Map.put(place, :domain, [:k8s_connect])
    :logger.log(level, "k8s_connect: ~ts", [Error.printable(text)], metadata)
  end
end
