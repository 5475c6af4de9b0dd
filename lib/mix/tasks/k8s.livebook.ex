defmodule Mix.Tasks.K8s.Livebook do
  @shortdoc "Runs Livebook on this machine, attached to the Erlang node in a Kubernetes pod"

  @moduledoc """
  Runs Livebook on this machine. The cells of its notebooks run on the Erlang node in a Kubernetes pod.

      mix k8s.livebook TARGET [options] [-- ARGUMENT...]

  ## Examples

      mix k8s.livebook app-0                         # open the URL that Livebook prints, and run a cell: node()
      mix k8s.livebook sts/app -n shop -- @new       # opens the browser, with a new notebook
      mix k8s.livebook app-0 -- notes.livemd
      mix k8s.livebook app-0 --audit livebook.log    # logs what Livebook sends to the node

  TARGET is as for `mix k8s.connect`. The arguments after `--` are those of `livebook server`; `livebook server --help`
  lists them. Notebooks have the pod's node as their default runtime, and you enter no node name and no cookie.

  **A cell can do everything on the node.** Livebook loads its modules there while a notebook is attached. The pod cannot
  run code here, see "Trust" in `mix help k8s.connect`.

  ## Livebook

  The program `livebook` has to be in `PATH`, or where `mix escript.install` puts it:

      mix escript.install hex livebook

  Livebook and the node need the same minor version of Elixir. Livebook has the version that it was installed with; the
  guide "A node in Livebook" lists which Livebook to install for an older Elixir. Livebook's OTP should not be newer than
  the node's, because the node loads Livebook's modules.

  Before Livebook starts, the task checks that the node accepts the connection and has a long name, that Elixir
  runs on it, and that the minor versions are the same, if `livebook --version` prints its version.

  If another Livebook runs on port 8080, `livebook server` opens that one and ends. Choose other ports:

      LIVEBOOK_IFRAME_PORT=8091 mix k8s.livebook app-0 -- --port 8090

  ## The cookie

  Livebook gets the node's name and its cookie in the environment variable
  `LIVEBOOK_DEFAULT_RUNTIME=attached:NODE:COOKIE`. They are on no command line and in no file, and the cookie is not
  printed. Your user and root can read the environment of the process. Livebook 0.19 deletes the variable from its
  environment when it has started, and shows the cookie to you in the settings of the notebook's runtime. A cookie with a
  colon cannot be passed in this way.

  ## Connection

  The task connects this BEAM for the checks and disconnects. Then it runs Livebook as `mix k8s.connect --exec` runs a
  command: only Livebook and its child processes can connect to the pod. There is no `--route`: this route needs no
  privilege, and the kernel route would let all your programs connect. "Other programs, without privileges" in
  `mix help k8s.connect` has its requirements and limits.

  If the host of the node's name resolves only in the cluster, or the pod has an IPv6 address, Livebook also gets Erlang
  flags in `ERL_AFLAGS`, without which it could not connect.

  When the connection is lost, Livebook gets SIGHUP, and SIGKILL two seconds later. It saves notebooks every five
  seconds. Ctrl-C ends Livebook; SIGTERM to `mix` ends both.

  ## Command line options

    * `-n`, `--namespace`, `-c`, `--container`, `-l`, `--selector`, `--context`, `--kubeconfig`, `--node`, `--port`,
      `--cookie-file`, `--cookie-from`, `--tls-ca`, `--tls-cert`, `--tls-key`, `--timeout`, `--connect-timeout`,
      `--protocol`, `--trust`, `--audit`, `--audit-arguments`, `--max-atoms`, `--max-message`, `--yes`, `--verbose` -
      as for `mix k8s.connect`.
      `--read-only` cannot be used, because Livebook runs code on the node

  ## Exit codes

  The exit code of Livebook, and 128+N if signal N ended it; 1 the connection failed or was lost, or Livebook cannot
  attach to the node; 2 usage error; 127 there is no Livebook.
  """

  use Mix.Task

  alias K8sConnect.{Error, Route}
  alias K8sConnect.Options.Configuration
  alias Mix.K8sConnect.{Archive, Console, Livebook, NodeOptions, Output, Project, Shell}

  # Options of the configuration that its routes exclude. Livebook connects as a hidden node.
  @here [reconnect: false, log: false, sudo: false, visible: false]

  @impl true
  def run(arguments), do: Archive.run(__MODULE__, arguments, &execute/1)

  defp execute(arguments) do
    case NodeOptions.livebook(arguments) do
      {:ok, target, options, server} ->
        Project.load(:text)
        start({target, options}, server)

      {:error, error} ->
        Console.fail(error, :text)
    end
  end

  defp start({target, options} = request, server) do
    with :ok <- NodeOptions.check(target, @here ++ options, "k8s.livebook"),
         {:ok, program} <- Livebook.find(),
         {:ok, connection, runtime} <- check(request, Livebook.ask_elixir(program)),
         {:ok, connection} <- connect(request, connection) do
      Output.say("starting Livebook, with #{connection.node} as the runtime of its notebooks")
      environment = Livebook.environment(connection, runtime.())
      Console.exec([connection], {[program, "server" | server], options}, environment)
    else
      # The routes are not the user's choice, and no suggested command repeats them.
      {:error, error} ->
        error = update_in(error.request.options, &Keyword.delete(&1, :route))
        Console.fail(error, {:text, target, options})
    end
  end

  # This BEAM connects, which it does not on the route of a command.
  defp check({target, options}, asked) do
    here = [route: :vm, progress: &Console.step/1, confirm: &Console.confirm/1]

    with {:ok, %{node: node} = connection} <-
           K8sConnect.connect(target, here ++ here() ++ options) do
      Console.print_others(connection)
      place = Map.take(connection, [:context, :namespace])
      runtime = Livebook.runtime(node, Route.cookie(node), Livebook.elixir(asked))
      :ok = K8sConnect.disconnect(connection)

      with {:ok, runtime} <- Error.for_request(runtime, target, place),
           do: {:ok, connection, runtime}
    end
  end

  # To the same pod, whose context was confirmed.
  defp connect({target, options}, %{pod: pod, namespace: namespace, context: context} = checked) do
    {_target, options} = Configuration.named(target, options)
    options = Keyword.drop(options, [:selector, :namespace, :context])

    place =
      [namespace: namespace] ++ if(context == "in-cluster", do: [], else: [context: context])

    here = [route: :exec, confirm: fn _context -> true end] ++ here()

    with {:ok, connection} <- K8sConnect.connect("pod/#{pod}", here ++ place ++ options),
         do: same(connection, checked)
  end

  # What was checked is the name of the first connection, and what is redirected that of the second.
  defp same(%{node: node} = connection, %{node: node}), do: {:ok, %{connection | others: []}}

  defp same(connection, %{node: node}) do
    :ok = K8sConnect.disconnect(connection)
    {:error, Error.new(:connect, {:lost, %{node: node, reason: nil}})}
  end

  defp here, do: [interactive: Shell.asks?()] ++ @here
end
