defmodule Mix.K8sConnect.Console do
  @moduledoc false
  # What a person sees: steps and errors on standard error, results on standard output, and what
  # happens once the connection is there. For a program, results and errors are JSON.

  alias K8sConnect.{Connection, Error, JSON}
  alias Mix.K8sConnect.{Follow, Options, Rpc, Shell}

  @doc """
  One line for a step that is done.
  """
  @spec step(tuple()) :: :ok
  def step({:step, name, detail, ms}) do
    say("#{String.pad_trailing(name, 10)} #{Error.printable(detail)} (#{ms} ms)")
  end

  def step({:trace, name, detail, us, took}) do
    took = if took, do: ", #{ms(took)} of them"
    say("  #{String.pad_trailing(name, 10)} #{Error.printable(detail)} (#{ms(us)} ms#{took})")
  end

  defp ms(us), do: :erlang.float_to_binary(us / 1000, decimals: 1)

  @doc """
  Has the name of a protected context typed in, where there is somebody to do it.
  """
  @spec confirm(String.t()) :: boolean()
  def confirm(context) do
    Shell.terminal?() and
      case IO.gets("Context #{inspect(context)} is protected. Type its name to connect to it: ") do
        answer when is_binary(answer) -> same?(String.trim(answer), context)
        _no_more_input -> false
      end
  end

  defp same?(context, context), do: true

  defp same?(answer, _context) do
    say("#{inspect(answer)} is not its name")
    false
  end

  @doc """
  The pods that could be a target, and how to name one.
  """
  @spec list(keyword(), Options.format()) :: :ok
  def list(options, format) do
    options = Keyword.take(options, [:namespace, :context, :kubeconfig, :timeout, :interactive])

    case K8sConnect.pods(options) do
      {:ok, pods} ->
        pods |> Enum.filter(& &1.beam) |> show_pods(format)
        say("To connect, name a pod, or its owner, as in: mix k8s.connect sts/app")

      {:error, error} ->
        fail(error, format)
    end
  end

  defp show_pods([], :text), do: say("no pods that look like Erlang nodes")
  defp show_pods(pods, :text), do: Enum.each(pods, &IO.puts("#{&1.name}  #{&1.phase}"))

  defp show_pods(pods, :json) do
    pods = for pod <- pods, do: Map.take(pod, [:name, :namespace, :uid, :phase, :ip])
    print(%{pods: pods})
  end

  @doc """
  Ends the command with an error, or with a sentence and an exit code.
  """
  @spec fail(Error.t(), Options.format()) :: no_return()
  @spec fail(String.t(), 1..255) :: no_return()
  def fail(%Error{} = error, :text), do: fail(sentence(error), Error.exit_code(error))

  def fail(%Error{} = error, :json) do
    print(%{error: Error.to_map(error)})
    exit({:shutdown, Error.exit_code(error)})
  end

  def fail(sentence, code) do
    say(sentence)
    exit({:shutdown, code})
  end

  @doc """
  An error as a person sees it here.
  """
  @spec sentence(Error.t()) :: String.t()
  def sentence(error), do: Exception.message(error)

  @doc """
  A connection for another program.
  """
  @spec object(Connection.t()) :: map()
  def object(connection), do: connection |> Map.from_struct() |> Map.delete(:session)

  @doc """
  What was asked for, with the connection up.
  """
  @spec run(Options.mode(), Connection.t(), Options.format()) :: :ok
  def run(mode, connection, format) do
    if connection.others != [],
      do: say("also ready: #{Enum.join(connection.others, ", ")}; name one to choose it")

    if format == :json and not match?({:rpc, _expression}, mode),
      do: print(%{connection: object(connection)})

    do_run(mode, connection, format)
  end

  @doc """
  Runs a command that reaches the nodes of the connections, and ends as it has ended.
  """
  @spec exec([Connection.t()], [String.t(), ...]) :: :ok
  def exec(connections, command) do
    for %{others: others} when others != [] <- connections,
        do: say("also ready: #{Enum.join(others, ", ")}; name one to choose it")

    case K8sConnect.exec(connections, command) do
      {:ok, 0} -> :ok
      {:ok, code} -> exit({:shutdown, code})
      {:error, error} -> ended(error, :init.get_status())
    end
  end

  # The connection ends because the VM does, in order.
  defp ended(_error, {:stopping, _progress}), do: Process.sleep(:infinity)
  defp ended(error, _status), do: fail(error, :text)

  defp do_run({:rpc, expression}, connection, format),
    do: rpc(expression, connection.node, format)

  defp do_run(:return, _connection, _format), do: :ok
  defp do_run(:hold, connection, format), do: hold(connection, format)

  defp do_run(:remsh, connection, format) do
    case Shell.remote(connection) do
      {:ok, device} -> await_end(connection, device, format)
      {:error, error} -> fail(error, format)
    end
  end

  defp do_run(:default, connection, format) do
    cond do
      # `iex -S mix k8s.connect`: the shell starts when this task is done.
      Shell.iex?() -> hint_and_follow(connection)
      Shell.terminal?() -> local_shell(connection, format)
      true -> hold(connection, format)
    end
  end

  defp hint_and_follow(connection) do
    hint(connection)
    _pid = Follow.start(connection)
    :ok
  end

  # The shell outlives the connection: there is more in it than that.
  defp local_shell(connection, format) do
    hint(connection)

    case Shell.local() do
      {:ok, device} ->
        {:down, error} = Follow.run(connection, device, :text)
        Follow.ended(error, connection, device)
        Process.sleep(:infinity)

      {:error, error} ->
        fail(error, format)
    end
  end

  defp hint(connection) do
    say("""

    Connected to #{connection.node}, hidden: see Node.list(:connected). Try:
        :erpc.call(#{inspect(connection.node)}, :erlang, :memory, [])
    """)

    releases(connection.node)
  end

  # An older OTP refuses what a newer one has compiled, and writes an error to its log: better to say
  # so before somebody tries.
  defp releases(node) do
    [ours, theirs] =
      for at <- [node(), node],
          do: at |> :erpc.call(:erlang, :system_info, [:otp_release]) |> List.to_integer()

    if theirs < ours do
      say("""
      OTP #{ours} here, #{theirs} there: a module compiled here and sent there (nl/2) can be refused, with an
      error in the pod's log. Have the other side compile it, where it has Elixir:
          :erpc.call(#{inspect(node)}, Code, :compile_string, [File.read!("lib/my_module.ex")])
      """)
    end

    :ok
  catch
    # It is lost already, which is told at its place.
    :error, {:erpc, _reason} -> :ok
  end

  defp rpc(expression, node, format) do
    case Rpc.evaluate(expression, node) do
      {:ok, shown} -> result(shown, format)
      {:error, error} -> fail(error, format)
    end
  end

  defp result(shown, :text), do: IO.puts(shown)
  defp result(shown, :json), do: print(%{result: shown})

  defp hold(connection, format) do
    say("holding the connection; end it with: kill #{System.pid()}")
    await_end(connection, :stderr, format)
  end

  # SIGTERM is the VM's: it stops the applications in order, and with them the connection.
  @spec await_end(Connection.t(), IO.device(), Options.format()) :: no_return()
  defp await_end(connection, device, format) do
    case Follow.run(connection, device, format) do
      {:down, nil} -> exit({:shutdown, 1})
      {:down, error} -> fail(error, format)
    end
  end

  @doc """
  An object on standard output.
  """
  @spec print(map()) :: :ok
  def print(object), do: object |> JSON.encode() |> IO.puts()

  @doc """
  A line on standard error.
  """
  @spec say(String.t()) :: :ok
  def say(text), do: IO.puts(:stderr, text)
end
