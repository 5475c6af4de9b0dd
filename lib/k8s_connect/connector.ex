defmodule K8sConnect.Connector do
  @moduledoc false
  # The blocking steps of a connect, after the pod and its node were found: waiting for another session of
  # the same pod, the route, and the handshake. They run in a process of their own, which the session can
  # kill at any time: what they open ends with the session.

  alias K8sConnect.{Connection, Error, Native, Route, Sessions}

  @typedoc "What a session knows when it starts its connector."
  @type job :: %{
          session: pid(),
          native_session: Native.session(),
          # Without a route until one has been found to work.
          connection: %Connection{},
          cookie: (() -> binary()),
          route: Route.options(),
          notify: (String.t(), String.t() -> term())
        }

  @typedoc "`:exists` is the connection of another session to the same pod."
  @type result :: {:ok, Connection.t()} | {:exists, Connection.t()} | {:error, Error.t()}

  @doc """
  Starts the steps. The calling process gets `{:DOWN, monitor, :process, pid, {:connector, result}}`.
  """
  @spec start(job()) :: {pid(), reference()}
  def start(job) do
    {_pid, _monitor} =
      :erlang.spawn_opt(fn -> exit({:connector, run(job)}) end, [:link, :monitor])
  end

  defp run(%{connection: connection} = job) do
    {routes, _why} = Route.choose(job.route)

    with :ok <- register(connection, job.session),
         {:ok, connection} <- attach(routes, job),
         :ok <- connect(connection, job),
         do: {:ok, connection}
  end

  # Connecting twice to one pod gives one connection.
  defp register(connection, session) do
    case Sessions.register(Sessions.key(connection), session) do
      :ok ->
        :ok

      {:taken, other} ->
        try do
          {:exists, :gen_statem.call(other, :connection)}
        catch
          # It has failed or ended, and the key is free, or soon will be.
          :exit, _reason -> register(connection, session)
        end
    end
  end

  # The first route that works. The step tells about those that do not.
  defp attach([route | others], job) do
    connection = %{job.connection | route: route}

    case Route.attach(connection, job.session, job.native_session, job.cookie, job.route) do
      :ok ->
        {:ok, connection}

      {:error, error} when others == [] ->
        {:error, error}

      {:error, error} ->
        job.notify.(
          "route",
          "#{hd(others)}, as #{route} does not work: #{Error.summary(error)}"
        )

        attach(others, job)
    end
  end

  # The path is open and the node answers. If it closes the connection without a reason, the cookie is
  # what is left.
  defp connect(connection, job) do
    if Route.connect(connection, job.route), do: :ok, else: {:error, refusal(connection, job)}
  end

  defp refusal(connection, job) do
    case Native.call(:refusal, [job.native_session, Atom.to_string(Node.self())]) do
      {:error, %Error{stage: :node, reason: {kind, _details}} = error}
      when kind in [:link_closed, :rejected] ->
        error

      _no_reason ->
        details = %{node: connection.node, source: connection.cookie_source}
        Error.new(:connect, {:refused, details})
    end
  end
end
