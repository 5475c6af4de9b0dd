defmodule K8sConnect.IEx do
  @moduledoc """
  Helpers for IEx. They print errors, where the functions of `K8sConnect` return them.

      iex> import K8sConnect.IEx
      iex> pods()
      app-0  Running
      iex> connect("app-0")
      connecting   testcluster / default / app-0 / route vm (0 ms)
      …
      iex> on("app-0", "node()")
      :"app@10.244.1.2"

  This line in `.iex.exs` imports them at each start of IEx if k8s_connect is available:

      import_if_available K8sConnect.IEx

    * `pods/1` - the pods that look like Erlang nodes
    * `connect/2` - connects to a pod's node
    * `nodes/0` - the connections
    * `on/2` and `on/4` - run code on a pod's node
    * `top/2` - prints its busiest processes
    * `trace/3` - prints calls of functions there, and stops by itself

  The target is as for `K8sConnect.connect/2`: `"app-0"`, `"sts/app"`, or a target of the configuration. `on`, `top` and
  `trace` also accept a `K8sConnect.Connection` and a node. They use the existing connection to the target, or connect.
  IEx does not complete targets in strings.

  For a shell on the pod's node, use `mix k8s.connect app-0 --remsh` in another terminal, because two shells cannot read
  from one terminal.
  """

  alias K8sConnect.{Connection, Error, EscapeSequences, Snapshot, Trace}
  alias K8sConnect.IEx.Remote

  @type target :: String.t() | Connection.t() | node()

  @doc """
  Prints the pods that look like Erlang nodes. The options are those of `K8sConnect.pods/1`.

      iex> pods(namespace: "shop")
      app-0  Running
      app-1  Running
  """
  @spec pods(keyword()) :: :ok
  def pods(options \\ []) do
    with {:ok, pods} <- attempt(fn -> K8sConnect.pods(options) end) do
      pods |> Enum.filter(& &1.beam) |> print_pods()
    end

    :ok
  end

  defp print_pods([]), do: say("no pods look like Erlang nodes")
  defp print_pods(pods), do: Enum.each(pods, &say("#{&1.name}  #{&1.status}"))

  @doc """
  Connects to the node in a pod, prints the steps, and returns the connection, or `nil`. The options are those of
  `K8sConnect.connect/2`.

      iex> connection = connect("sts/app", namespace: "shop")
  """
  @spec connect(String.t() | nil, keyword()) :: Connection.t() | nil
  def connect(target, options \\ []) do
    case attempt(fn -> K8sConnect.connect(target, [progress: &step/1] ++ options) end) do
      {:ok, connection} -> connection
      :error -> nil
    end
  end

  defp step({:step, name, detail, ms}),
    do: say("#{String.pad_trailing(name, 12)} #{detail} (#{ms} ms)")

  defp step(_trace), do: :ok

  @doc """
  Prints the connections: node, state, pod and context.

      iex> nodes()
      app@10.244.1.2  up  shop/app-0  prod
  """
  @spec nodes() :: :ok
  def nodes do
    case K8sConnect.connections() do
      [] ->
        say("no connections. Connect with: connect(\"app-0\")")

      connections ->
        for c <- connections,
            do: say("#{c.node}  #{c.state}  #{c.namespace}/#{c.pod}  #{c.context}")

        :ok
    end
  end

  @doc """
  Evaluates an expression on a pod's node, with the modules of that node, and returns its value.

      iex> on("app-0", "System.version()")
      "1.18.4"

  The node needs Elixir, and makes the text of an exception. Functions of this shell are not accepted, because the node
  does not have their module.
  """
  @spec on(target(), String.t()) :: term()
  def on(target, expression) when is_binary(expression) do
    with_node(target, &Remote.evaluate(&1, expression))
  end

  def on(_target, fun) when is_function(fun) do
    say(
      "a function of this shell cannot run on another node, which does not have its module. Pass text, or use on/4:"
    )

    say("    on(target, \"node()\")")
    say("    on(target, :erlang, :node, [])")
    nil
  end

  @doc """
  Calls a function on a pod's node, and returns its result. The node does not need Elixir.

      iex> on("app-0", :erlang, :memory, [:total])
      41857024
  """
  @spec on(target(), module(), atom(), [term()]) :: term()
  def on(target, module, function, arguments)
      when is_atom(module) and is_atom(function) and is_list(arguments) do
    with_node(target, &Remote.call(&1, module, function, arguments))
  end

  @doc """
  Prints the busiest processes of a pod's node. The options are those of `K8sConnect.Snapshot.take/2`, with a `:limit` of
  10.

      iex> top("app-0", sort: :memory, limit: 2)
      pid          reductions/s  memory (bytes)  messages  process
      <0.50.0>                0         1057728         0  :code_server
      <0.1034.0>            211          318504         0  MyApp.Cache
  """
  @spec top(target(), keyword()) :: :ok
  def top(target, options \\ []) do
    with_node(target, fn node ->
      options = Keyword.merge([limit: 10, tables: false], options)

      with {:ok, snapshot} <- attempt(fn -> Snapshot.take(node, options) end),
           do: {:ok, print_processes(snapshot.processes)}
    end)

    :ok
  end

  defp print_processes(processes) do
    say("pid          reductions/s  memory (bytes)  messages  process")

    for process <- processes do
      numbers = [{process.reductions, 12}, {process.memory, 14}, {process.messages, 8}]
      columns = for {number, width} <- numbers, do: String.pad_leading("#{number}", width)
      pid = process.pid |> Snapshot.pid() |> String.pad_trailing(11)
      say(Enum.join([pid] ++ columns ++ [process.name], "  "))
    end

    :ok
  end

  @doc """
  Prints calls of functions on a pod's node, and stops by itself. Patterns and options are those of `K8sConnect.Trace`.

      iex> trace("app-0", "MyApp.Cart.add/2", limit: 10)
      09:30:00.104211 <0.845.0> MyApp.Cart.add(%MyApp.Cart{items: []}, 7)
      09:30:00.104298 <0.845.0> MyApp.Cart.add/2 -> {:ok, %MyApp.Cart{items: [7]}} (87 µs)
      stopped after 1 call: the time is over
  """
  @spec trace(target(), Trace.pattern() | [Trace.pattern()], keyword()) :: :ok
  def trace(target, patterns, options \\ []) do
    with_node(target, fn node ->
      print = &IO.puts(Trace.format(&1))

      with {:ok, summary} <- attempt(fn -> Trace.each(node, patterns, options, print) end),
           do: stopped(summary, node)
    end)

    :ok
  end

  defp stopped(%{stopped: :overload, calls: calls}, node),
    do: {:error, Error.new(:remote, {:overload, %{node: node, calls: calls}})}

  defp stopped(%{stopped: reason, calls: calls}, _node) do
    say("stopped after #{calls} #{if calls == 1, do: "call", else: "calls"}: #{why(reason)}")
    {:ok, nil}
  end

  defp why(:limit), do: "the limit is reached"
  defp why(:time), do: "the time is over"

  # The connection to a target, or a new one.
  defp with_node(target, fun) do
    with node when node != nil <- node_of(target),
         {:ok, value} <- print_error(fun.(node)) do
      value
    else
      _printed -> nil
    end
  end

  defp node_of(%Connection{} = connection) do
    with {:ok, node} <- attempt(fn -> {:ok, K8sConnect.node!(connection)} end),
         do: node,
         else: (_printed -> nil)
  end

  defp node_of(node) when is_atom(node), do: node

  defp node_of(target) when is_binary(target) do
    named = &(&1.state == :up and target in [&1.target, &1.pod, "pod/#{&1.pod}"])

    case Enum.filter(K8sConnect.connections(), named) do
      [connection] -> connection.node
      _none_or_several -> with(%Connection{node: node} <- connect(target), do: node)
    end
  end

  # Options and the state of a connection raise.
  defp attempt(fun) do
    print_error(fun.())
  rescue
    error in [Error, ArgumentError] -> print_error({:error, error})
  end

  defp print_error({:error, error}) do
    say(Exception.message(error))
    :error
  end

  defp print_error(result), do: result

  defp say(text), do: :unicode |> EscapeSequences.text(Error.printable(text)) |> IO.puts()
end
