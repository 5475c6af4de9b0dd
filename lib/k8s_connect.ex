defmodule K8sConnect do
  @moduledoc """
  Connects the BEAM in front of you to the Erlang node in a Kubernetes pod.

      iex> {:ok, connection} = K8sConnect.connect("app-0")
      iex> :erpc.call(connection.node, :erlang, :node, [])
      :"app@10.244.1.2"

  No VM flag, no port-forward, no rule, no privilege, and no cookie to type: the pod is looked up
  through the API server, its cookie is read where the pod got it, and the distribution connection
  runs inside of one connection to the API server, to this BEAM only. It is a hidden one:
  production does not see another member of its cluster, and `Node.list(:connected)` shows it here.

  Nothing has to be started first; a BEAM that is no node becomes one for as long as it is
  connected. All Kubernetes work is done in Rust, outside of the schedulers.
  """

  alias K8sConnect.{
    Command,
    Connection,
    Error,
    Native,
    Options,
    Pod,
    Protection,
    Route,
    Session,
    Sessions
  }

  @doc """
  Connects to the node in a pod.

  `target` is a pod (`"app-0"`), or something that has pods, of which the first ready one is taken:
  `"sts/app"`, `"deploy/web"`, `"svc/app"`; or a name from `config :k8s_connect, targets:
  [prod: [context: "prod", target: "sts/app"]]`. With the option `:selector` it may be `nil`.

  Connecting twice to one pod gives the same connection. It belongs to the VM and not to the
  caller; it ends with `disconnect/1`, with `Node.disconnect/1`, or with the node. An attempt ends with
  its caller.

  ## Options

    * `:kubeconfig`, `:context`, `:namespace`, `:timeout`, `:interactive` - as for `pods/1`; the
      timeout is for each request to the API server.
    * `:selector` - a label selector instead of a target: `"app=web"`.
    * `:container` - the container whose spec leads to the cookie. Otherwise it is the one that
      looks like an Erlang node's, the pod's default container, or the first.
    * `:node` - the name of the node before the `@`, where a pod has several.
    * `:port` - the node's distribution port, where there is no epmd in the pod and its spec does
      not tell: by `ERL_DIST_PORT`, by `-erl_epmd_port` in its options or command, or by a port
      whose name speaks of `erl`, `beam` or `dist`.
    * `:cookie`, `:cookie_file` - the cookie, or a file that holds it, where the pod's spec does not
      lead to it: a release keeps its own in the image unless `RELEASE_COOKIE` is set.
    * `:cookie_from` - `:spec`, the default, or `:exec`: the running node's own, by a command in its
      container, which needs the verbs `get` and `create` on `pods/exec`.
    * `:owner` - a local process: the connection ends with it. If there is a connection to the pod
      already, it keeps the owner that it has.
    * `:connect_timeout` - milliseconds for the whole of it, or `:infinity`; 60 000 unless given, and
      `:infinity` with `:interactive`.
    * `:protocol` - what is spoken on the way to the pod: `:spdy`; `:websocket`, SPDY inside of a
      WebSocket where the server can do that; `:v4`, a WebSocket (`v4.channel.k8s.io`) for each stream;
      or `:auto`, the default: SPDY, and a WebSocket where something in between refuses it, or the Role
      has `get` on `pods/portforward` and not `create`, which is enough up to Kubernetes 1.34. What has
      worked is remembered for each cluster.
    * `:route` - `:vm`, from inside of this BEAM; `:kernel`, by the pod's own address and for every
      program of this user, which needs the helper (`mix help k8s.helper`); `:exec`, by that address for
      what `exec/2` runs, while this BEAM does not connect itself; or `:auto`, the default: the
      kernel's where the helper is installed and works, and `:vm` otherwise.
    * `:sudo` - whether the helper is run by `sudo -n`; implies the kernel route.
    * `:visible` - whether other programs on the kernel route may be visible nodes, which can make
      a cluster's nodes drop each other; implies the kernel route. Otherwise both sides of each
      connection see a hidden node.
    * `:progress` - called in this process with `{:step, name, detail, milliseconds}`, first with what
      is about to be connected: context / namespace / target / route.
    * `:verbose` - whether `:progress` also gets what the protocols do, as it ends:
      `{:trace, name, detail, microseconds, took}`, where `took` is `nil` or microseconds, too.
    * `:yes` - `true` confirms a context that is protected, see below.
    * `:confirm` - instead of that, a function that is called in this process with the context's name
      where it is protected, and says whether to go on.

  Defaults for all but the last three can be set with `config :k8s_connect, namespace: "shop"`.

  ## Protected contexts

      config :k8s_connect, protect: ["prod*"]

  A context whose name matches is not connected to before somebody confirms it: `:yes` or `:confirm`.

  ## Errors

  `{:error, error}` with a `K8sConnect.Error`. Raises `ArgumentError` for invalid options and configuration.
  """
  @spec connect(String.t() | nil, keyword()) :: {:ok, Connection.t()} | {:error, Error.t()}
  def connect(target, options \\ []) do
    target |> do_connect(options) |> Error.for_request(target, options)
  end

  defp do_connect(target, options) do
    with {:ok, options} <- Options.connect(target, options),
         {:ok, place} <- Native.call(:resolve, [Native.with_environment(options.api)]),
         :ok <- Protection.check(place.context, options) do
      options.progress.(first_step(place, options))
      options = pin(options, place.context)
      {:ok, _started} = Application.ensure_all_started(:k8s_connect)
      reference = make_ref()

      {:ok, session} =
        Sessions.start({Session, {self(), reference, Map.delete(options, :progress)}})

      reference
      |> await(Process.monitor(session), options)
      |> Error.for_request(target, place)
    end
  end

  # The one that was confirmed: another may be the current one by now.
  defp pin(options, "in-cluster"), do: options
  defp pin(options, context), do: put_in(options.api.context, context)

  # What is about to be connected, before anything is sent.
  defp first_step(place, options) do
    {_routes, why} = Route.choose(options.route)
    %{target: target, labels: labels} = options.target
    where = Enum.join([place.context, place.namespace, target || labels], " / ")
    {:step, "connecting", "#{where} / route #{why}", 0}
  end

  @doc """
  As `connect/2`, and raises the error.
  """
  @spec connect!(String.t() | nil, keyword()) :: Connection.t()
  def connect!(target, options \\ []) do
    case connect(target, options) do
      {:ok, connection} -> connection
      {:error, error} -> raise error
    end
  end

  @doc """
  Ends a connection, given by itself or by its node. When this returns nothing of it is left.
  Where there is no such connection, that is so already.
  """
  @spec disconnect(Connection.t() | node()) :: :ok
  def disconnect(%Connection{node: node}), do: disconnect(node)

  def disconnect(node) when is_atom(node) do
    for session <- Sessions.of(node), do: Session.disconnect(session)
    :ok
  end

  @doc """
  Runs a command, and what it starts, for which the pod's address leads to the pod; for nobody else.

      iex> {:ok, connection} = K8sConnect.connect("app-0", route: :exec)
      iex> K8sConnect.exec(connection, ["iex", "--name", "me@127.0.0.1"])
      {:ok, 0}

  Takes connections of the route `:exec`, one or several, and answers the command's exit code, which is
  128 and the number of the signal where one has ended it. The command has this BEAM's standard
  input, output and terminal, which must not be read by an IEx at the same time. It gets SIGHUP when a
  connection is lost, and SIGKILL two seconds later.

  `mix help k8s.connect` says what it takes and where its limits are.

  ## Errors

  `{:error, error}` with a `K8sConnect.Error`, of the stage `:exec` where the command was not started.
  """
  @spec exec(Connection.t() | [Connection.t(), ...], [String.t(), ...]) ::
          {:ok, 0..255} | {:error, Error.t()}
  def exec(connections, command) do
    [%{pod: pod} = connection | _more] = connections = List.wrap(connections)
    place = Map.take(connection, [:context, :namespace, :route])
    connections |> Command.run(command) |> Error.for_request(pod, place)
  end

  @doc """
  The connections that are up.
  """
  @spec connections() :: [Connection.t()]
  def connections, do: for({_session, connection} <- Sessions.list(), do: connection)

  defp await(reference, monitor, %{progress: progress} = options) do
    receive do
      {^reference, {:step, _name, _detail, _ms} = step} ->
        progress.(step)
        await(reference, monitor, options)

      {^reference, {:trace, _name, _detail, _us, _took} = trace} ->
        progress.(trace)
        await(reference, monitor, options)

      {^reference, {:ok, connection}} ->
        Process.demonitor(monitor, [:flush])
        {:ok, connection}

      {^reference, {:error, error}} ->
        # Nothing is left of the attempt when its failure is told.
        receive do: ({:DOWN, ^monitor, :process, _session, _reason} -> {:error, error})

      # Ended by disconnect/1, by its owner, or with the application.
      {:DOWN, ^monitor, :process, _session, reason} when reason in [:normal, :shutdown] ->
        {:error, Error.new(:connect, {:lost, %{node: options.target.target || "the pod"}})}

      {:DOWN, ^monitor, :process, _session, reason} ->
        {:error, Error.new(:connect, {:session_died, %{problem: inspect(reason, limit: 5)}})}
    end
  end

  @doc """
  Lists the pods of a namespace, by name.

  An empty list also stands for a namespace that does not exist: the API server makes no
  difference.

  ## Options

    * `:kubeconfig` - the path of a kubeconfig file. Without it the files of `KUBECONFIG` are
      merged, or `~/.kube/config` is read, as `kubectl` does.
    * `:context` - a context of the kubeconfig, instead of its `current-context`.
    * `:namespace` - a namespace, instead of the context's, or `"default"`.
    * `:timeout` - milliseconds for the request as a whole, 15 000 unless given. A plugin that has to
      log in first (`exec` in the kubeconfig) may take as long, too.
    * `:interactive` - whether such a plugin may have the terminal, to ask for something; then there is
      no limit to its time. It may not unless this is `true`, and in IEx it never should: both would
      read what is typed.

  ## Errors

  `{:error, error}` with a `K8sConnect.Error`; `Exception.message/1` of it says what was tried,
  what was seen, and what to do next. Needs the verb `list` on `pods` in that namespace. Raises
  `ArgumentError` for invalid options and configuration.
  """
  @spec pods(keyword()) :: {:ok, [Pod.t()]} | {:error, Error.t()}
  def pods(options \\ []) do
    api = options |> Options.api() |> Native.with_environment()

    with {:error, _error} = failure <- Native.call(:list_pods, [api]) do
      failure |> Error.for_request(:pods, resolved(api)) |> Error.for_request(:pods, options)
    end
  end

  defp resolved(api) do
    case Native.call(:resolve, [api]) do
      {:ok, place} -> place
      {:error, _error} -> []
    end
  end
end
