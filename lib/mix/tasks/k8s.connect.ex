defmodule Mix.Tasks.K8s.Connect do
  @shortdoc "Connects this BEAM to the Erlang node in a Kubernetes pod"

  @moduledoc """
  Connects this BEAM to the Erlang node in a Kubernetes pod.

      mix k8s.connect [TARGET] [options]
      mix k8s.connect TARGET... [options] -- CMD [ARGUMENT...]

  ## Examples

      mix k8s.connect app-0                          # IEx in this BEAM, connected
      iex -S mix k8s.connect app-0                   # the same, with your project started
      mix k8s.connect sts/app -n shop --remsh        # IEx on the pod's node
      mix k8s.connect -l app=web --rpc 'node()'      # evaluate on the pod's node and print the result
      mix k8s.connect sts/app --all --rpc 'node()'   # on every pod
      mix do k8s.connect app-0 --no-wait + run script.exs
      mix k8s.connect app-0 --route kernel           # all programs of your user can connect
      mix k8s.connect app-0 --exec 'iex --name me@127.0.0.1'   # only this program can connect

  TARGET is a pod (`app-0`, `pod/app-0`), a workload (`sts/app`, `deploy/web`), a Service (`svc/app`), any
  owner of pods (`rollout.argoproj.io/web`, `rabbitmqcluster/mq`), or a name from the configuration. What
  `kubectl get -o name` prints is a TARGET. If several pods match, the task connects to the first ready pod.
  Without TARGET it lists the pods that look like Erlang nodes, as `mix k8s.pods` does.

  ## Modes

  On a terminal the task starts IEx in this BEAM. If the connection is lost, IEx keeps running, and prints a
  line at the loss and at the reconnect. Without a terminal it holds the connection until it receives SIGTERM.

    * `--rpc EXPR` - evaluates EXPR on the pod's node, with the modules of that node, and prints the
      result. `--rpc -` evaluates standard input. See "Expressions"
    * `--rpc-file FILE` - evaluates the expressions in FILE, and prints the result of the last one
    * `--remsh` - starts IEx on the pod's node instead of in this BEAM. The two Elixir versions may differ
    * `--hold` - holds the connection, also on a terminal
    * `--no-wait` - returns as soon as it is connected, for `mix do`
    * `--all` - connects to every running pod of TARGET, and to pods that are added later. With `--rpc` it
      evaluates on each node, and prints the pod before each result
    * `--no-reconnect` - exits when the connection is lost. By default IEx in this BEAM and `--hold` reconnect, to the
      same pod or to its replacement, and print a line. `--rpc`, `--remsh` and `--exec` end with the connection
    * `--exec LINE` - runs the command line LINE with `/bin/sh -c`, and exits when the command exits. See
      "Other programs, without privileges"
    * `-- CMD ARGUMENT...` - runs CMD like `--exec`, but without a shell

  ## Expressions

      mix k8s.connect app-0 --rpc 'pid = Process.whereis(MyApp.Cache)' --rpc ':sys.get_state(pid)'
      mix k8s.connect app-0 --quiet --rpc-file setup.exs --rpc 'count()' < /dev/null
      echo 'node()' | mix k8s.connect app-0 --rpc -

  `--rpc` and `--rpc-file` can be given several times. One process on the pod's node evaluates the expressions in the
  order of the command line, and each result is printed. A later expression has the variables, imports and aliases of
  the earlier ones (before Elixir 1.14 only the variables). If an expression raises, the command ends with exit code 1.

  What an expression prints appears here while it runs, and `IO.gets/1` there reads standard input here. The node
  formats the results with its own modules, so structs hide the fields that they hide there. A result larger than 1 MiB
  (`:erlang.external_size/1`) is an error, because formatting it could use up the memory of the pod: return a part of
  it, or print it there with `IO.puts/1`.

  The process that evaluates is killed after a timeout, and when this command ends, even if this command is killed with
  SIGKILL. Processes that an expression has started without a link keep running.

    * `--rpc-timeout MS` - the timeout of each expression; by default there is none
    * `--erl` - the expressions are Erlang: `--erl --rpc 'erlang:memory(total)'`. The last dot can be left out. This is
      the default if the node runs without Elixir; a line on standard error says so
    * `--quiet` - prints only results, errors, and what the expressions print

  ## Routes

    * `--route vm` - only this BEAM can connect. Needs no privilege, opens no port.
    * `--route kernel` - all programs of this user can connect to the pod's IP address: a second
      `iex --name`, Livebook, `observer_cli`. Needs the privileged helper, see `mix help k8s.helper`.
    * `--route auto` - the kernel route if the helper is installed and works, otherwise the vm route. This is
      the default. The first line of output names the route, and why it was chosen.
    * `--sudo` - runs the helper with `sudo -n`, without an installation. Implies `--route kernel`
    * `--visible` - with the kernel route or `--exec`, other programs connect as visible nodes. By default they
      connect as hidden nodes, because a visible node can make `global` disconnect cluster nodes. Implies `--trust`

  ## Trust

  The pod can answer, and send messages to processes whose pids it was given. It cannot run code in this VM, unless you
  trust it. The first refusal of each kind is printed. See the guide "Trust".

    * `--trust` - the pod can do in this VM what this VM can do on the pod's node. For a protected context you have to type
      its name, `--yes` is not enough. `--visible` implies `--trust`
    * `--read-only` - only functions that read can be called on the pod's node, such as `:erlang.memory/0`. All other
      calls, messages, links and exit signals are not sent. The list is in the guide; `read_only_calls` in the
      configuration extends it. Cannot be used with `--rpc`, `--rpc-file` and `--remsh`, which evaluate anything.
      `--no-read-only` overrides the configuration
    * `--audit FILE` - appends a line to FILE for each request to the pod's node, before it is sent, and one for its
      result, as JSON. See the guide "Production"
    * `--audit-arguments` - also the arguments, cut at 1000 bytes. They can contain secrets. Needs `--audit`
    * `--max-atoms NUMBER` - how many different atoms the pod can send; default 100000
    * `--max-message BYTES` - the largest message from the pod; default 268435456

  ## Other programs, without privileges

      mix k8s.connect app-0 --exec 'iex --name me@127.0.0.1'
      mix k8s.connect app-0 app-1 -- erl -name me@127.0.0.1

  Only the command and its child processes can connect to the pods' IP addresses. Nothing has to be
  installed. The command uses the terminal directly, including job control, and inherits standard input,
  output and error. `mix` exits with the command's exit code: 128+N if signal N killed it, 127 if it was
  not found, 126 if it is not executable. This BEAM does not connect to the node.

  You provide the cookie: `iex --name` reads `~/.erlang.cookie`, and a node with another cookie rejects
  the connection. Put the node's cookie in that file. k8s_connect finds the cookie only for connections of this BEAM.
  The pods' nodes see the command as a hidden node unless `--visible` is given.

  When a connection is lost, the command gets SIGHUP, and SIGKILL two seconds later. The same happens
  when this BEAM exits. If a child process outlives the command, its connections are not redirected. If
  the supervising program `k8s_connect_exec` was killed with SIGKILL, the `connect()` calls of that child
  process fail.

  `--exec` intercepts the command's `connect()` calls with a seccomp filter (Linux 5.9 or newer).
  Requirements and limits:

    * setuid programs such as `sudo` run without their privileges;
    * UDP, and connections made with io_uring, with `MSG_FASTOPEN`, by 32-bit programs or by non-dumpable
      programs are not redirected. They fail, unless your machine has a route to the pod's address: then they bypass
      the guard;
    * the kernel must allow ptrace of child processes: `kernel.yama.ptrace_scope` 0 or 1, and in
      Docker containers `--cap-add SYS_PTRACE`;
    * `--exec` cannot be combined with `--json`, `--route` or `--sudo`, and cannot run inside another `--exec`.

  ## Command line options

    * `-n`, `--namespace NAME` - the namespace; by default the namespace of the context
    * `-c`, `--container NAME` - the container whose spec has the cookie
    * `-l`, `--selector LABELS` - a label selector, instead of TARGET
    * `--context NAME` - a context of the kubeconfig; by default the current context
    * `--kubeconfig PATH` - the kubeconfig; by default `KUBECONFIG` or `~/.kube/config`
    * `--node NAME` - the name of the node, if the pod has several nodes
    * `--port NUMBER` - the node's distribution port, if the pod has no epmd and the pod's spec does not name
      the port
    * `--cookie-file PATH` - a file with the cookie, if the pod's spec does not have it
    * `--cookie-from exec` - reads the cookie from the running node, with a command in its container.
      Needs `- {apiGroups: [""], resources: [pods/exec], verbs: [get, create]}` in the Role
    * `--tls-ca FILE`, `--tls-cert FILE`, `--tls-key FILE` - PEM files for a node whose distribution is over TLS: the CA
      certificate, and your client certificate and its key, if the node asks for them. By default k8s_connect uses the
      files that `-ssl_dist_optfile` in the pod's spec names, if they are mounted from Secrets or ConfigMaps
    * `--protocol NAME` - the protocol of the port-forward connection: `spdy`; `websocket`, which is SPDY
      over a WebSocket if the server supports it; `v4`, a WebSocket (v4.channel.k8s.io) for each stream; or
      `auto`, the default. `auto` uses SPDY. It falls back to a WebSocket if a proxy or gateway rejects SPDY,
      or if the Role has only `get` on pods/portforward. Up to Kubernetes 1.34 a WebSocket needs no `create`
    * `--timeout MS` - the timeout of each request to the API server; default 15000. An exec plugin of the
      kubeconfig runs before the request, and has its own timeout of the same length
    * `--connect-timeout MS` - the timeout of the whole connection setup; default 60000. There is no default
      timeout if an exec plugin can prompt on the terminal
    * `--yes` - connects to a protected context without confirmation, see "Configuration"
    * `--json` - prints the result or the error as a JSON object to standard output
    * `--verbose` - also prints the protocol steps, with their times
    * `--completion SHELL` - prints a completion script for `bash`, `zsh` or `fish`. See "Completion"

  ## Completion

      mix k8s.connect --completion bash > ~/.k8s_connect.bash && echo '. ~/.k8s_connect.bash' >> ~/.bashrc
      mix k8s.connect --completion zsh > ~/.k8s_connect.zsh && echo '. ~/.k8s_connect.zsh' >> ~/.zshrc
      mix k8s.connect --completion fish > ~/.config/fish/conf.d/k8s_connect.fish

  The script completes the tasks of k8s_connect, their options and values. It completes TARGET with the configured
  targets, the pods that look like Erlang nodes, and their workloads. If the API server does not answer within two
  seconds, it offers only configured targets. Contexts and namespaces are those of the kubeconfig. Other tasks of `mix`
  are completed as before.

  ## Environment

  It reads `KUBECONFIG`, and `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` as kubectl does. `proxy-url` in the
  kubeconfig takes precedence over the proxy variables. An exec plugin of the kubeconfig (`users[].user.exec`) inherits
  all environment variables whose names are valid in a shell. The plugin can prompt on the terminal during the first
  connect, but not in `iex -S mix`, nor when it reconnects, because IEx reads the same terminal.

  ## Configuration

      config :k8s_connect,
        namespace: "shop",
        targets: [prod: [context: "prod", target: "sts/app"]]

  This sets the default namespace, and defines the target `prod`: `mix k8s.connect prod` is the same as
  `mix k8s.connect sts/app --context prod -n shop`. The defaults of other options are set in the same way.

      config :k8s_connect, protect: ["prod*"]

  This protects each context whose name matches. k8s_connect asks you to type the context name before it
  connects. When it is not running on a terminal, `--yes` is required. Listing pods needs no confirmation.
  Neither do the checks of `mix k8s.doctor` before its check of the node.

  ## Output and exit codes

  Results go to standard output. Errors and steps go to standard error. Each step has its time in milliseconds.
  The first step names the context, the namespace, the target and the route.

  Exit codes: 0 success; 1 the connection failed, the connection was lost and not restored, or an expression
  raised, timed out, or has a result that is too large; 2 usage error. With `--exec`: the exit code of the command, or
  1 if the connection failed or was lost.

  With `--json` these JSON objects go to standard output:

    * `{"connection": …}` when it is connected
    * `{"result": "…"}` for each result of `--rpc` and `--rpc-file`; with `--all` also `"pod": …`, and
      `{"pod": …, "error": …}` for a pod whose expression failed
    * `{"pods": […]}` without TARGET
    * `{"event": "reconnecting", …}`, `{"event": "up", …}` and `{"event": "refused", …}` with `--hold`
    * `{"error": {"stage": …, "kind": …, "message": …, "command": …, "exit_code": …}}` on failure

  The task does not compile or start your project, so it also works in a project that does not compile. Mix may compile
  dependencies before it runs the task, and prints that to standard output: in scripts, set `MIX_QUIET=1`.

  `iex -S mix` compiles and starts the project first. The node is connected as a hidden node:
  `Node.list(:connected)` has it, `Node.list()` does not.
  """

  use Mix.Task

  alias K8sConnect.Error
  alias Mix.K8sConnect.{All, Archive, Completion, Console, Options, Preload}
  alias Mix.K8sConnect.{Project, Shell}

  @impl true
  def run(arguments), do: Archive.run(__MODULE__, arguments, &execute/1)

  defp execute(arguments) do
    :ok = Preload.task()
    {_result, _parsed, format} = parsed = Options.parse(arguments)
    Project.load(format)

    case Options.check(parsed) do
      {:ok, {:list, options}, format} ->
        Console.list([interactive: Shell.asks?()] ++ options, format)

      {:ok, {:completion, shell}, _format} ->
        IO.write(Completion.script(shell))

      {:ok, {:connect, target, options, mode}, format} ->
        output = {format, target, options}
        check_mode(mode, output)
        options = progress(mode) ++ reconnect(mode) ++ log(mode) ++ options
        with_connection(target, options, format, &Console.run(mode, &1, output))

      {:ok, {:connect_all, target, options, mode}, format} ->
        output = {format, target, options}
        options = progress(mode) ++ log(mode) ++ options
        with_all(target, options, format, &All.run(mode, &1, output))

      {:ok, {:exec, [{_target, options} | _more] = targets, command}, format} ->
        exec(targets, {command, options}, [], format)

      {:error, error, format} ->
        Console.fail(error, format)
    end
  end

  # Both shells would read from the same terminal.
  defp check_mode(:remsh, output) do
    if Shell.iex?(),
      do: Console.fail(Error.new(:options, {:remsh_in_iex, %{}}), output),
      else: :ok
  end

  defp check_mode(_mode, _output), do: :ok

  defp exec([], command, connections, _format),
    do: connections |> Enum.reverse() |> Console.exec(command)

  defp exec([{target, options} | targets], command, connections, format) do
    here = progress(:default) ++ [route: :exec, log: false]

    with_connection(target, here ++ options, format, fn connection ->
      exec(targets, command, [connection | connections], format)
    end)
  end

  defp with_connection(target, options, format, fun) do
    case K8sConnect.connect(target, here() ++ options) do
      {:ok, connection} -> fun.(connection)
      {:error, error} -> Console.fail(error, format)
    end
  end

  defp with_all(target, options, format, fun) do
    case K8sConnect.connect_all(target, here() ++ options) do
      {:ok, group} -> fun.(group)
      {:error, error} -> Console.fail(error, format)
    end
  end

  # The shell on the node, and the expressions, end with the connection.
  defp reconnect(:remsh), do: [reconnect: false]
  defp reconnect({:rpc, _rpc}), do: [reconnect: false]
  defp reconnect(_mode), do: []

  # The other modes print what the log would say.
  defp log(:return), do: []
  defp log(_mode), do: [log: false]

  defp progress(mode), do: if(Options.quiet?(mode), do: [], else: [progress: &Console.step/1])

  defp here do
    [
      confirm: &Console.confirm/1,
      interactive: Shell.asks?()
    ]
  end
end
