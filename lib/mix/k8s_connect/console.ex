defmodule Mix.K8sConnect.Console do
  @moduledoc false
  # What a person sees: steps and errors on standard error, results on standard output, and what
  # happens once the connection is there.

  alias Mix.K8sConnect.Shell

  @doc """
  One line for a step that is done.
  """
  @spec step({:step, String.t(), String.t(), non_neg_integer()}) :: :ok
  def step({:step, name, detail, ms}) do
    say("#{String.pad_trailing(name, 10)} #{detail} (#{ms} ms)")
  end

  @doc """
  The pods that could be a target, and how to name one.
  """
  @spec list(keyword()) :: no_return()
  def list(options) do
    case K8sConnect.pods(
           Keyword.take(options, [:namespace, :context, :kubeconfig, :timeout, :interactive])
         ) do
      {:ok, pods} ->
        for pod <- pods, pod.beam, do: IO.puts("#{pod.name}  #{pod.phase}")
        fail("name a target: mix k8s.connect POD. See: mix help k8s.connect", 2)

      {:error, error} ->
        fail(Exception.message(error), 1)
    end
  end

  @doc """
  Ends the command with a sentence and an exit code.
  """
  @spec fail(String.t(), 1..255) :: no_return()
  def fail(sentence, code) do
    say(sentence)
    exit({:shutdown, code})
  end

  @doc """
  What was asked for, with the connection up.
  """
  @spec run(Mix.K8sConnect.Options.mode(), K8sConnect.Connection.t()) :: :ok
  def run(mode, connection) do
    if connection.others != [],
      do: say("also ready: #{Enum.join(connection.others, ", ")}; name one to choose it")

    do_run(mode, connection)
  end

  defp do_run({:rpc, expression}, connection), do: rpc(expression, connection.node)
  defp do_run(:return, _connection), do: :ok
  defp do_run(:hold, connection), do: hold(connection)
  defp do_run(:remsh, connection), do: Shell.remote(connection.node) |> after_shell(connection)

  defp do_run(:default, connection) do
    cond do
      # `iex -S mix k8s.connect`: the shell starts when this task is done.
      Shell.iex?() -> hint(connection)
      Shell.terminal?() -> local_shell(connection)
      true -> hold(connection)
    end
  end

  defp local_shell(connection) do
    hint(connection)
    Shell.local() |> after_shell(connection)
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

  # Evaluated there: what the expression names is the node's.
  defp rpc(expression, node) do
    {value, _binding} = :erpc.call(node, Code, :eval_string, [expression])
    IO.puts(inspect(value, pretty: true, limit: :infinity, printable_limit: :infinity))
  catch
    :error, {:exception, reason, stacktrace} -> raised(:error, reason, stacktrace, node)
    :exit, {:exception, reason} -> raised(:exit, reason, [], node)
    :throw, value -> raised(:throw, value, [], node)
    :error, {:erpc, reason} -> fail("lost #{node} while it evaluated: #{inspect(reason)}", 1)
  end

  @spec raised(:error | :exit | :throw, term(), list(), node()) :: no_return()
  defp raised(_kind, :undef, [{Code, :eval_string, _arguments, _location} | _rest], node) do
    fail(
      "#{node} has no Elixir to evaluate with. Use :erpc from this side: mix k8s.connect, without --rpc",
      1
    )
  end

  defp raised(kind, reason, stacktrace, _node),
    do: fail(Exception.format(kind, reason, stacktrace), 1)

  defp hold(connection) do
    say("holding the connection; end it with: kill #{System.pid()}")
    await_loss(connection)
  end

  defp after_shell(:ok, connection), do: await_loss(connection)
  defp after_shell({:error, sentence}, _connection), do: fail(sentence, 1)

  # SIGTERM is the VM's: it stops the applications in order, and with them the connection.
  defp await_loss(connection) do
    Node.monitor(connection.node, true)
    node = connection.node

    receive do
      {:nodedown, ^node} -> lost(node, :init.get_status())
    end
  end

  # The connection ends because the VM does, in order.
  defp lost(_node, {:stopping, _progress}), do: Process.sleep(:infinity)

  defp lost(node, _status) do
    fail("lost the connection to #{node}. Connect again with the same command", 1)
  end

  defp say(text), do: IO.puts(:stderr, text)
end
