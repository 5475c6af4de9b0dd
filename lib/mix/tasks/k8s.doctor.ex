defmodule Mix.Tasks.K8s.Doctor do
  @shortdoc "Finds out why a connection to a pod's Erlang node fails"

  @moduledoc """
  Finds out why a connection to a pod's Erlang node fails.

      mix k8s.doctor [TARGET] [options]

  ## Examples

      mix k8s.doctor                             # this machine, the cluster, your permissions
      mix k8s.doctor app-0                       # all layers, with a test connection to the node
      mix k8s.doctor sts/app -n shop --json      # for programs
      mix k8s.doctor app-0 --report              # for a bug report

  TARGET is as for `mix k8s.connect`. Without it the doctor lists the pods that look like Erlang nodes.

  ## Layers

    * Machine - Elixir and OTP, the native library, the local node, the helper. An installed helper is tested,
      as by `mix k8s.helper status`.
    * Cluster - kubeconfig and context, proxy, login, API server, clock and round trip
    * Permissions - the permissions that a connection needs. If one is missing, the required Role is printed for
      an admin to apply; comments mark what is new.
    * Pod - phase, container, readiness and restarts
    * Node - the port-forward connection, epmd, and the node's name and port
    * Handshake - a connection to the node: its cookie, versions, round trip
    * Route - the route that a connection takes, and a test connection over each available route. An existing
      connection of this BEAM is used, and left open.

  Each layer is printed when it is done. `✓` is no problem, `!` a possible problem, and `✗` a problem, with its cause
  and a command. `–` was skipped because a prerequisite is missing. `☠` is a check that crashed.

  The doctor changes nothing, and prints no cookie and no token.

  ## Command line options

    * `--json` - prints the report as JSON to standard output; `K8sConnect.Doctor` describes it
    * `--report` - prints a text for others. It replaces the API server's host, the context, user names (yours here and
      in the cluster), this machine's name, the home directory, e-mail addresses, ARNs, and what looks like a
      token, a key or a password. Names of namespaces, pods, nodes, groups, images and Secrets stay, and so do
      IP addresses of pods: read it before you post it.
    * `-n`, `--namespace`, `-c`, `--container`, `-l`, `--selector`, `--context`, `--kubeconfig`, `--node`, `--port`,
      `--cookie-file`, `--cookie-from`, `--tls-ca`, `--tls-cert`, `--tls-key`, `--timeout`, `--connect-timeout`,
      `--route`, `--sudo`, `--visible`, `--protocol`, `--read-only`, `--audit`, `--audit-arguments`, `--max-atoms`,
      `--max-message`, `--yes` - as for `mix k8s.connect`. `--trust` and `--verbose` have no effect

  ## Exit codes

  0 no issues; 3 a check failed; 4 warnings only; 2 usage error.
  """

  use Mix.Task

  alias K8sConnect.{Doctor, Error}
  alias Mix.K8sConnect.{Archive, Console, NodeOptions, Project, Report, Shell}

  @impl true
  def run(arguments), do: Archive.run(__MODULE__, arguments, &execute/1)

  defp execute(arguments) do
    case NodeOptions.doctor(arguments) do
      {:ok, target, options, format} ->
        # It also connects, and the configuration may protect the context.
        Project.load(if format == :json, do: :json, else: :text)
        check(target, options)
        examine(target, options, format)

      {:error, message} ->
        usage(message)
    end
  end

  # A target is optional.
  defp check(target, options) do
    placeholder = target || if options[:selector], do: nil, else: "none"

    with {:error, error} <- K8sConnect.Options.check(placeholder, options),
         do: error |> Error.message(:doctor) |> usage()
  end

  @spec usage(String.t()) :: no_return()
  defp usage(message), do: Console.fail(message <> "\nSee: mix help k8s.doctor", 2)

  defp examine(target, options, format) do
    progress = if format == :text, do: &print(Report.layer(&1)), else: fn _layer -> :ok end
    report = Doctor.examine(target, [confirm: &Console.confirm/1, progress: progress] ++ options)
    finish(report, format)
    if Report.code(report) != 0, do: exit({:shutdown, Report.code(report)})
  end

  defp finish(report, :json), do: IO.write(Report.json(report))
  defp finish(report, :report), do: IO.write(Report.public(report))
  defp finish(report, :text), do: print(Report.summary(report))

  defp print(text), do: IO.write(IO.ANSI.format(text, color?()))

  # Mix may take a pipe for a terminal.
  defp color?, do: IO.ANSI.enabled?() and Shell.terminal?()
end
