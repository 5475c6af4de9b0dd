defmodule Mix.K8sConnect.Switches do
  @moduledoc false
  # The switches of each task, which its command line and the completions of shells are read from.

  alias K8sConnect.Error

  @switches [
    namespace: :string,
    container: :string,
    selector: :string,
    context: :string,
    kubeconfig: :string,
    node: :string,
    port: :integer,
    cookie_file: :string,
    cookie_from: :string,
    tls_ca: :string,
    tls_cert: :string,
    tls_key: :string,
    timeout: :integer,
    connect_timeout: :integer,
    reconnect: :boolean,
    all: :boolean,
    protocol: :string,
    route: :string,
    sudo: :boolean,
    visible: :boolean,
    trust: :boolean,
    read_only: :boolean,
    audit: :string,
    audit_arguments: :boolean,
    max_atoms: :integer,
    max_message: :integer,
    yes: :boolean,
    verbose: :boolean,
    json: :boolean,
    rpc: [:string, :keep],
    rpc_file: [:string, :keep],
    rpc_timeout: :integer,
    erl: :boolean,
    quiet: :boolean,
    remsh: :boolean,
    hold: :boolean,
    wait: :boolean,
    exec: :string,
    completion: :string
  ]
  @letters [n: :namespace, c: :container, l: :selector]
  # Switches with a fixed set of values
  @values [
    route: ~w(auto vm kernel),
    cookie_from: ~w(spec exec),
    protocol: ~w(auto spdy websocket v4),
    completion: ~w(bash zsh fish),
    output: ~w(wide json name),
    sort: ~w(reductions memory messages)
  ]
  # What `mix k8s.connect` does once it is connected
  @modes [:rpc, :rpc_file, :rpc_timeout, :erl, :quiet, :remsh, :hold, :wait, :exec, :completion]
  # One connection, which is not kept
  @connection Keyword.drop(@switches, [:all, :reconnect | @modes])

  @doc """
  The modes of `mix k8s.connect`.
  """
  @spec modes() :: [atom()]
  def modes, do: @modes

  @doc """
  The switches of a task and their letters, as `OptionParser` takes them.
  """
  @spec of(task :: String.t()) :: {keyword(), keyword()}
  def of("k8s.connect"), do: {@switches, @letters}
  def of("k8s.doctor"), do: {@connection ++ [report: :boolean], @letters}

  def of("k8s.observer") do
    view = [text: :boolean, once: :boolean, interval: :integer, sort: :string, limit: :integer]
    {@connection ++ view, @letters}
  end

  def of("k8s.trace") do
    trace = [limit: :integer, time: :string, local: :boolean, returns: :boolean]
    {@connection ++ trace ++ [arguments: :boolean, pid: :string], @letters}
  end

  # The route is always that of one command. Livebook connects as a hidden node, and prints what it prints.
  def of("k8s.livebook"),
    do: {Keyword.drop(@connection, [:route, :sudo, :visible, :json]), @letters}

  def of("k8s.pods") do
    api = Keyword.take(@switches, [:namespace, :selector, :context, :kubeconfig, :timeout, :json])

    {api ++ [all_namespaces: :boolean, output: :string],
     [n: :namespace, l: :selector, A: :all_namespaces, o: :output]}
  end

  def of("k8s.init") do
    {switches, letters} = of("k8s.pods")
    added = [dry_run: :boolean, yes: :boolean]
    {Keyword.drop(switches, [:json, :output]) ++ added, Keyword.delete(letters, :o)}
  end

  def of("k8s.helper"), do: {Keyword.take(@switches, [:yes, :sudo]), []}
  def of("k8s.launcher"), do: {[], []}

  @doc """
  The values of a switch that has a fixed set of them.
  """
  @spec values(atom()) :: [String.t()]
  def values(switch), do: Keyword.get(@values, switch, [])

  @doc """
  Parses a command line of a task. Values of a fixed set become atoms. With a problem, the switches are those that could
  be read.
  """
  @spec parse(task :: String.t(), [String.t()]) ::
          {:ok, keyword(), [String.t()]} | {:error, problem :: String.t(), keyword()}
  def parse(task, arguments) do
    {strict, letters} = of(task)

    {switches, arguments, invalid} =
      OptionParser.parse(arguments, strict: strict, aliases: letters)

    with :ok <- check_invalid(invalid, strict, letters), {:ok, read} <- to_atoms(switches) do
      {:ok, read, arguments}
    else
      {:error, problem} -> {:error, problem, switches}
    end
  end

  # OptionParser reports an unknown switch and a missing value in the same way.
  defp check_invalid([], _strict, _letters), do: :ok

  defp check_invalid([{switch, nil} | _more], strict, letters) do
    if known?(switch, strict, letters),
      do: {:error, "missing value for #{switch}"},
      else: {:error, "unknown option #{switch}"}
  end

  defp check_invalid([{switch, value} | _more], _strict, _letters),
    do: {:error, "invalid value for #{switch}: #{inspect(value)}"}

  defp known?(switch, strict, letters) do
    names = Enum.map(strict, fn {name, _type} -> "--" <> dashed(name) end)
    switch in (names ++ Enum.map(letters, fn {letter, _name} -> "-#{letter}" end))
  end

  defp to_atoms(switches) do
    Enum.reduce_while(@values, {:ok, switches}, fn {switch, values}, {:ok, switches} ->
      case switches[switch] do
        nil ->
          {:cont, {:ok, switches}}

        value ->
          if value in values,
            do: {:cont, {:ok, Keyword.put(switches, switch, String.to_atom(value))}},
            else: {:halt, {:error, invalid_value(switch, values, value)}}
      end
    end)
  end

  defp invalid_value(switch, values, value) do
    "invalid value for --#{dashed(switch)}: expected #{Enum.join(values, ", ")}, got #{inspect(value)}"
  end

  defp dashed(name), do: name |> Atom.to_string() |> String.replace("_", "-")

  @doc """
  Returns the target, the only argument, or `nil` without arguments.
  """
  @spec target([String.t()], keyword()) ::
          {:ok, String.t() | nil} | {:error, problem :: String.t()}
  def target([], _switches), do: {:ok, nil}

  def target([target], switches) do
    if switches[:selector],
      do: {:error, "TARGET and --selector exclude each other"},
      else: {:ok, target}
  end

  def target(targets, _switches),
    do: {:error, "too many arguments: expected one TARGET, got #{Enum.join(targets, " ")}"}

  @doc """
  A usage error of a task.
  """
  @spec usage(problem :: String.t(), task :: String.t()) :: Error.t()
  def usage(problem, task), do: Error.new(:options, {:usage, %{problem: problem, task: task}})
end
