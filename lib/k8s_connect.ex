defmodule K8sConnect do
  @moduledoc """
  Connects this BEAM to the Erlang node in a Kubernetes pod.

      iex> {:ok, connection} = K8sConnect.connect("app-0")
      iex> :erpc.call(connection.node, :erlang, :node, [])
      :"app@10.244.1.2"

  It finds the pod through the API server, reads the node's cookie where the pod gets it, and runs the Erlang
  distribution protocol over a port-forward. It needs no VM flag and no privilege, and opens no port. The node
  is connected as a hidden node: production sees no new cluster member, and `Node.list(:connected)` has it here.

  If this BEAM is not distributed, distribution is started, and stopped again with the last disconnect. A lost
  connection is restored: see the guide [Keeping a connection](keeping-a-connection.md).
  """

  alias K8sConnect.{Command, Connection, Error, Group, Native, Options}
  alias K8sConnect.{Pod, Preload, Server, Session, Sessions, Setup}

  @typedoc """
  A connection, the name of a supervised connection, or the process of a connection or of a group of
  `connect_all/2`.
  """
  @type server :: Connection.t() | GenServer.server()

  @typedoc """
  The event in `{:k8s_connect, reference, event}`, which `subscribe/1` describes. `attempt` counts from 1 after each
  loss, and begins in `delay` milliseconds. With `{:down, nil}` the user or the owner has ended the connection.
  """
  @type event ::
          {:up, Connection.t()}
          | {:reconnecting, reason :: Error.t(), attempt :: pos_integer(),
             delay :: non_neg_integer()}
          | {:refused, kind :: atom(), detail :: String.t()}
          | {:down, Error.t() | nil}

  @doc """
  Connects to the node in a pod.

  `target` is a pod (`"app-0"`), a workload (`"sts/app"`, `"deployment.apps/web"`), a Service (`"svc/app"`), any owner
  of pods (`"rollout.argoproj.io/web"`, `"rabbitmqcluster/mq"`), or a name from
  `config :k8s_connect, targets: [prod: [context: "prod", target: "sts/app"]]`. If several pods match, `connect/2`
  connects to the first ready pod. With the option `:selector`, `target` may be `nil`.

  A second call for the same pod returns the same connection, with the options of the first. If its `:trust`,
  `:read_only` or `:audit` differ, the call returns an error: disconnect first. The connection belongs to the VM, not
  to the calling process. `disconnect/1` and `Node.disconnect/1` end the connection. If the connection is lost,
  k8s_connect reconnects to the same pod or to its replacement. If the calling process exits while it connects, the
  attempt ends.

  ## Options

    * `:kubeconfig`, `:context`, `:namespace`, `:timeout`, `:interactive` - as for `pods/1`. `:timeout`
      is the timeout of each request to the API server.
    * `:selector` - a label selector instead of a target: `"app=web"`.
    * `:container` - the container whose spec has the cookie. The default is the container that looks like an
      Erlang node, otherwise the pod's default container, otherwise the first container.
    * `:node` - the name of the node before the `@`, if the pod has several nodes.
    * `:port` - the node's distribution port. It is needed if the pod has no epmd and the pod's spec does not have
      the port. In the spec, k8s_connect looks for `ERL_DIST_PORT`, for `-erl_epmd_port` in the options or the
      command, and for a container port whose name contains `erl`, `beam` or `dist`.
    * `:cookie`, `:cookie_file` - the cookie, or a file with the cookie, if the pod's spec does not have it. Unless
      `RELEASE_COOKIE` is set, a release reads its cookie from a file in the image.
    * `:cookie_from` - `:spec`, the default, reads the cookie from the pod's spec. `:exec` reads it from the running
      node, with a command in its container. `:exec` needs the verbs `get` and `create` on `pods/exec`.
    * `:tls_ca`, `:tls_cert`, `:tls_key` - PEM files for a node whose distribution is over TLS: the authority of its
      certificate, and a certificate with its key, if the node asks for one. By default they are read from the Secrets
      and ConfigMaps that `-ssl_dist_optfile` in the pod's spec leads to.
    * `:reconnect` - whether to reconnect after a loss: `true`, the default, without a limit; `false`; or
      `[max_attempts: number, deadline: milliseconds]`, both counted from each loss. A connection of the route
      `:exec` never reconnects. See the [guide](keeping-a-connection.md).
    * `:log` - whether to log losses, returns and errors of this connection: `true`, the default, or `false`.
    * `:owner` - a local process. When the owner exits, the connection ends. If the pod is already connected, the
      existing connection keeps its owner.
    * `:connect_timeout` - the timeout of the whole connection setup: milliseconds or `:infinity`. The default is
      60 000, or `:infinity` with `interactive: true`.
    * `:protocol` - the protocol of the port-forward connection: `:spdy`; `:websocket`, SPDY over a WebSocket if the
      server supports it; `:v4`, a WebSocket (`v4.channel.k8s.io`) for each stream; or `:auto`, the default. `:auto`
      uses SPDY. It falls back to a WebSocket if a proxy or gateway rejects SPDY, or if the Role has only `get` on
      `pods/portforward`. Up to Kubernetes 1.34 a WebSocket needs no `create`. For each cluster, `:auto` remembers
      the protocol that worked.
    * `:route` - who can connect to the node:
        * `:vm` - only this BEAM.
        * `:kernel` - all programs of this user, at the pod's IP address. Needs the privileged helper
          (`mix help k8s.helper`).
        * `:exec` - only the command of `exec/2`, at the pod's IP address. This BEAM does not connect to the node.
        * `:auto` - the default: `:kernel` if the helper is installed and works, otherwise `:vm`.
    * `:sudo` - whether to run the helper with `sudo -n`. Implies the kernel route.
    * `:visible` - whether other programs may connect as visible nodes, on the kernel route, which it implies, or with
      `route: :exec`. Implies `:trust`.
      By default both nodes see each other as hidden, because a visible node can make cluster nodes disconnect from
      each other.
    * `:trust` - whether the pod may do here what this VM can do there. By default it may answer, and send messages to
      processes whose pids it was given, but not run code here: see the [guide](trust.md). It is needed for code
      on the pod that calls functions or named processes of this VM, and implied by `:visible`.
    * `:read_only` - whether only certain functions of the pod's node can be called, which read and change nothing. All
      other calls, messages and signals are not sent: see the [guide](trust.md#read-only-connections).
    * `:audit` - a file to which a line is appended for each request to the pod's node and for its end, as JSON: see
      the [guide](production.md#audit). A request does not leave before its line is on the disk.
    * `:audit_arguments` - whether the arguments of calls, cut at 1000 bytes, are in these lines. They can contain
      secrets. Needs `:audit`.
    * `:max_atoms` - how many different atoms the pod may send; 100 000 by default. The connection ends when there are
      more, because the atom table of a VM is limited.
    * `:max_message` - the largest message from the pod, in bytes; 256 MiB by default.
    * `:progress` - a function that is called in the calling process with `{:step, name, detail, milliseconds}` for
      each step. The first step names the context, the namespace, the target and the route.
    * `:verbose` - whether `:progress` is also called for each protocol step, when the step ends, with
      `{:trace, name, detail, microseconds, took}`. `took` is the duration in microseconds, or `nil`.
    * `:yes` - `true` confirms the connection to a protected context, see "Protected contexts".
    * `:confirm` - an alternative to `:yes`: a function that is called in the calling process with the name of the
      protected context. It returns whether to connect.

  `config :k8s_connect, namespace: "shop"` sets the default of an option. `:yes` and `:confirm` cannot be set there.

  ## Protected contexts

      config :k8s_connect, protect: ["prod*"]

  This protects each context whose name matches. `connect/2` connects to a protected context only after `:yes` or
  `:confirm` confirms it. With `:trust` only `:confirm` does.

  ## Errors

  `{:error, error}` with a `K8sConnect.Error`. Raises `ArgumentError` for invalid options and configuration.
  """
  @spec connect(String.t() | nil, keyword()) :: {:ok, Connection.t()} | {:error, Error.t()}
  def connect(target, options \\ []) do
    :ok = Preload.connect()
    target |> Setup.connect(options) |> Error.for_request(target, options)
  end

  @doc """
  Like `connect/2`, but returns the connection, or raises the `K8sConnect.Error`.
  """
  @spec connect!(String.t() | nil, keyword()) :: Connection.t()
  def connect!(target, options \\ []) do
    case connect(target, options) do
      {:ok, connection} -> connection
      {:error, error} -> raise error
    end
  end

  @doc """
  Connects to every running pod of a target. It also connects to pods that are added later, and disconnects from pods
  that are removed.

      iex> {:ok, group} = K8sConnect.connect_all("sts/app")
      iex> for connection <- K8sConnect.connections(group), do: connection.node
      [:"app@10.244.1.2", :"app@10.244.1.3"]

  Returns the group of these connections, as soon as each pod is connected or has failed with an error that
  another attempt would repeat. `status/1` returns these errors. The group uses one watch on the API server for all
  pods. `disconnect/1` with the group ends all connections of the group. The options are those of `connect/2`, and
  `:name`, a name for the group.

  ## Errors

  `{:error, error}` if the pods cannot be listed, if pods match and no pod could be connected, after `:connect_timeout`,
  or if another process has the `:name`. Nothing is left of the group then.
  """
  @spec connect_all(String.t() | nil, keyword()) :: {:ok, pid()} | {:error, Error.t()}
  def connect_all(target, options \\ []) do
    :ok = Preload.connect()
    {name, options} = Keyword.pop(options, :name)
    target |> Setup.connect_all(name, options) |> Error.for_request(target, options)
  end

  @doc """
  Keeps a connection in a supervision tree.

      children = [
        {K8sConnect, target: "sts/app", name: MyApp.Prod}
      ]

  The options are those of `connect/2`, and

    * `:target` - as for `connect/2`.
    * `:name` - a name for the connection. `node!/1`, `subscribe/1` and the other functions accept the name.
    * `:all` - `true` connects to every running pod of the target, as `connect_all/2` does.

  The process starts before the connection is up, and retries a failed attempt with backoff, as after a loss.
  `await_up/2` waits for the connection. If another attempt would repeat the error, the process logs the error and
  exits with `{:shutdown, error}`. The supervisor does not restart the process then, because its restart is
  `:transient`.

  A protected context needs `yes: true`.
  """
  @spec child_spec(keyword()) :: Supervisor.child_spec()
  def child_spec(options) do
    %{
      id: options[:name] || __MODULE__,
      start: {__MODULE__, :start_link, [options]},
      restart: :transient
    }
  end

  @doc """
  Starts the process of a connection, linked to the calling process. The options are those of `child_spec/1`.
  """
  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(options) do
    :ok = Preload.connect()
    {own, options} = Keyword.split(options, [:target, :name, :all])

    with {:ok, options} <- Options.connect(own[:target], options) do
      {:ok, _started} = Application.ensure_all_started(:k8s_connect)
      options = Map.delete(options, :progress)

      if own[:all],
        do: Group.start_link(%{name: own[:name], options: options}),
        else: Session.start_link(%{name: local(own[:name]), options: options})
    end
  end

  defp local(name) when is_atom(name) and name != nil, do: {:local, name}
  defp local(name), do: name

  @doc """
  Ends a connection or a group. The argument is the connection, its node, its name or its process. When
  `disconnect/1` returns, nothing of the connection is left. If there is no such connection, it does nothing.
  """
  @spec disconnect(server() | node()) :: :ok
  def disconnect(%Connection{session: session}), do: Session.disconnect(session)
  def disconnect(pid) when is_pid(pid), do: Session.disconnect(pid)

  def disconnect(name) do
    sessions = if is_atom(name), do: Sessions.of(name), else: []

    case {sessions, GenServer.whereis(name)} do
      {[], pid} when is_pid(pid) -> Session.disconnect(pid)
      {sessions, _pid} -> Enum.each(sessions, &Session.disconnect/1)
    end
  end

  @doc """
  Returns the name of the connected node. After the pod is replaced, the node usually has another name.

  Raises a `K8sConnect.Error` if the connection is not up.
  """
  @spec node!(server()) :: node()
  def node!(server) do
    case status(server) do
      %{state: :up, connection: %{node: node}} ->
        node

      status ->
        details = %{target: status[:target], state: status[:state]}
        raise status[:error] || Error.new(:connect, {:not_up, details})
    end
  end

  @doc """
  Waits until the connection is up. For a group of `connect_all/2`, waits until each pod of its first list is
  connected or has failed, and returns the connections.

  ## Errors

  `{:error, error}` if the connection is not up after `timeout` milliseconds, or if it has ended.
  """
  @spec await_up(server(), timeout()) ::
          {:ok, Connection.t() | [Connection.t()]} | {:error, Error.t()}
  def await_up(server, timeout \\ 60_000), do: Server.await_up(server, timeout)

  @doc """
  Returns the status of a connection:

    * `:state` - `:connecting`, `:up`, `:reconnecting`, or `:down` if there is no connection.
    * `:target` - the target of the connection.
    * `:connection` - the current or the last `t:K8sConnect.Connection.t/0`; `nil` before the first.
    * `:since` - the time at which the connection entered this state.
    * `:attempts` - the number of attempts since the loss.
    * `:reconnects` - how often the connection was lost and restored.
    * `:error` - the error of the loss or of the last failed attempt; `nil` when the connection is up.
    * `:trust` - whether the pod is trusted, see `connect/2`.
    * `:read_only` - whether only functions that read can be called, see `connect/2`.
    * `:audit` - the file of the audit log, or `nil`.
    * `:refused` - what the pod tried and may not do here, as a map from kind to number: `%{spawn: 2}`. `:read_only`
      counts what was not sent to the pod.

  For a group of `connect_all/2`, `:state` is `:all`, `:connections` has the connections, `:pods` is the number of
  pods, and `:failed` has the errors of the pods that could not be connected, by pod name.
  """
  @spec status(server()) :: map()
  def status(server), do: Server.status(server)

  @doc """
  Returns the `status/1` of each connection.
  """
  @spec status() :: [map()]
  def status, do: for(%{session: session} <- connections(), do: status(session))

  @doc """
  Subscribes the calling process to the events of a connection. The process receives
  `{:k8s_connect, reference, event}` with a `t:event/0`. The first event has the current state. For a group of
  `connect_all/2`, it receives `{:k8s_connect, reference, session, event}` for each connection. `session` is the
  `:session` of the connection.

      iex> reference = K8sConnect.subscribe(connection)
      iex> receive do: ({:k8s_connect, ^reference, {:up, connection}} -> connection.node)
      :"app@10.244.1.2"

  Raises a `K8sConnect.Error` if the connection has ended.
  """
  @spec subscribe(server()) :: reference()
  def subscribe(server), do: Server.subscribe(server)

  @doc """
  Ends a subscription.
  """
  @spec unsubscribe(server(), reference()) :: :ok
  def unsubscribe(server, reference), do: Server.unsubscribe(server, reference)

  @doc """
  Runs a command. Only the command and its child processes can connect to the pod's IP address.

      iex> {:ok, connection} = K8sConnect.connect("app-0", route: :exec)
      iex> K8sConnect.exec(connection, ["iex", "--name", "me@127.0.0.1"])
      {:ok, 0}

  Takes one or several connections of the route `:exec`. Returns the command's exit code: 128+N if signal N killed
  it. The command inherits this BEAM's standard input, output and terminal. IEx must not read from the terminal at
  the same time. When a connection is lost, the command gets SIGHUP, and SIGKILL two seconds later.

  ## Options

    * `:env` - environment variables of the command, in addition to those of this VM: `[{"NAME", "value"}]`.

  `mix help k8s.connect` lists the requirements and the limits.

  ## Errors

  `{:error, error}` with a `K8sConnect.Error`. Its stage is `:exec` if the command was not started.
  """
  @spec exec(Connection.t() | [Connection.t(), ...], [String.t(), ...], keyword()) ::
          {:ok, 0..255} | {:error, Error.t()}
  def exec(connections, command, options \\ []) do
    [%{pod: pod} = connection | _more] = connections = List.wrap(connections)
    place = Map.take(connection, [:context, :namespace, :route])
    connections |> Command.run(command, options[:env] || []) |> Error.for_request(pod, place)
  end

  @doc """
  Returns all connections, also those whose `:state` is `:reconnecting`.
  """
  @spec connections() :: [Connection.t()]
  def connections, do: for({_session, connection} <- Sessions.list(), do: connection)

  @doc """
  Returns the connections of a group of `connect_all/2`.
  """
  @spec connections(server()) :: [Connection.t()]
  def connections(group), do: Map.get(status(group), :connections, [])

  @doc """
  Lists the pods of a namespace or of a target, by name.

  The list is also empty if the namespace does not exist, because the API server gives the same answer. If there is no
  pod of the target, that is an error.

  ## Options

    * `:target` - lists the pods of this target only: a pod, a workload, a Service or a name from the configuration, as
      for `connect/2`.
    * `:selector` - a label selector such as `"app=web"`, instead of `:target`.
    * `:all_namespaces` - `true` lists the pods of all namespaces; `:namespace` is ignored then, as by kubectl. It needs
      the verb `list` on `pods` in a ClusterRole. A target is in one namespace: with `:target` this is ignored.
    * `:kubeconfig` - the path of a kubeconfig file. By default k8s_connect merges the files of `KUBECONFIG`, or reads
      `~/.kube/config`, as `kubectl` does.
    * `:context` - a context of the kubeconfig, instead of its `current-context`.
    * `:namespace` - a namespace; by default the namespace of the context, or `"default"` if the context has none.
    * `:timeout` - the timeout of the whole request in milliseconds, by default 15 000. An exec plugin of the
      kubeconfig runs before the request, and has its own timeout of the same length.
    * `:interactive` - `true` allows an exec plugin to prompt on the terminal, and removes the plugin's timeout. The
      default is `false`. Do not set it in IEx: the plugin and IEx would both read from the terminal.

  ## Errors

  `{:error, error}` with a `K8sConnect.Error`. `Exception.message(error)` has what failed, the cause and the next
  command. `pods/1` needs the verb `list` on `pods` in the namespace. It raises `ArgumentError` for invalid options
  and configuration.
  """
  @spec pods(keyword()) :: {:ok, [Pod.t()]} | {:error, Error.t()}
  def pods(options \\ []) do
    {api, query} = Options.pods(options)
    api = Native.with_environment(api)

    with {:error, _error} = failure <- Native.call(:list_pods, [api, query]) do
      failure
      |> Error.for_request(:pods, resolved(api))
      |> Error.for_request(:pods, options)
      |> Error.for_request(query.target, [])
    end
  end

  defp resolved(api) do
    case Native.call(:resolve, [api]) do
      {:ok, place} -> place
      {:error, _error} -> []
    end
  end
end
