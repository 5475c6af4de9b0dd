defmodule K8sConnect.Reconnect do
  @moduledoc false
  # When to reconnect, and when to give up. A session has one such state for its connection, a group for its watch.

  alias K8sConnect.Error

  # Milliseconds
  @first 100
  @cap 5_000
  # The time per session, when many sessions of one API server reconnect at once.
  @slot 50
  # A connection that is lost sooner counts as a failed attempt.
  @stable_after 10_000

  # attempts: since the loss; quick_losses: in a row; final_since: when a final error was first seen
  defstruct policy: true,
            attempts: 0,
            quick_losses: 0,
            lost_at: nil,
            up_at: nil,
            final_since: nil

  @type policy ::
          true | false | [max_attempts: pos_integer(), deadline: pos_integer()]
  @type t :: %__MODULE__{}

  @doc """
  Counts an attempt that begins now.
  """
  @spec attempt(t()) :: t()
  def attempt(%__MODULE__{} = state), do: %{state | attempts: state.attempts + 1}

  @doc """
  The connection is up.
  """
  @spec up(t(), integer()) :: t()
  def up(%__MODULE__{} = state, now \\ now()),
    do: %{state | attempts: 0, lost_at: nil, up_at: now}

  @doc """
  The connection is lost.
  """
  @spec lost(t(), integer()) :: t()
  def lost(%__MODULE__{} = state, now \\ now()) do
    quick_losses = quick_losses(state.quick_losses, now - (state.up_at || now))
    final_since = if quick_losses > 0, do: state.final_since
    %{state | attempts: 0, lost_at: now, quick_losses: quick_losses, final_since: final_since}
  end

  @doc """
  How many connections in a row were lost soon after they were up, if the last one was up for `up_for`
  milliseconds. Two nodes with the same name close each other's connection to a pod, and must not do so without a pause.
  """
  @spec quick_losses(non_neg_integer(), non_neg_integer()) :: non_neg_integer()
  def quick_losses(before, up_for) when is_integer(before) do
    if up_for < Application.get_env(:k8s_connect, :stable_after, @stable_after),
      do: before + 1,
      else: 0
  end

  @doc """
  What to do after an attempt has failed with `error`: to try again in `delay` milliseconds, or to give up.
  `sessions` is how many sessions of the same API server reconnect.
  """
  @spec failed(t(), Error.t(), pos_integer(), integer()) ::
          {:retry, non_neg_integer(), t()} | :give_up
  def failed(%__MODULE__{} = state, error, sessions, now \\ now()) do
    since = if final?(error), do: state.final_since || now
    state = %{state | final_since: since, lost_at: state.lost_at || now}
    next = state.attempts + 1

    persists = since != nil and now - since >= grace_period(error)

    if persists or not allowed?(state.policy, next, now - state.lost_at),
      do: :give_up,
      else: {:retry, delay(next + max(state.quick_losses - 1, 0), sessions), state}
  end

  @doc """
  Milliseconds before attempt number `attempt` after a loss. A single session makes its first attempt at once. The
  first attempts of `sessions` sessions that were lost together are spread over up to five seconds. Later attempts
  back off exponentially. `random` is in `0.0..1.0`.
  """
  @spec delay(pos_integer(), pos_integer(), float()) :: non_neg_integer()
  def delay(attempt, sessions, random \\ :rand.uniform())
  def delay(1, 1, _random), do: 0
  def delay(1, sessions, random), do: round(min(sessions * @slot, @cap) * random)

  def delay(attempt, _sessions, random) do
    backoff = min(@first * Integer.pow(2, min(attempt - 2, 10)), @cap)
    round(backoff * (0.5 + random / 2))
  end

  @doc """
  Whether the option `:reconnect` allows another attempt, `elapsed` milliseconds after the loss.
  """
  @spec allowed?(policy(), attempt :: pos_integer(), elapsed :: non_neg_integer()) :: boolean()
  def allowed?(policy, _attempt, _elapsed) when is_boolean(policy), do: policy

  def allowed?(policy, attempt, elapsed) do
    attempt <= Keyword.get(policy, :max_attempts, :infinity) and
      elapsed < Keyword.get(policy, :deadline, :infinity)
  end

  @doc """
  Whether another attempt would fail with the same error until the user or the cluster changes something. An error
  that a login, a network or a rollout can resolve is not final.
  """
  @spec final?(Error.t()) :: boolean()
  def final?(%Error{stage: stage, reason: {kind, details}}), do: final?(stage, kind, details)

  @doc """
  How long an error must persist before it counts as final, in milliseconds.
  """
  @spec grace_period(Error.t()) :: non_neg_integer()
  # A starting API server answers 403 until it has loaded all Roles. A node that starts or stops may close the
  # connection during the handshake, or answer anything. A Secret may be replaced, and a kubeconfig be written.
  def grace_period(%Error{stage: stage, reason: {kind, _details}})
      when stage in [:config, :node, :cookie] or
             kind in [:forbidden, :forbidden_get_and_create, :refused],
      do: 10_000

  def grace_period(_error), do: 0

  defp final?(:options, _kind, _details), do: true
  # Another program may be writing the kubeconfig.
  defp final?(:config, kind, _details), do: kind not in [:not_found, :unreadable, :malformed]

  defp final?(:cluster, kind, _details),
    do: kind in [:forbidden, :forbidden_get_and_create]

  # While it waits for a pod, the native library returns these errors only if no pod can appear.
  defp final?(:target, kind, _details),
    do:
      kind in [
        :invalid_target,
        :no_such_pod,
        :no_pods,
        :no_container,
        :owners_forbidden,
        :workload_deleted
      ]

  defp final?(:node, kind, _details),
    do:
      kind in [
        :tls_only,
        :tls_failed,
        :unsupported_otp,
        :several_nodes,
        :invalid_name,
        :unknown_node
      ]

  defp final?(:cookie, _kind, _details), do: true

  defp final?(:endpoint, kind, _details),
    do:
      kind in [
        :target_is_server,
        :too_many_atoms,
        :too_many_functions,
        :message_too_large,
        :malformed_message,
        :no_audit_file,
        :audit_not_written
      ]

  defp final?(:helper, kind, _details), do: kind not in [:timed_out, :kernel]

  defp final?(:route, kind, _details),
    do:
      kind in [
        :linux_only,
        :always_hidden,
        :name_kind,
        :address_family,
        :connected_otherwise,
        :own_name,
        :unknown_net_kernel
      ]

  defp final?(:connect, :refused, _details), do: true
  defp final?(:connect, _kind, _details), do: false
  defp final?(:native, kind, _details), do: kind in [:not_loaded, :in_use]
  defp final?(:exec, _kind, _details), do: true
  defp final?(_stage, _kind, _details), do: false

  defp now, do: System.monotonic_time(:millisecond)
end
