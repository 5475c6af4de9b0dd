defmodule K8sConnect.Session.Attempt do
  @moduledoc false
  # The pod connection of a session, which is replaced at each attempt, and the guard of all of them.

  alias K8sConnect.{
    Error,
    Native,
    PodConnection,
    ReadOnly,
    Reconnect,
    Route,
    Session,
    Sessions
  }

  @doc """
  Starts a pod connection. `wait`: whether it waits for a pod that does not exist yet.
  """
  @spec start(Session.data(), boolean()) :: Session.data()
  def start(data, wait) do
    guard = guard(data)
    data = with {:ok, guard} <- guard, do: %{data | guard: guard}, else: (_error -> data)

    job = %{
      session: self(),
      # References are counted, and the pod sees others of this VM.
      events: {make_ref(), secret()},
      options: data.options,
      wait: wait,
      error: data.error,
      guard: guard,
      start: data.start
    }

    reconnect = Reconnect.attempt(data.reconnect)
    %{data | pod_connection: PodConnection.start(job), reconnect: reconnect}
  end

  # Also if this pod is trusted: another one may know this session.
  defp secret do
    case Native.start(:secret, []) do
      secret when is_binary(secret) -> secret
      # No attempt gets so far as to send an event of a pod.
      {:error, _not_loaded} -> ""
    end
  end

  # One guard for all attempts, so that a pod cannot create more atoms by reconnects.
  defp guard(%{options: %{trust: true}}), do: {:ok, nil}

  defp guard(%{guard: nil, options: %{limits: limits} = options}) do
    calls = if options.read_only, do: ReadOnly.calls()
    arguments = [limits.atoms, limits.message, calls, options.audit]

    with {:error, {stage, reason}} <- Native.start(:guard, arguments),
         do: {:error, Error.new(stage, reason)}
  end

  defp guard(%{guard: guard}), do: {:ok, guard}

  @doc """
  Kills the pod connection. All that it has opened is closed when it exits.
  """
  @spec kill(Session.data()) :: Session.data()
  def kill(%{pod_connection: nil} = data), do: data

  def kill(%{pod_connection: {pid, monitor, _events}} = data) do
    Process.demonitor(monitor, [:flush])
    Process.unlink(pid)
    Process.exit(pid, :kill)
    Sessions.unregister_pending(self())
    %{data | pod_connection: nil}
  end

  @doc """
  Like `kill/1`, but returns after the route is detached.
  """
  @spec release(Session.data()) :: Session.data()
  def release(data) do
    before = data.pod_connection
    data = kill(data)
    _ = with {pid, _monitor, _events} <- before, do: detach(pid)
    Sessions.unregister(self())
    data
  end

  defp detach(pid) do
    Route.detach(pid)
  catch
    # The Route process has exited. Its successor starts with an empty table.
    :exit, _reason -> :ok
  end
end
