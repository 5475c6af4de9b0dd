defmodule K8sConnect.Command do
  @moduledoc false
  # A command whose connections to pods are redirected to the listeners of the `:exec` route. The program
  # `k8s_connect_exec` (native/exec) runs it on this BEAM's terminal, under a seccomp filter.
  #
  # The command ends with the calling process, with this BEAM, and with any of its connections.

  alias K8sConnect.{Connection, Error, Native, Route, Sessions}

  # The failures that native/exec reports.
  @failures Map.new(
              ~w(not_found not_executable no_seccomp nested no_ptrace not_redirected system)a,
              &{Atom.to_string(&1), &1}
            )

  @spec run([Connection.t()], [String.t(), ...], [{String.t(), String.t()}]) ::
          {:ok, 0..255} | {:error, Error.t()}
  def run(connections, [name | _arguments] = command, environment) do
    with {:ok, redirects} <- redirects(connections) do
      monitors = Map.new(connections, &{monitor(&1), &1})

      try do
        with {:ok, started} <- start(redirects, command, environment),
             do: await(started, monitors, name)
      after
        Enum.each(monitors, fn {monitor, _node} -> Process.demonitor(monitor, [:flush]) end)
      end
    end
  end

  defp redirects(connections) do
    Enum.reduce_while(connections, {:ok, []}, fn connection, {:ok, redirects} ->
      case attached(connection) do
        {:ok, more} -> {:cont, {:ok, redirects ++ more}}
        {:error, error} -> {:halt, {:error, error}}
      end
    end)
  end

  defp attached(%{node: node, route: :exec}) do
    case Route.attached(node) do
      {:exec, %{redirects: redirects}} -> {:ok, redirects}
      _gone -> {:error, Error.new(:connect, {:lost, %{node: node, reason: nil}})}
    end
  end

  defp attached(%{node: node, route: route}),
    do: {:error, Error.new(:exec, {:other_route, %{node: node, route: route}})}

  # If the session has ended, the `:DOWN` message comes at once.
  defp monitor(%{node: node, uid: uid}) do
    sessions = for {session, %{node: ^node, uid: ^uid}} <- Sessions.list(), do: session
    Process.monitor(List.first(sessions) || spawn(fn -> :ok end))
  end

  defp start(redirects, command, environment) do
    Native.call(:exec, [
      %{
        runner: Native.program("k8s_connect_exec"),
        redirects: redirects,
        command: command,
        environment: Map.merge(System.get_env(), Map.new(environment))
      }
    ])
  end

  defp await(%{command: command, input: input}, monitors, name) do
    ended = make_ref()
    :ok = Native.exec_ended(ended, command)
    feeder = if input, do: spawn(fn -> feed(command) end)

    try do
      await_end(command, ended, monitors, name)
    after
      if feeder, do: Process.exit(feeder, :kill)
    end
  end

  defp await_end(command, ended, monitors, name) do
    receive do
      {^ended, {:ok, outcome}} ->
        result(outcome, name)

      {^ended, {:error, {stage, reason}}} ->
        {:error, Error.new(stage, reason)}

      {:DOWN, monitor, :process, _session, reason} when is_map_key(monitors, monitor) ->
        :ok = Native.exec_end(command)
        receive do: ({^ended, _result} -> {:error, lost(monitors[monitor].node, reason)})
    end
  end

  defp result({:exited, code}, _name), do: {:ok, code}
  # As in a shell.
  defp result({:signaled, signal}, _name), do: {:ok, 128 + signal}
  defp result(:lost, _name), do: {:error, Error.new(:exec, {:runner_killed, %{}})}

  defp result({:failed, failure, problem}, name) do
    kind = Map.fetch!(@failures, failure)
    details = if kind in [:not_found, :not_executable], do: %{command: name}, else: %{}
    {:error, Error.new(:exec, {kind, Map.put(details, :problem, problem)})}
  end

  defp lost(node, {:shutdown, %Error{reason: {:port_forward_closed, %{reason: reason}}}}),
    do: Error.new(:exec, {:port_forward_closed, %{node: node, reason: reason}})

  defp lost(node, _reason), do: Error.new(:connect, {:lost, %{node: node, reason: nil}})

  # The command gets all of this BEAM's standard input, what it has buffered included. As latin1 the bytes stay
  # what they are.
  defp feed(command) do
    device = Process.group_leader()
    _ = :io.setopts(device, encoding: :latin1)
    feed(device, command)
  end

  defp feed(device, command) do
    request = {:get_until, :latin1, ~c"", __MODULE__, :available, []}

    with {:bytes, bytes} <- :io.request(device, request),
         {:ok, true} <- Native.call(:exec_write, [command, :erlang.list_to_binary(bytes)]) do
      feed(device, command)
    else
      _end_of_file -> Native.call(:exec_close_input, [command])
    end
  end

  @doc false
  # The I/O server calls this with its input; all of it is taken.
  @spec available(term(), charlist() | :eof) :: tuple()
  def available(_continuation, :eof), do: {:done, :eof, []}
  def available(_continuation, []), do: {:more, []}
  def available(_continuation, characters), do: {:done, {:bytes, characters}, []}
end
