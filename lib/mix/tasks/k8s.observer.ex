defmodule Mix.Tasks.K8s.Observer do
  @shortdoc "Shows the Erlang node in a Kubernetes pod: Observer, or a view in the terminal"

  @moduledoc """
  Shows what the Erlang node in a Kubernetes pod does: in OTP's Observer, or in the terminal.

      mix k8s.observer TARGET [options]

  ## Examples

      mix k8s.observer app-0                        # OTP's Observer on this machine, on the pod's node
      mix k8s.observer app-0 --text                 # a live view in the terminal
      mix k8s.observer sts/app -n shop --once       # one snapshot, as text
      mix k8s.observer app-0 --json --sort memory   # one snapshot, for programs

  TARGET is as for `mix k8s.connect`.

  ## OTP's Observer

  On a machine with a display the task opens OTP's Observer with the pod's node, and ends when you close the window.
  This machine's Erlang needs wx and observer (on Debian and Ubuntu the packages `erlang-observer` and `erlang-wx`), and
  the pod's node needs runtime_tools: add `:runtime_tools` to `extra_applications` in the `mix.exs` of its release.

  Observer can kill processes on the node and trace there. Its tab "Load Charts" sets the flag `scheduler_wall_time`
  on the node while it is open, and its tab "Processes" fetches all processes. Its tab "Applications" stays empty
  without `--trust`.

  ## Terminal

  With `--text`, or on a machine without a display, the task shows a view in the terminal. The pod's node needs only
  stdlib, and nothing on it is changed.

  | key | |
  |---|---|
  | `r`, `m`, `l` | sort by reductions, memory, length of the message queue |
  | arrows, Page Up and Down, Home, End | move |
  | Enter | show the stack trace, links and monitors of the process |
  | Esc, `b` | back |
  | `a`, `e`, `p` | applications, ETS tables, processes |
  | `q`, Ctrl-C | quit |

  A process on the node compares all processes and sends the first ones. It runs with low priority and for at most 10 %
  of the time, so the view refreshes less often if there are many processes. See the guide "Observer" for what it costs
  the node.

  ## Command line options

    * `--text` - shows the view in the terminal, also with a display
    * `--once` - prints one snapshot and exits. It needs no terminal
    * `--json` - prints one snapshot as a JSON object to standard output; `K8sConnect.Snapshot` describes its fields
    * `--interval MS` - the time over which changes are measured, which is also the shortest time between two snapshots;
      100 to 60000, default 2000, and 1000 for one snapshot
    * `--sort KEY` - `reductions`, `memory` or `messages` (the length of the message queue); default `reductions`
    * `--limit NUMBER` - how many processes and ETS tables are shown; 1 to 1000, default 50
    * `-n`, `--namespace`, `-c`, `--container`, `-l`, `--selector`, `--context`, `--kubeconfig`, `--node`, `--port`,
      `--cookie-file`, `--cookie-from`, `--tls-ca`, `--tls-cert`, `--tls-key`, `--timeout`, `--connect-timeout`,
      `--route`, `--sudo`, `--visible`, `--protocol`, `--trust`, `--audit`, `--audit-arguments`, `--max-atoms`,
      `--max-message`, `--yes`, `--verbose` - as for `mix k8s.connect`. `--read-only` cannot be used, because the task
      runs code on the node

  `NO_COLOR` turns off bold and underlined text.

  ## Exit codes

  0 success; 1 failure, also when the connection is lost; 2 usage error.
  """

  use Mix.Task

  alias K8sConnect.{Error, Snapshot}
  alias Mix.K8sConnect.{Archive, Console, NodeOptions, Output, Project, Shell, Switches}
  alias Mix.K8sConnect.Observer.{Live, Screen, View, Windows}

  # Without a terminal
  @columns 120

  @impl true
  def run(arguments), do: Archive.run(__MODULE__, arguments, &execute/1)

  defp execute(arguments) do
    case NodeOptions.observer(arguments) do
      {:ok, target, options, own} ->
        Project.load(own[:format])
        output = {own[:format], target, options}

        with :ok <- NodeOptions.check(target, options, "k8s.observer"),
             {:ok, mode} <- mode(own),
             do: observe(mode, output, own),
             else: ({:error, error} -> Console.fail(error, output))

      {:error, error, format} ->
        Console.fail(error, format)
    end
  end

  # What can be known before the connection
  defp mode(own) do
    cond do
      own[:once] ->
        {:ok, :once}

      own[:text] ->
        text()

      Windows.display?() ->
        with :ok <- Windows.check(), do: {:ok, :windows}

      true ->
        Output.say("no display (neither DISPLAY nor WAYLAND_DISPLAY is set): using the terminal")
        text()
    end
  end

  defp text do
    cond do
      Shell.iex?() ->
        usage(
          "the view in the terminal cannot be used in iex -S mix: both would read from one terminal"
        )

      Shell.terminal?() ->
        {:ok, :text}

      true ->
        usage("the view in the terminal needs a terminal. --once prints one snapshot without it")
    end
  end

  defp usage(problem), do: {:error, Switches.usage(problem, "k8s.observer")}

  defp observe(mode, {_format, target, options} = output, own) do
    here = [
      reconnect: false,
      log: false,
      progress: &Console.step/1,
      confirm: &Console.confirm/1,
      interactive: Shell.asks?()
    ]

    with {:ok, connection} <- K8sConnect.connect(target, here ++ options) do
      Console.print_others(connection)
      place = Map.take(connection, [:context, :namespace])
      mode |> show(connection, own) |> Error.for_request(target, place)
    end
    |> case do
      :ok -> :ok
      {:error, error} -> Console.fail(error, output)
    end
  end

  defp show(:windows, connection, _own) do
    Windows.run(connection)
  end

  defp show(:text, connection, own),
    do: Live.run(connection, Keyword.put_new(own, :interval, 2000))

  defp show(:once, connection, own) do
    options = [sort: own[:sort], limit: own[:limit], window: own[:interval] || 1000]

    with {:ok, snapshot} <- Snapshot.take(connection.node, options),
         do: print(snapshot, own[:format])
  end

  defp print(snapshot, :json), do: snapshot |> Snapshot.to_map() |> Output.print()

  defp print(snapshot, :text) do
    terminal = Shell.terminal?()
    styles? = terminal and System.get_env("NO_COLOR", "") == ""
    {columns, _rows} = if terminal, do: Screen.window(), else: {@columns, nil}

    for line <- View.report(snapshot, columns), do: IO.puts(IO.ANSI.format(line, styles?))
    :ok
  end
end
