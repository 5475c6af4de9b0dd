defmodule Mix.K8sConnect.Console do
  @moduledoc false
  # The output of the commands: steps and errors on standard error, results on standard output, or both as JSON; and
  # what `mix k8s.connect` does once it is connected.

  alias K8sConnect.{Connection, Error}
  alias Mix.K8sConnect.{Follow, Options, Pods, Rpc, Shell}

  import Mix.K8sConnect.Output

  @typedoc "The output format, and the request that errors repeat."
  @type output :: {Options.format(), target :: String.t() | nil, keyword()}

  # Of the longest name, port-forward
  @name_width 12

  @doc """
  Prints a completed step of a connection, or a trace of a protocol.
  """
  @spec step(tuple()) :: :ok
  def step({:step, name, detail, ms}) do
    say("#{String.pad_trailing(name, @name_width)} #{Error.printable(detail)} (#{ms} ms)")
  end

  def step({:trace, name, detail, us, took}) do
    took = if took, do: ", took #{ms(took)} ms"

    say(
      "  #{String.pad_trailing(name, @name_width)} #{Error.printable(detail)} (#{ms(us)} ms#{took})"
    )
  end

  defp ms(us), do: :erlang.float_to_binary(us / 1000, decimals: 1)

  @doc """
  Asks on a terminal for the name of a protected context.
  """
  @spec confirm(String.t()) :: boolean()
  def confirm(context) do
    Shell.terminal?() and
      case IO.gets("Context #{inspect(context)} is protected. Type its name to connect to it: ") do
        answer when is_binary(answer) -> confirmed?(String.trim(answer), context)
        _end_of_file -> false
      end
  end

  defp confirmed?(context, context), do: true

  defp confirmed?(answer, context) do
    say("not confirmed: expected #{inspect(context)}, got #{inspect(answer)}")
    false
  end

  @doc """
  Lists the pods that look like Erlang nodes.
  """
  @spec list(keyword(), Options.format()) :: :ok
  def list(options, format) do
    case options |> K8sConnect.Options.api_only() |> K8sConnect.pods() do
      {:ok, pods} ->
        Pods.print(pods, format, false)
        say("Connect to a pod or a workload, for example: #{example(options)}")

      {:error, error} ->
        fail(error, format)
    end
  end

  defp example(options) do
    request = Error.request("sts/app", options)
    Error.Command.render({:mix, "k8s.connect", []}, request, :cli)
  end

  @doc """
  Ends the command with an error, or with a message and an exit code.
  """
  @spec fail(Error.t(), Options.format() | output()) :: no_return()
  @spec fail(String.t(), 1..255) :: no_return()
  def fail(%Error{} = error, {format, target, options}),
    do: error |> Error.for_request(target, options) |> exit_with(format)

  def fail(%Error{} = error, format), do: exit_with(error, format)

  def fail(message, code) do
    say(message)
    exit({:shutdown, code})
  end

  @spec exit_with(Error.t(), Options.format()) :: no_return()
  defp exit_with(error, format) do
    if format == :json,
      do: print(%{error: Error.to_map(error)}),
      else: say(Error.message(error, :cli))

    exit({:shutdown, Error.exit_code(error)})
  end

  @doc """
  Runs the mode of `mix k8s.connect` with a connection.
  """
  @spec run(Options.mode(), Connection.t(), output()) :: :ok
  def run(mode, connection, {format, _target, _options} = output) do
    unless Options.quiet?(mode), do: print_others(connection)

    if format == :json and not match?({:rpc, _rpc}, mode),
      do: print(%{connection: object(connection)})

    do_run(mode, connection, located(output, connection))
  end

  @doc """
  Runs a command that can connect to the nodes of the connections, and exits with its exit code. `options` are
  those of the connections, and `environment` is added to the environment of the command.
  """
  @spec exec([Connection.t()], {command :: [String.t(), ...], options :: keyword()}, [
          {String.t(), String.t()}
        ]) :: :ok
  def exec(connections, {command, options}, environment \\ []) do
    Enum.each(connections, &print_others/1)

    case K8sConnect.exec(connections, command, env: environment) do
      {:ok, 0} -> :ok
      {:ok, code} -> exit({:shutdown, code})
      {:error, error} -> exec_failed(error, :init.get_status(), {:text, nil, options})
    end
  end

  # The VM is stopping, and with it the connection.
  defp exec_failed(_error, {:stopping, _progress}, _output), do: Process.sleep(:infinity)
  defp exec_failed(error, _status, output), do: fail(error, output)

  @doc """
  Names the ready pods that a target has apart from the chosen one.
  """
  @spec print_others(Connection.t()) :: :ok
  def print_others(%{others: []}), do: :ok

  def print_others(%{others: others}),
    do: say("other ready pods: #{Enum.join(others, ", ")}. To choose one, pass it as TARGET")

  # Errors repeat the context and the namespace of the connection.
  defp located({format, target, options}, connection) do
    request = Error.request(target, Map.take(connection, [:context, :namespace]))
    {format, target, Error.request(request, target, options).options}
  end

  defp do_run({:rpc, rpc}, connection, output) do
    report = fn event, :ok -> report(event, rpc, output) end

    evaluate = fn -> Rpc.evaluate(rpc, connection.node, :ok, report) end
    {{result, :ok}, refused} = Follow.refused(connection, evaluate)
    Enum.each(refused, &Rpc.note({:warning, &1}, rpc, ""))
    with {:error, error} <- result, do: fail(error, output)

    :ok
  end

  defp do_run(:return, _connection, _output), do: :ok
  defp do_run(:hold, connection, output), do: hold(connection, output)

  defp do_run(:remsh, connection, {format, target, options}) do
    # The suggested command opens a new shell.
    output = {format, target, options ++ [remsh: true]}

    case Shell.remote(connection) do
      {:ok, device} -> await_end(connection, device, output)
      {:error, error} -> fail(error, output)
    end
  end

  defp do_run(:default, connection, output) do
    cond do
      # `iex -S mix k8s.connect`: the shell starts when this task is done.
      Shell.iex?() -> hint_and_follow(connection)
      Shell.terminal?() -> local_shell(connection, output)
      true -> hold(connection, output)
    end
  end

  defp hint_and_follow(connection) do
    hint(connection)
    _pid = Follow.start(connection)
    :ok
  end

  # The shell has variables, and outlives the connection. It ends the VM.
  defp local_shell(connection, output) do
    hint(connection)

    case Shell.local() do
      {:ok, device} ->
        {:down, error} = Follow.run(connection, device, :text)
        Follow.print_end(error, device)
        # The shell has variables, and outlives the connection. It ends the VM.
        Process.sleep(:infinity)

      {:error, error} ->
        fail(error, output)
    end
  end

  defp hint(connection) do
    say("""

    Connected to #{connection.node} as a hidden node; Node.list(:connected) has it. Try:
        :erpc.call(#{inspect(connection.node)}, :erlang, :memory, [])
    """)

    releases(connection.node)
  end

  # An older OTP rejects modules that a newer one has compiled, and logs an error.
  defp releases(node) do
    [local, remote] =
      for at <- [node(), node],
          do: at |> :erpc.call(:erlang, :system_info, [:otp_release]) |> List.to_integer()

    if remote < local do
      say("""
      This is OTP #{local}, the node is OTP #{remote}: it may reject modules that were compiled here (nl/2), with an
      error in the pod's log. With Elixir on the node, compile them there:
          :erpc.call(#{inspect(node)}, Code, :compile_string, [File.read!("lib/my_module.ex")])
      """)
    end

    :ok
  catch
    # The connection is lost, which is reported by what waits for it; or the node has answered something else.
    _kind, _reason -> :ok
  end

  defp report({:result, shown}, _rpc, {:text, _target, _options}), do: IO.puts(shown)
  defp report({:result, shown}, _rpc, {:json, _target, _options}), do: print(%{result: shown})
  defp report(event, rpc, _output), do: Rpc.note(event, rpc, "")

  @spec hold(Connection.t(), output()) :: no_return()
  defp hold(connection, output) do
    say("holding the connection; end it with: kill #{System.pid()}")
    await_end(connection, :stderr, output)
  end

  # The VM handles SIGTERM: it stops the applications in order, and with them the connection.
  @spec await_end(Connection.t(), IO.device(), output()) :: no_return()
  defp await_end(connection, device, {format, _target, _options} = output) do
    case Follow.run(connection, device, format) do
      {:down, nil} -> exit({:shutdown, 1})
      {:down, error} -> fail(error, output)
    end
  end
end
