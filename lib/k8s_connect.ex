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
    Group,
    Native,
    Options,
    Pod,
    Protection,
    Route,
    Session,
    Sessions
  }

  @typedoc """
  A connection, or what stands for it: the name of a supervised one, its process, or what `connect_all/2` has
  returned.
  """
  @type server :: Connection.t() | GenServer.server()

  @typedoc """
  What a process gets that has subscribed, as `{:k8s_connect, reference, event}`. `attempt` counts from 1 after
  each loss and begins in `delay` milliseconds. `{:down, nil}` is an end that was asked for.
  """
  @type event ::
          {:up, Connection.t()}
          | {:reconnecting, reason :: Error.t(), attempt :: pos_integer(),
             delay :: non_neg_integer()}
          | {:down, Error.t() | nil}

  @doc """
  Connects to the node in a pod.

  `target` is a pod (`"app-0"`), or something that has pods, of which the first ready one is taken:
  `"sts/app"`, `"deploy/web"`, `"svc/app"`; or a name from `config :k8s_connect, targets:
  [prod: [context: "prod", target: "sts/app"]]`. With the option `:selector` it may be `nil`.

  Connecting twice to one pod gives the same connection. It belongs to the VM and not to the
  caller. It ends with `disconnect/1` or `Node.disconnect/1`; when it is lost, it is restored: to the same pod, or
  to one that replaces it. An attempt ends with its caller.

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
    * `:reconnect` - whether a lost connection is restored: `true`, the default, until it is ended; `false`; or
      `[max_attempts: number, deadline: milliseconds]`, both counted from each loss. The route `:exec` never does.
      See the [guide](keeping-a-connection.md).
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
      options = confirmed(options, place.context)
      {:ok, _started} = Application.ensure_all_started(:k8s_connect)

      case reconnecting(place, options) do
        nil -> start(options)
        connection -> await_up(connection, options.connect_timeout)
      end
      |> Error.for_request(target, place)
    end
  end

  defp start(options) do
    reference = make_ref()
    arguments = %{caller: self(), reference: reference, options: Map.delete(options, :progress)}
    {:ok, session} = Sessions.start({Session, arguments})
    await(reference, Process.monitor(session), options)
  end

  # It was lost, and is about to be back.
  defp reconnecting(place, %{target: %{target: target, labels: labels}}) do
    Enum.find(connections(), fn connection ->
      connection.state == :reconnecting and connection.target == (target || labels) and
        connection.context == place.context and connection.namespace == place.namespace
    end)
  end

  # This context and no other, which may be the current one by now.
  defp confirmed(options, "in-cluster"), do: %{options | confirmed: true}

  defp confirmed(options, context),
    do: put_in(%{options | confirmed: true}.api.context, context)

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
  Connects to every running pod of a target, and follows it: a pod that comes is connected to, the connection to
  one that goes is ended.

      iex> {:ok, group} = K8sConnect.connect_all("sts/app")
      iex> for connection <- K8sConnect.connections(group), do: connection.node
      [:"app@10.244.1.2", :"app@10.244.1.3"]

  Returns when each of the pods is connected, or has failed for good: `status/1` has the failures. One watch of
  the API server serves all of them. `disconnect/1` with the group ends all of it. Takes the options of
  `connect/2`, and `:name`.

  ## Errors

  `{:error, error}` if the pods cannot be listed, or if there are some and none could be connected.
  """
  @spec connect_all(String.t() | nil, keyword()) :: {:ok, pid()} | {:error, Error.t()}
  def connect_all(target, options \\ []) do
    {name, options} = Keyword.pop(options, :name)
    target |> do_connect_all(name, options) |> Error.for_request(target, options)
  end

  defp do_connect_all(target, name, options) do
    with {:ok, options} <- Options.connect(target, options),
         {:ok, place} <- Native.call(:resolve, [Native.with_environment(options.api)]),
         :ok <- Protection.check(place.context, options) do
      options.progress.(first_step(place, options))
      options = confirmed(options, place.context)
      {:ok, _started} = Application.ensure_all_started(:k8s_connect)
      arguments = %{name: name, options: Map.delete(options, :progress)}

      with {:ok, group} <- Sessions.start({Group, arguments}), do: await_all(group, options)
    end
  end

  defp await_all(group, options) do
    case Group.await(group, options.connect_timeout) do
      {:ok, [], [{_pod, error} | _more]} ->
        disconnect(group)
        {:error, error}

      {:ok, _connections, _failed} ->
        {:ok, group}

      {:error, error} ->
        {:error, error}
    end
  catch
    :exit, {:timeout, _call} ->
      details = %{
        ms: options.connect_timeout,
        step: nil,
        target: options.target.target || options.target.labels
      }

      disconnect(group)
      {:error, Error.new(:connect, {:timeout, details})}
  end

  @doc """
  Keeps a connection in a supervision tree.

      children = [
        {K8sConnect, target: "sts/app", name: MyApp.Prod}
      ]

  Options are those of `connect/2`, and

    * `:target` - as for `connect/2`.
    * `:name` - what the connection is known by, for `node!/1`, `subscribe/1` and the others.
    * `:all` - `true` connects to every running pod of the target, as `connect_all/2` does.

  Starting does not wait for the connection, and does not fail with it: attempts are repeated with backoff, as
  after a loss. An error that another attempt would repeat is logged, and ends the process with
  `{:shutdown, error}`; it is not restarted then, as its restart is `:transient`. `await_up/2` waits.

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
  Starts a connection that is linked to the caller; see `child_spec/1`.
  """
  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(options) do
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
  Ends a connection, given by itself, its node, its name or its process. When this returns nothing of it is left.
  It does nothing if there is no such connection.
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
  The node that is connected now: after a pod was replaced it usually has another name.

  Raises a `K8sConnect.Error` while the connection is not up.
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
  Waits until the connection is up.

  ## Errors

  `{:error, error}` if it is not after `timeout` milliseconds, or if it has ended.
  """
  @spec await_up(server(), timeout()) :: {:ok, Connection.t()} | {:error, Error.t()}
  def await_up(server, timeout \\ 60_000) do
    :gen_statem.call(process(server), :await_up, timeout)
  catch
    :exit, {:timeout, _call} ->
      {:error, Error.new(:connect, {:timeout, %{ms: timeout, step: nil, target: target(server)}})}

    :exit, _ended ->
      {:error, ended(server)}
  end

  @doc """
  What is known of a connection:

    * `:state` - `:connecting`, `:up`, `:reconnecting`, or `:down` if there is none.
    * `:target` - what is connected to.
    * `:connection` - the `t:K8sConnect.Connection.t/0`, or the last one; `nil` before the first.
    * `:since` - when it came to this state.
    * `:attempts` - attempts since the loss.
    * `:reconnects` - how often it was lost and came back.
    * `:error` - why it was lost, or why the last attempt has failed; `nil` when it is up.

  For what `connect_all/2` has returned: `:state` is `:all`, `:connections` has those of the pods, `:pods` is how
  many there are, and `:failed` has the errors of pods that could not be connected, by name.
  """
  @spec status(server()) :: map()
  def status(server) do
    :gen_statem.call(process(server), :status)
  catch
    :exit, _ended ->
      %{state: :down, target: target(server), connection: nil, error: ended(server)}
  end

  @doc """
  The `status/1` of each connection.
  """
  @spec status() :: [map()]
  def status, do: for(%{session: session} <- connections(), do: status(session))

  @doc """
  Sends the calling process what happens to a connection, as `{:k8s_connect, reference, event}` with a `t:event/0`,
  beginning with what it is now. For what `connect_all/2` has returned, events of its connections come as
  `{:k8s_connect, reference, session, event}`, with the connection's `:session`.

      iex> reference = K8sConnect.subscribe(connection)
      iex> receive do: ({:k8s_connect, ^reference, {:up, connection}} -> connection.node)
      :"app@10.244.1.2"

  Raises a `K8sConnect.Error` if it has ended.
  """
  @spec subscribe(server()) :: reference()
  def subscribe(server) do
    :gen_statem.call(process(server), {:subscribe, self()})
  catch
    :exit, _ended -> raise ended(server)
  end

  @doc """
  Ends a subscription.
  """
  @spec unsubscribe(server(), reference()) :: :ok
  def unsubscribe(server, reference) do
    :gen_statem.call(process(server), {:unsubscribe, reference})
  catch
    :exit, _ended -> :ok
  end

  defp process(%Connection{session: session}), do: session
  defp process(server), do: server

  defp target(%Connection{target: target}), do: target
  defp target(server), do: inspect(server)

  defp ended(server), do: Error.new(:connect, {:not_up, %{target: target(server), state: :down}})

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
  The connections, those that are reconnecting included: see their `:state`.
  """
  @spec connections() :: [Connection.t()]
  def connections, do: for({_session, connection} <- Sessions.list(), do: connection)

  @doc """
  The connections of what `connect_all/2` has returned.
  """
  @spec connections(server()) :: [Connection.t()]
  def connections(group), do: Map.get(status(group), :connections, [])

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
        details = %{node: options.target.target || "the pod", reason: nil}
        {:error, Error.new(:connect, {:lost, details})}

      {:DOWN, ^monitor, :process, _session, reason} ->
        {:error, Error.new(:connect, {:session_crashed, %{problem: inspect(reason, limit: 5)}})}
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
