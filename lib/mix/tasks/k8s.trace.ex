defmodule Mix.Tasks.K8s.Trace do
  @shortdoc "Traces function calls on the Erlang node in a Kubernetes pod"

  @moduledoc """
  Traces function calls on the Erlang node in a Kubernetes pod.

      mix k8s.trace TARGET PATTERN... [options]

  ## Examples

      mix k8s.trace app-0 MyApp.Cart.add/2                 # 100 calls, or 10 seconds
      mix k8s.trace sts/app MyApp.Cart --limit 20 --time 1m
      mix k8s.trace app-0 MyApp.Cart.sum/1 --local         # also private functions
      mix k8s.trace app-0 lists:map/2 --pid MyApp.Server   # only in one process

  It prints a line for each call, and one for its result or exception:

      09:30:00.104211 <0.845.0> MyApp.Cart.add(%MyApp.Cart{items: []}, 7)
      09:30:00.104298 <0.845.0> MyApp.Cart.add/2 -> {:ok, %MyApp.Cart{items: [7]}} (87 µs)

  The time is that of the node, in UTC. A registered process is shown by its name.

  The trace stops by itself. The node counts the calls, and clears the trace flags and patterns, also if this BEAM is
  killed or the connection is lost. Nothing is installed there, and Elixir is not needed. See the guide "Tracing" for
  what a trace costs the node.

  TARGET is as for `mix k8s.connect`. With `-l` there is no TARGET.

  ## Patterns

    * `Mod.fun/2` - a function; `Mod.fun/_` and `Mod.fun` with any arity
    * `Mod` and `'Mod.*'` - all functions of a module
    * `:lists.map/2` and `lists:map/2` - an Erlang module

  ## Command line options

    * `--limit NUMBER` - stops after this number of calls; 1 to 100000, default 100. It waits up to a second for
      the results of these calls
    * `--time TIME` - stops after this time: `500ms`, `10s`, `2m`; at most an hour, default 10s
    * `--local` - also traces private functions, and calls within the module. Without it only calls that name the
      module (`Mod.fun(…)`) are traced
    * `--no-returns` - traces no results and no exceptions
    * `--no-arguments` - traces the arity instead of the arguments, which are copied at each call otherwise
    * `--pid PID` - traces only this process of the node: `0.845.0`, or a registered name
    * `--json` - prints a JSON object for each event to standard output, and `{"event": "stopped", …}` at the end;
      `K8sConnect.Trace` describes the events
    * `-n`, `--namespace`, `-c`, `--container`, `-l`, `--selector`, `--context`, `--kubeconfig`, `--node`, `--port`,
      `--cookie-file`, `--cookie-from`, `--tls-ca`, `--tls-cert`, `--tls-key`, `--timeout`, `--connect-timeout`,
      `--route`, `--sudo`, `--visible`, `--protocol`, `--trust`, `--audit`, `--audit-arguments`, `--max-atoms`,
      `--max-message`, `--yes`, `--verbose` - as for `mix k8s.connect`. `--read-only` cannot be used, because the task
      runs code on the node

  ## Exit codes

  0 the limit or the time was reached; 1 the connection or the trace failed, or there were more calls than the tracer
  can handle; 2 usage error.
  """

  use Mix.Task

  alias K8sConnect.{Error, Trace}
  alias Mix.K8sConnect.{Archive, Console, NodeOptions, Output, Project, Shell, Switches}

  @units %{"ms" => 1, "s" => 1000, "m" => 60_000}

  @impl true
  def run(arguments), do: Archive.run(__MODULE__, arguments, &execute/1)

  defp execute(arguments) do
    format = if "--json" in arguments, do: :json, else: :text
    Project.load(format)

    case parse(arguments) do
      {:ok, target, patterns, options, trace} ->
        with {:error, error} <- NodeOptions.check(target, options, "k8s.trace"),
             do: Console.fail(error, format)

        trace(target, options, patterns, trace, format)

      {:error, problem} ->
        Console.fail(Switches.usage(problem, "k8s.trace"), format)
    end
  end

  defp parse(arguments) do
    with {:ok, target, patterns, options, own} <- NodeOptions.trace(arguments),
         {:ok, trace} <- trace(own),
         {:ok, _checked} <- Trace.check(patterns, trace, &switch/1),
         do: {:ok, target, patterns, options, trace}
  end

  defp trace(own) do
    {pid, own} = Keyword.pop(own, :pid)
    own = if pid, do: [process: pid] ++ own, else: own

    case Keyword.pop(own, :time) do
      {nil, own} -> {:ok, own}
      {text, own} -> with {:ok, time} <- time(text), do: {:ok, [time: time] ++ own}
    end
  end

  defp switch(:process), do: "--pid"
  defp switch(option), do: "--#{option}"

  defp time(text) do
    case Regex.run(~r/\A(\d{1,7})(ms|s|m)\z/, text) do
      [_all, number, unit] -> {:ok, String.to_integer(number) * @units[unit]}
      nil -> {:error, "invalid value for --time: expected 500ms, 10s or 2m, got #{inspect(text)}"}
    end
  end

  defp trace(target, options, patterns, trace, format) do
    here = [progress: &Console.step/1, confirm: &Console.confirm/1, interactive: Shell.asks?()]
    # The trace ends with the connection.
    here = here ++ [log: false, reconnect: false]

    with {:ok, connection} <- K8sConnect.connect(target, here ++ options),
         {:ok, stopped} <- Trace.each(connection.node, patterns, trace, &print(&1, format)) do
      stopped(stopped, connection.node, {format, target, options})
    else
      {:error, error} -> Console.fail(error, {format, target, options})
    end
  end

  defp print(event, :text), do: IO.puts(Trace.format(event))

  defp print(event, :json),
    do: event |> Map.update!(:time, &DateTime.to_iso8601/1) |> Output.print()

  defp stopped(%{stopped: :overload, calls: calls}, node, output),
    do: Console.fail(Error.new(:remote, {:overload, %{node: node, calls: calls}}), output)

  defp stopped(%{calls: calls} = stopped, _node, {:json, _target, _options}),
    do: Output.print(%{event: :stopped, reason: stopped.stopped, calls: calls})

  defp stopped(%{stopped: :limit, calls: calls}, _node, _output),
    do: Output.say("stopped after #{count(calls)}: the limit is reached (--limit)")

  defp stopped(%{stopped: :time, calls: calls}, _node, _output),
    do: Output.say("stopped after #{count(calls)}: the time is over (--time)")

  defp count(1), do: "1 call"
  defp count(calls), do: "#{calls} calls"
end
