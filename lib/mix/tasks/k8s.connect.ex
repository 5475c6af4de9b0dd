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
      mix k8s.connect -l app=web --rpc 'node()'      # evaluate there, print, end
      mix k8s.connect sts/app --all --rpc 'node()'   # on every pod
      mix do k8s.connect app-0 --no-wait + run script.exs
      mix k8s.connect app-0 --route kernel           # all programs of your user can connect
      mix k8s.connect app-0 --exec 'iex --name me@127.0.0.1'   # only this program can; no installation

  TARGET is a pod (`app-0`, `pod/app-0`), its owner (`sts/app`, `deploy/web`), a Service (`svc/app`),
  or a name from the configuration. Of several pods the first ready one is taken. Without a target
  it lists the pods that look like Erlang nodes.

  ## What happens then

  On a terminal: IEx in this BEAM. It goes on when the connection is lost, and prints a line when it is lost and
  when it is back. Without a terminal it holds the connection until SIGTERM comes.

    * `--rpc EXPR` - evaluates EXPR on the pod's node, which needs Elixir there, and prints the
      result; the variables and modules are the node's
    * `--remsh` - IEx on the pod's node instead of here, whatever the two releases of Elixir are
    * `--hold` - holds the connection, on a terminal too
    * `--no-wait` - returns at once, for `mix do`
    * `--all` - connects to every running pod of TARGET and follows its scale; with `--rpc` evaluates on each
      and prints a line with the pod before each result
    * `--no-reconnect` - ends when the connection is lost. By default it is restored, to the same pod or to one
      that replaces it, and a line says so
    * `--exec LINE` - runs LINE with `/bin/sh -c` and ends with it, see below
    * `-- CMD ARGUMENT...` - the same without a shell

  ## How the node is reached

    * `--route vm` - only this BEAM can connect. Needs no privilege, opens no port.
    * `--route kernel` - all programs of this user can connect to the pod's IP address: a second
      `iex --name`, Livebook, `observer_cli`. Needs the helper, see `mix help k8s.helper`.
    * `--route auto` - kernel where the helper is installed and works, vm otherwise. This is the
      default; the first line of output names the route and the reason.
    * `--sudo` - runs the helper with `sudo -n`; it need not be installed. Implies `--route kernel`
    * `--visible` - does not make other programs hidden nodes (kernel route and `--exec`). By default
      they are hidden, because a visible node can make `global` disconnect cluster nodes.

  ## Other programs without any privilege

      mix k8s.connect app-0 --exec 'iex --name me@127.0.0.1'
      mix k8s.connect app-0 app-1 -- erl -name me@127.0.0.1

  Only the command and its child processes can connect to the pods' IP addresses, and nothing is
  installed. The command uses the terminal directly, including job control, and has standard input,
  output and error. `mix` exits with the command's exit code: 128+N if signal N ended it, 127 if it was
  not found, 126 if it is not executable. This BEAM does not connect to the node.

  You provide the cookie: `iex --name` reads `~/.erlang.cookie`, and a node with another cookie rejects
  the connection. Put the node's cookie there. Without `--exec`, k8s_connect finds the cookie itself.
  Nodes see the command as a hidden node unless `--visible` is given.

  When a connection is lost, the command gets SIGHUP, and SIGKILL two seconds later. The same happens
  when this BEAM exits. A process that outlives the command connects as it would without us, unless
  the supervising process was killed with SIGKILL: then its `connect()` calls fail.

  It uses a seccomp filter on the command's `connect()` calls (Linux 5.9 or newer). So

    * setuid programs such as `sudo` run without their privileges;
    * connections made in other ways are not redirected: io_uring, `MSG_FASTOPEN`, UDP, 32-bit
      programs and non-dumpable programs connect to the pod's address directly;
    * the kernel must allow ptrace of child processes: `kernel.yama.ptrace_scope` 0 or 1, and in
      Docker containers `--cap-add SYS_PTRACE`;
    * `--exec` cannot be combined with `--json`, `--route` or `--sudo`, and not nested.

  ## Command line options

    * `-n`, `--namespace NAME` - a namespace, instead of the context's
    * `-c`, `--container NAME` - the container whose spec leads to the cookie
    * `-l`, `--selector LABELS` - a label selector, instead of TARGET
    * `--context NAME` - a context of the kubeconfig, instead of its current one
    * `--kubeconfig PATH` - a kubeconfig, instead of `KUBECONFIG` or `~/.kube/config`
    * `--node NAME` - the node, where a pod has several
    * `--port NUMBER` - the node's distribution port, where the pod has no epmd and its spec does not
      tell it
    * `--cookie-file PATH` - a file with the cookie, where the pod's spec does not lead to it
    * `--cookie-from exec` - the cookie from the running node itself, by a command in its container;
      needs `- {apiGroups: [""], resources: [pods/exec], verbs: [get, create]}` in the Role
    * `--protocol NAME` - what is spoken on the way to the pod: `spdy`; `websocket`, SPDY inside of a
      WebSocket where the server can do that; `v4`, a WebSocket (v4.channel.k8s.io) for each stream; or
      `auto`, the default: SPDY, and a WebSocket where something in between refuses it, or the Role has
      `get` on pods/portforward and not `create`, which is enough up to Kubernetes 1.34
    * `--timeout MS` - for each request to the API server, and for a login plugin before it, 15000
      unless given
    * `--connect-timeout MS` - for the whole connection setup, 60000 unless given; no limit where a login
      plugin can ask on the terminal
    * `--yes` - connects to a context that is protected without asking, see below
    * `--json` - what was asked for, or the error, as an object on standard output
    * `--verbose` - also the steps of the protocols, with their times

  ## Environment

  `KUBECONFIG`, and `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` by kubectl's rules; a kubeconfig's
  `proxy-url` comes before them. A login plugin (`exec` in the kubeconfig) gets all of it
  whose names a shell knows, and may ask on the terminal unless IEx runs in this BEAM.

  ## Configuration

      config :k8s_connect,
        namespace: "shop",
        targets: [prod: [context: "prod", target: "sts/app"]]

  sets defaults for the options, and `mix k8s.connect prod` is then
  `mix k8s.connect sts/app --context prod`.

      config :k8s_connect, protect: ["prod*"]

  has the name of a context that matches typed in before it is connected to. Without a terminal
  it takes `--yes`. Listing pods, and the doctor up to the node, do not ask.

  ## Output and exit codes

  Steps with their milliseconds and errors go to standard error; what was asked for goes to standard
  output. The first step says what is about to be connected: context / namespace / target / route.
  Exit codes: 0 success; 1 the connection failed or was lost for good, or the expression raised; 2 usage error. With `--exec`: the command's exit code. With `--json` standard output has
  `{"connection": …}`, `{"result": "…"}` of `--rpc`, or `{"pods": […]}`; with `--hold` also `{"event":
  "reconnecting", …}` and `{"event": "up", …}`; and `{"error": {"stage": …, "kind": …, "message": …, "command": …, "exit_code": …}}`.

  But for `iex -S mix`, which starts it, the project is not compiled first: one that does not compile
  can connect all the same. The
  connection is a hidden one, so `Node.list()` does not have it, and `Node.list(:connected)` does.
  """

  use Mix.Task

  alias K8sConnect.Error
  alias Mix.K8sConnect.{All, Console, Options, Project, Shell}

  @impl true
  def run(arguments) do
    # `mix do` may have another one.
    Mix.Task.reenable("k8s.connect")
    {_result, _parsed, format} = parsed = Options.parse(arguments)
    Project.load(format)

    case Options.check(parsed) do
      {:ok, {:list, options}, format} ->
        Console.list([interactive: Shell.asks?()] ++ options, format)

      {:ok, {:connect, target, options, mode}, format} ->
        output = {format, target, options}
        check_mode(mode, output)
        with_connection(target, options, format, &Console.run(mode, &1, output))

      {:ok, {:connect_all, target, options, mode}, format} ->
        with_all(target, options, format, &All.run(mode, &1, {format, target, options}))

      {:ok, {:exec, [{_target, options} | _more] = targets, command}, format} ->
        exec(targets, {command, options}, [], format)

      {:error, error, format} ->
        Console.fail(error, format)
    end
  end

  # Both shells would read from the one terminal.
  defp check_mode(:remsh, output) do
    if Shell.iex?(),
      do: Console.fail(Error.new(:options, {:remsh_in_iex, %{}}), output),
      else: :ok
  end

  defp check_mode(_mode, _output), do: :ok

  defp exec([], command, connections, _format),
    do: connections |> Enum.reverse() |> Console.exec(command)

  defp exec([{target, options} | targets], command, connections, format) do
    with_connection(target, [route: :exec] ++ options, format, fn connection ->
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

  defp here do
    [
      progress: &Console.step/1,
      confirm: &Console.confirm/1,
      interactive: Shell.asks?()
    ]
  end
end
