defmodule K8sConnect.Setup do
  @moduledoc false
  # The connection setup in the calling process: what is checked before, and the wait for the session.

  alias K8sConnect.{
    Connection,
    Error,
    Group,
    Native,
    Options,
    Protection,
    Route,
    Server,
    Session,
    Sessions
  }

  @doc """
  See `K8sConnect.connect/2`.
  """
  @spec connect(String.t() | nil, keyword()) :: {:ok, Connection.t()} | {:error, Error.t()}
  def connect(target, options) do
    with {:ok, place, options} <- prepare(target, options) do
      result =
        case reconnecting(place, options) do
          nil -> start(options)
          connection -> wait_for(connection, options)
        end

      Error.for_request(result, target, place)
    end
  end

  @doc """
  See `K8sConnect.connect_all/2`.
  """
  @spec connect_all(String.t() | nil, GenServer.name() | nil, keyword()) ::
          {:ok, pid()} | {:error, Error.t()}
  def connect_all(target, name, options) do
    with {:ok, place, options} <- prepare(target, options),
         do: name |> start_group(options) |> Error.for_request(target, place)
  end

  defp start_group(name, options) do
    arguments = arguments(options)

    with {:ok, group} <- start_child({Group, Map.put(arguments, :name, name)}, options),
         {:ok, _connections} <- await(arguments.reference, Process.monitor(group), options) do
      {:ok, group}
    else
      {:error, %Error{} = error} -> {:error, error}
      {:error, {:already_started, _other}} -> {:error, unusable(name)}
      {:error, {%ArgumentError{}, _stack}} when name != nil -> {:error, unusable(name)}
      {:error, reason} -> {:error, crashed(reason)}
    end
  end

  defp unusable(name) do
    expected = "an atom, {:global, term} or {:via, module, term} that no process has"
    Error.new(:options, {:invalid_option, %{option: :name, value: name, expected: expected}})
  end

  # A session that was there before may be one with `:trust`, or without `:read_only` or `:audit`.
  defp check_power(connection, options) do
    status = Server.status(connection)
    powers = Map.take(status, [:trust, :read_only, :audit])
    asked = options |> Map.take([:trust, :read_only]) |> Map.put(:audit, audit_file(options))

    cond do
      # The session has just ended, and another one may have the node by now.
      status.state == :down ->
        {:error, Error.new(:connect, {:lost, %{node: connection.node, reason: nil}})}

      powers == asked ->
        {:ok, connection}

      true ->
        {:error,
         Error.new(:route, {:connected_otherwise, Map.put(powers, :node, connection.node)})}
    end
  end

  defp audit_file(%{audit: audit}), do: with({file, _arguments} <- audit, do: file)

  @doc """
  Checks the options and the protection of the context, before anything is sent to the API server.
  """
  @spec prepare(String.t() | nil, keyword()) ::
          {:ok, place :: map(), Options.connect()} | {:error, Error.t()}
  def prepare(target, options) do
    with {:ok, options} <- Options.connect(target, options),
         {:ok, place} <- Native.call(:resolve, [Native.with_environment(options.api)]),
         :ok <- Protection.check(place.context, options) do
      options.progress.(first_step(place, options))
      {:ok, _started} = Application.ensure_all_started(:k8s_connect)
      {:ok, place, Options.confirmed(options, place)}
    end
  end

  defp start(options) do
    arguments = arguments(options)

    with {:ok, session} <- start_child({Session, arguments}, options),
         {:ok, %{session: other} = connection} when other != session <-
           await(arguments.reference, Process.monitor(session), options),
         do: check_power(connection, options)
  end

  # The process has no function of the caller.
  defp arguments(options),
    do: %{caller: self(), reference: make_ref(), options: Map.delete(options, :progress)}

  defp start_child(child, options) do
    Sessions.start(child)
  catch
    # The application stops or restarts.
    :exit, _reason -> {:error, lost(options)}
  end

  defp lost(%{target: target}),
    do: Error.new(:connect, {:lost, %{node: target.target || "the pod", reason: nil}})

  # A second call for the target of a connection that reconnects waits for it.
  defp reconnecting(place, %{target: %{target: target, labels: labels}}) do
    Enum.find(Sessions.reconnecting(), fn connection ->
      connection.target == (target || labels) and connection.context == place.context and
        connection.namespace == place.namespace
    end)
  end

  # The session may end while this call waits. This call then connects itself, in the time that is left.
  defp wait_for(connection, %{connect_timeout: timeout} = options) do
    start = System.monotonic_time(:millisecond)

    case Server.await_up(connection, timeout) do
      {:ok, connection} -> check_power(connection, options)
      {:error, %Error{reason: {:timeout, _details}} = error} -> {:error, error}
      {:error, _ended} -> start(%{options | connect_timeout: remaining(timeout, start)})
    end
  end

  defp remaining(:infinity, _start), do: :infinity

  defp remaining(timeout, start),
    do: max(1, timeout - (System.monotonic_time(:millisecond) - start))

  defp first_step(place, options) do
    {_routes, why} = Route.choose(options.route)
    %{target: target, labels: labels} = options.target
    where = Enum.join([place.context, place.namespace, target || labels], " / ")

    power =
      cond do
        options.trust -> " / trusted: the pod can run code here"
        options.read_only -> " / read-only"
        true -> ""
      end

    audit = if file = audit_file(options), do: " / logged in #{file}"
    {:step, "connecting", "#{where} / route #{why}#{power}#{audit}", 0}
  end

  defp await(reference, monitor, %{progress: progress} = options) do
    receive do
      {^reference, {:step, _name, _detail, _ms} = step} ->
        progress.(step)
        await(reference, monitor, options)

      {^reference, {:trace, _name, _detail, _us, _took} = trace} ->
        progress.(trace)
        await(reference, monitor, options)

      {^reference, {:ok, connection}} ->
        Process.demonitor(monitor, [:flush])
        {:ok, connection}

      {^reference, {:error, error}} ->
        # Nothing is left of the attempt when its failure is told.
        receive do: ({:DOWN, ^monitor, :process, _session, _reason} -> {:error, error})

      # Ended by disconnect/1, by its owner, or with the application.
      {:DOWN, ^monitor, :process, _session, reason} when reason in [:normal, :shutdown, :noproc] ->
        {:error, lost(options)}

      {:DOWN, ^monitor, :process, _session, reason} ->
        {:error, crashed(reason)}
    end
  end

  defp crashed(reason),
    do: Error.new(:connect, {:session_crashed, %{problem: inspect(reason, limit: 5)}})
end
