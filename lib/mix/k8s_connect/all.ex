defmodule Mix.K8sConnect.All do
  @moduledoc false
  # What `mix k8s.connect --all` does once it is connected to the pods of a workload.

  alias K8sConnect.Error
  alias Mix.K8sConnect.{Console, Follow, Options, Output, Rpc, Shell}

  @doc """
  Runs the mode of `mix k8s.connect` with the connections.
  """
  @spec run(Options.mode(), pid(), Console.output()) :: :ok
  def run(mode, group, output) do
    failed = Enum.sort(K8sConnect.status(group).failed)
    for {pod, error} <- failed, do: Output.say("#{pod}: #{Error.message(error, :cli)}")
    connections = K8sConnect.connections(group)

    unless Options.quiet?(mode),
      do: Output.say("connected to #{Enum.map_join(connections, ", ", & &1.pod)}")

    do_run(mode, group, connections, failed, output)
  end

  # Evaluates on all nodes at the same time, and prints the results in the order of the pods.
  defp do_run({:rpc, rpc}, _group, connections, failed, {format, _target, _options}) do
    results =
      connections
      |> Enum.map(&{&1, Task.async(fn -> evaluate(rpc, &1) end)})
      |> Enum.map(fn {%{pod: pod}, task} ->
        {result, events} = Task.await(task, :infinity)
        for event <- events ++ [result], do: print(event, pod, rpc, format)
        result
      end)

    if failed != [] or Enum.any?(results, &(&1 != :ok)), do: exit({:shutdown, 1}), else: :ok
  end

  defp do_run(:return, _group, _connections, _failed, _output), do: :ok

  defp do_run(mode, group, connections, _failed, {format, _target, _options} = output) do
    if format == :json,
      do: Output.print(%{connections: Enum.map(connections, &Output.object/1)})

    cond do
      # `iex -S mix k8s.connect`: the shell starts when this task is done.
      mode == :default and Shell.iex?() -> follow(group)
      mode == :default and Shell.terminal?() -> shell(group, output)
      true -> hold(group, output)
    end
  end

  defp evaluate(rpc, connection) do
    evaluate = fn -> Rpc.evaluate(rpc, connection.node, [], &[&1 | &2]) end
    {{result, events}, refused} = Follow.refused(connection, evaluate)
    {result, Enum.reverse(events) ++ Enum.map(refused, &{:warning, &1})}
  end

  defp follow(group) do
    _pid = Follow.start(group)
    :ok
  end

  defp shell(group, output) do
    case Shell.local() do
      {:ok, device} ->
        {:down, error} = Follow.run(group, device, :text)
        Follow.print_end(error, device)
        # The shell has variables, and outlives the connections. It ends the VM.
        Process.sleep(:infinity)

      {:error, error} ->
        Console.fail(error, output)
    end
  end

  @spec hold(pid(), Console.output()) :: no_return()
  defp hold(group, output) do
    Output.say("holding the connections; end it with: kill #{System.pid()}")

    case Follow.run(group, :stderr, elem(output, 0)) do
      {:down, nil} -> exit({:shutdown, 1})
      {:down, error} -> Console.fail(error, output)
    end
  end

  defp print({:result, shown}, pod, _rpc, :text), do: IO.puts("#{pod}: #{shown}")
  defp print({:result, shown}, pod, _rpc, :json), do: Output.print(%{pod: pod, result: shown})

  defp print({:error, error}, pod, _rpc, :text),
    do: Output.say("#{pod}: #{Error.message(error, :cli)}")

  defp print({:error, error}, pod, _rpc, :json),
    do: Output.print(%{pod: pod, error: Error.to_map(error)})

  defp print(event, pod, rpc, _format), do: Rpc.note(event, rpc, "#{pod}: ")
end
