defmodule Mix.Tasks.K8s.Doctor do
  @shortdoc "Says what works, and what does not, on the way to a pod's Erlang node"

  @moduledoc """
  Says what works, and what does not, on the way to a pod's Erlang node.

      mix k8s.doctor [TARGET] [options]

  ## Examples

      mix k8s.doctor                             # this machine, the cluster, your rights
      mix k8s.doctor app-0                       # and all the way to the node, connected for a moment
      mix k8s.doctor sts/app -n shop --json      # the same for programs
      mix k8s.doctor app-0 --report              # a text for a bug report

  TARGET is as for `mix k8s.connect`; without one the pods that look like Erlang nodes are listed.

  ## What is looked at

    * Machine - Elixir and OTP, the native library, the local node, the helper. An installed one is
      tried, as by `mix k8s.helper status`.
    * Cluster - kubeconfig and context, the login, the proxy, the API server, clock and round trip
    * Permissions - the rights that a connection needs, as the API server has them. Where one is
      missing, the Role for an admin to apply is printed, with marks at what is new.
    * Pod - its phase, container, readiness and restarts
    * Node - the link, epmd or what else tells the port, and the node by its own word
    * Handshake - a real connection: the cookie's source, versions, round trip
    * Route - which one is taken, and why. Each that there is is connected by, and taken down again; a
      connection that this BEAM has to that pod already is used, and left.

  `✓` is as it should be; `!` may be what is wrong; `✗` is, and has its reason and one command under
  it; `–` was not looked at, as something before it is missing; `☠` is a check that failed itself.

  Nothing is changed anywhere, and no cookie or token is shown.

  ## Command line options

    * `--json` - the same tree as JSON on standard output, as `K8sConnect.Doctor` describes it
    * `--report` - a text that can be shown to others. The API server's host, the context's name, user names
      (yours here, and in the cluster), this machine's name, the home directory, e-mail addresses, ARNs,
      and what looks like a token, a key or a password, are replaced. Names of namespaces, pods, nodes,
      groups, images and Secrets stay, and so do addresses of pods: look it over before you post it.
    * `-n`, `-c`, `-l`, `--context`, `--kubeconfig`, `--node`, `--port`, `--cookie-file`,
      `--cookie-from`, `--timeout`, `--route`, `--sudo`, `--visible`, `--protocol`, `--yes` - as for `mix k8s.connect`

  ## Exit codes

  0 no issues; 3 a check failed; 4 warnings only; 2 wrong words.
  """

  use Mix.Task

  alias K8sConnect.Doctor
  alias Mix.K8sConnect.{Console, Options, Project, Report}

  @impl true
  def run(arguments) do
    case Options.examination(arguments) do
      {:ok, target, options, format} ->
        # It connects, too, and the configuration may protect the context.
        Project.load(if format == :json, do: :json, else: :text)
        examine(target, options, format)

      {:error, sentence} ->
        Console.fail(sentence <> "\nSee: mix help k8s.doctor", 2)
    end
  end

  defp examine(target, options, format) do
    report = Doctor.examine(target, [confirm: &Console.confirm/1] ++ options)
    print(report, format)
    if Report.code(report) != 0, do: exit({:shutdown, Report.code(report)})
  end

  defp print(report, :json), do: IO.write(Report.json(report))
  defp print(report, :report), do: IO.write(Report.public(report))
  defp print(report, :text), do: IO.write(IO.ANSI.format(Report.text(report), color?()))

  # Colours are for a terminal, whatever Mix takes for one.
  defp color?, do: IO.ANSI.enabled?() and Mix.K8sConnect.Shell.terminal?()
end
