defmodule K8sConnect.Session.Status do
  @moduledoc false
  # A session, as `K8sConnect.status/1` returns it, and its last event for a new subscriber.

  alias K8sConnect.{Native, Session}

  @doc "The status of a session in this state."
  @spec of(atom(), Session.data()) :: map()
  def of(state, data) do
    %{
      state: state,
      target: target(data),
      connection: data.connection,
      since: DateTime.from_unix!(data.since, :microsecond),
      attempts: data.reconnect.attempts,
      reconnects: data.reconnects,
      error: data.error,
      trust: data.options.trust,
      read_only: data.options.read_only,
      audit: with({file, _arguments} <- data.options.audit, do: file),
      refused: if(data.guard, do: Map.new(Native.guard_counts(data.guard)), else: %{})
    }
  end

  @doc "The event that led to this state, if subscribers got one."
  @spec event(atom(), Session.data()) :: tuple() | nil
  def event(:up, data), do: {:up, data.connection}

  def event(:reconnecting, %{announced: true} = data),
    do: {:reconnecting, data.error, data.reconnect.attempts + 1, 0}

  def event(_state, _data), do: nil

  @doc "The target or the labels that the user gave."
  @spec target(Session.data()) :: term()
  def target(%{options: %{target: target}}), do: target.target || target.labels
end
