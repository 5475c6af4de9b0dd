defmodule K8sConnect.Trace do
  @moduledoc """
  Traces function calls on a connected node, and stops by itself.

      iex> {:ok, trace} = K8sConnect.Trace.calls(connection, "MyApp.Cart.add/2", limit: 10)
      iex> trace.stopped
      :limit
      iex> for event <- trace.events, do: K8sConnect.Trace.format(event)
      ["09:30:00.104211 <0.845.0> MyApp.Cart.add(%MyApp.Cart{items: []}, 7)", …]

  Nothing is installed on the node, and Elixir is not needed there. The node counts the calls, and clears the trace
  patterns and trace flags when the limit is reached, when the time is over, and when the calling process, this BEAM or
  the connection ends. See the guide [Tracing](tracing.md) for what a trace costs the node.

  ## Patterns

  One pattern, or a list of them:

    * `"MyApp.Cart.add/2"` - one function. `"MyApp.Cart.add/_"` and `"MyApp.Cart.add"`: with any arity
    * `"MyApp.Cart"` or `"MyApp.Cart.*"` - all functions of a module
    * `":lists.map/2"` or `"lists:map/2"` - a function of an Erlang module
    * `{MyApp.Cart, :add, 2}`, with `:_` for any function or arity

  ## Options

    * `:limit` - the number of calls after which the trace stops; 1 to 100000, by default 100
    * `:time` - the milliseconds after which the trace stops; at most an hour, by default 10000
    * `:local` - `true` also traces private functions, and calls within the module. Otherwise only calls that
      name the module are traced
    * `:returns` - `false` traces no results and no exceptions
    * `:arguments` - `false` traces the arity instead of the arguments, which are copied at each call otherwise
    * `:process` - traces only this process of the node: its registered name, or its pid as text: `"<0.845.0>"`

  ## Events

  Each event is a map with `:event`, `:time` (of the node's clock), `:pid`, `:name` (the registered name of the process,
  or `nil`), `:module`, `:function`, `:arity`, and

    * for a `:call`: `:arguments`, a list. It is missing with `arguments: false`
    * for a `:return`: `:result`, and `:took` in microseconds
    * for an `:exception`: `:class`, `:reason` and `:took`

  The node formats names and values as text, and cuts each value at 1000 bytes.

  ## Errors

  `{:error, error}` with a `K8sConnect.Error`. Its stage is `:remote` if the node does not have the function, or if a
  node with OTP 25 or 26 is already traced. Raises `ArgumentError` for an invalid pattern or option.
  """

  alias K8sConnect.{Connection, Error}
  alias K8sConnect.Trace.{Event, Pattern, Relay}

  @defaults [
    limit: 100,
    time: 10_000,
    local: false,
    returns: true,
    arguments: true,
    process: nil
  ]

  @type pattern :: String.t() | module() | {module(), atom(), arity() | :_}
  @type event :: %{required(:event) => :call | :return | :exception, optional(atom()) => term()}
  @typedoc """
  Why the trace stopped: `:limit`, `:time`, or `:overload` if there were more calls than the tracer can handle. `:calls`
  is the number of traced calls, and `:functions` the number of functions that the patterns match.
  """
  @type summary :: %{
          stopped: :limit | :time | :overload,
          calls: non_neg_integer(),
          functions: pos_integer()
        }

  @doc """
  Traces calls, and returns all events when the trace has stopped.
  """
  @spec calls(Connection.t() | K8sConnect.server() | node(), pattern() | [pattern()], keyword()) ::
          {:ok, %{events: [event()], stopped: atom(), calls: integer(), functions: integer()}}
          | {:error, Error.t()}
  def calls(server, patterns, options \\ []) do
    reference = make_ref()

    result = each(server, patterns, options, fn event -> send(self(), {reference, event}) end)

    events = received(reference)
    with {:ok, summary} <- result, do: {:ok, Map.put(summary, :events, events)}
  end

  defp received(reference) do
    receive do
      {^reference, event} -> [event | received(reference)]
    after
      0 -> []
    end
  end

  @doc """
  Traces calls, and calls `fun` with each event as it arrives. Returns when the trace has stopped.

      K8sConnect.Trace.each(connection, "MyApp.Cart", [time: 60_000], &IO.puts(K8sConnect.Trace.format(&1)))
  """
  @spec each(
          Connection.t() | K8sConnect.server() | node(),
          pattern() | [pattern()],
          keyword(),
          (event() -> term())
        ) :: {:ok, summary()} | {:error, Error.t()}
  def each(server, patterns, options \\ [], fun) do
    case check(patterns, options) do
      {:ok, options} -> server |> node_of() |> Relay.run(options, fun)
      {:error, problem} -> raise ArgumentError, problem
    end
  end

  @doc """
  An event as a line of text.
  """
  @spec format(event()) :: String.t()
  defdelegate format(event), to: Event

  @doc false
  # The options of the tracer, or what is wrong with them. `name` writes the name of an option.
  @spec check(term(), keyword(), (atom() -> String.t())) :: {:ok, map()} | {:error, String.t()}
  def check(patterns, options, name \\ &inspect/1) do
    patterns = List.wrap(patterns)
    invalid = Enum.find(patterns, &(Pattern.parse(&1) == nil))
    {known, unknown} = Keyword.split(options, Keyword.keys(@defaults))
    options = Keyword.merge(@defaults, known)
    wrong = Enum.find(options, fn {option, value} -> not valid?(option, value) end)

    cond do
      patterns == [] ->
        {:error, "missing argument PATTERN: a function or a module to trace"}

      invalid ->
        {:error, "invalid pattern #{inspect(invalid)}: expected Mod.fun/2, Mod.fun or Mod"}

      unknown != [] ->
        {:error, "unknown option #{name.(hd(Keyword.keys(unknown)))}"}

      wrong ->
        {option, value} = wrong

        {:error,
         "invalid value for #{name.(option)}: expected #{expected(option)}, got #{inspect(value)}"}

      true ->
        {:ok, tracer_options(patterns, options)}
    end
  end

  defp tracer_options(patterns, options) do
    process = if name = options[:process], do: Pattern.process(to_string(name)), else: :all

    options
    |> Map.new()
    |> Map.merge(%{patterns: Enum.map(patterns, &Pattern.parse/1), process: process})
  end

  defp valid?(:limit, value), do: is_integer(value) and value in 1..100_000
  defp valid?(:time, value), do: is_integer(value) and value in 1..3_600_000
  defp valid?(:process, nil), do: true
  defp valid?(:process, value) when is_atom(value), do: true
  defp valid?(:process, value), do: is_binary(value) and byte_size(value) in 1..255
  defp valid?(_boolean, value), do: is_boolean(value)

  defp expected(:limit), do: "1 to 100000 calls"
  defp expected(:time), do: "1 ms to 1 hour"
  defp expected(:process), do: "a pid as text or a registered name"
  defp expected(_boolean), do: "true or false"

  # A name of a connection, or a node.
  defp node_of(%Connection{} = connection), do: K8sConnect.node!(connection)

  defp node_of(server) when is_atom(server) do
    if server |> Atom.to_string() |> String.contains?("@"),
      do: server,
      else: K8sConnect.node!(server)
  end

  defp node_of(server), do: K8sConnect.node!(server)
end
