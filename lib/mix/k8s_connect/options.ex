defmodule Mix.K8sConnect.Options do
  @moduledoc false
  # Parses command lines.

  alias K8sConnect.Error
  alias Mix.K8sConnect.Expressions

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
  @aliases [n: :namespace, c: :container, l: :selector]
  # Options with a fixed set of values.
  @values [
    route: ~w(auto vm kernel),
    cookie_from: ~w(spec exec),
    protocol: ~w(auto spdy websocket v4),
    completion: ~w(bash zsh fish),
    output: ~w(wide json name)
  ]
  @rpc [:rpc, :rpc_file, :rpc_timeout, :erl, :quiet]
  @modes @rpc ++ [:remsh, :hold, :wait, :exec, :completion]
  @formats [:json, :report]

  @type mode :: {:rpc, Expressions.t()} | :remsh | :hold | :return | :default
  @type format :: :text | :json
  @type parsed ::
          {:list, keyword()}
          | {:completion, shell :: String.t()}
          | {:connect, String.t() | nil, keyword(), mode()}
          | {:connect_all, String.t() | nil, keyword(), mode()}
          | {:exec, [{String.t() | nil, keyword()}], command :: [String.t(), ...]}

  @doc """
  The switches of a task and their letters, as `OptionParser` takes them.
  """
  @spec switches(String.t()) :: {keyword(), keyword()}
  def switches("k8s.connect"), do: {@switches, @aliases}

  def switches("k8s.doctor") do
    formats = Enum.map(@formats, &{&1, :boolean})
    {Keyword.drop(@switches, [:all, :reconnect, :json | @modes]) ++ formats, @aliases}
  end

  def switches("k8s.helper"), do: {Keyword.take(@switches, [:yes, :sudo]), []}

  def switches("k8s.pods") do
    api = Keyword.take(@switches, [:namespace, :selector, :context, :kubeconfig, :timeout, :json])

    {api ++ [all_namespaces: :boolean, output: :string],
     [n: :namespace, l: :selector] ++ [A: :all_namespaces, o: :output]}
  end

  def switches("k8s.init") do
    {switches, letters} = switches("k8s.pods")
    added = [dry_run: :boolean, yes: :boolean]
    {Keyword.drop(switches, [:json, :output]) ++ added, Keyword.delete(letters, :o)}
  end

  @doc """
  The values of an option that has a fixed set of them.
  """
  @spec values(atom()) :: [String.t()]
  def values(option), do: Keyword.get(@values, option, [])

  @spec parse([String.t()]) :: {:ok, parsed(), format()} | {:error, Error.t(), format()}
  def parse(arguments) do
    {arguments, command} = split(arguments)

    {switches, arguments, invalid} =
      OptionParser.parse(arguments, strict: @switches, aliases: @aliases)

    {json, switches} = Keyword.pop(switches, :json, false)
    format = if json, do: :json, else: :text

    case parsed(switches, arguments, invalid, command, format) do
      {:ok, parsed} ->
        {:ok, parsed, format}

      {:error, problem} ->
        {:error, Error.new(:options, {:usage, %{problem: problem}}), format}
    end
  end

  @doc """
  Checks parsed options as `K8sConnect` does, which raises, and reads the expressions. The configuration has to be
  loaded.
  """
  @spec check(result) :: result
        when result: {:ok, parsed(), format()} | {:error, Error.t(), format()}
  def check({:ok, parsed, format}) do
    with :ok <- check_parsed(parsed), {:ok, parsed} <- read(parsed) do
      {:ok, parsed, format}
    else
      {:error, error} -> {:error, error, format}
    end
  end

  def check({:error, _error, _format} = result), do: result

  defp check_parsed({:completion, _shell}), do: :ok

  defp check_parsed({:list, options}),
    do: options |> K8sConnect.Options.api_only() |> K8sConnect.Options.check_pods()

  defp check_parsed({connect, target, options, mode}) when connect in [:connect, :connect_all] do
    with :ok <- check_target(target, options) do
      # The configuration may have it.
      read_only = K8sConnect.Options.setting(target, options, :read_only)

      with {:error, problem} <- check_read_only(mode, read_only: read_only), do: usage(problem)
    end
  end

  defp check_parsed({:exec, targets, _command}) do
    Enum.find_value(targets, :ok, fn {target, options} ->
      with :ok <- check_target(target, [route: :exec] ++ options), do: nil
    end)
  end

  defp read({connect, target, options, {:rpc, rpc}}) do
    case Expressions.read(rpc) do
      {:ok, rpc} -> {:ok, {connect, target, options, {:rpc, rpc}}}
      {:error, problem} -> usage(problem)
    end
  end

  defp read(parsed), do: {:ok, parsed}

  defp usage(problem), do: {:error, Error.new(:options, {:usage, %{problem: problem}})}

  defp check_target(target, options) do
    with {:error, error} <- K8sConnect.Options.check(target, options),
         do: {:error, Error.for_request(error, target, options)}
  end

  # The arguments after "--" are the command.
  defp split(arguments) do
    case Enum.split_while(arguments, &(&1 != "--")) do
      {arguments, []} -> {arguments, nil}
      {arguments, ["--" | command]} -> {arguments, command}
    end
  end

  defp parsed(switches, arguments, invalid, command, format) do
    {modes, options} = Keyword.split(switches, @modes)

    with :ok <- check_invalid(invalid, @switches),
         {:ok, modes} <- Expressions.parse(modes) do
      cond do
        modes[:completion] -> completion(modes ++ options, arguments)
        command || modes[:exec] -> exec(modes, options, arguments, command, format)
        true -> connect(modes, options, arguments)
      end
    end
  end

  defp completion([completion: shell], []) do
    with {:ok, _options} <- to_atoms(completion: shell), do: {:ok, {:completion, shell}}
  end

  defp completion(_switches, _arguments),
    do: {:error, "--completion cannot be used with TARGET and other options"}

  defp exec(modes, options, arguments, command, format) do
    with {:ok, options} <- to_atoms(options),
         {:ok, command} <- command(modes, command),
         :ok <- check_exec(options, format),
         {:ok, targets} <- targets(arguments, options) do
      {:ok, {:exec, Enum.map(targets, &{&1, options}), command}}
    end
  end

  defp command([exec: line], nil), do: {:ok, ["/bin/sh", "-c", line]}
  defp command([], []), do: {:error, "missing command after --"}
  defp command([], command), do: {:ok, command}
  defp command([exec: _line], _command), do: {:error, "--exec and -- CMD exclude each other"}

  defp command(_several, _command),
    do: {:error, "--exec, -- CMD, --rpc, --remsh, --hold and --no-wait exclude each other"}

  defp check_exec(options, format) do
    cond do
      options[:route] -> {:error, "--route cannot be used with --exec"}
      options[:sudo] -> {:error, "--sudo cannot be used with --exec"}
      options[:all] -> {:error, "--all cannot be used with --exec"}
      format == :json -> {:error, "--json cannot be used with --exec"}
      true -> :ok
    end
  end

  defp targets(arguments, options) do
    case {arguments, options[:selector]} do
      {[], nil} -> {:error, "missing argument TARGET"}
      {[], _selector} -> {:ok, [nil]}
      {targets, nil} -> {:ok, targets}
      {_targets, _selector} -> {:error, "TARGET and --selector exclude each other"}
    end
  end

  defp connect(modes, options, arguments) do
    with {:ok, options} <- to_atoms(options),
         {:ok, target} <- target(arguments, options),
         {:ok, mode} <- mode(modes),
         :ok <- check_read_only(mode, options),
         :ok <- check_quiet(mode, options) do
      {all, options} = Keyword.pop(options, :all, false)
      if all, do: all(target, options, mode), else: {:ok, action(target, options, mode)}
    end
  end

  # Both evaluate what they are given.
  defp check_read_only(mode, options) do
    case {options[:read_only], mode} do
      {true, {:rpc, _rpc}} -> {:error, "--rpc cannot be used with --read-only"}
      {true, :remsh} -> {:error, "--remsh cannot be used with --read-only"}
      _other -> :ok
    end
  end

  @doc """
  Whether only results and errors are printed.
  """
  @spec quiet?(mode()) :: boolean()
  def quiet?({:rpc, %{quiet: quiet}}), do: quiet
  def quiet?(_mode), do: false

  defp check_quiet(mode, options) do
    if quiet?(mode) && options[:verbose],
      do: {:error, "--quiet and --verbose exclude each other"},
      else: :ok
  end

  defp all(nil, options, mode) do
    if options[:selector],
      do: all(options[:selector], options, mode),
      else: {:error, "missing argument TARGET"}
  end

  defp all(_target, _options, :remsh), do: {:error, "--all cannot be used with --remsh"}

  defp all(target, options, mode) do
    target = if options[:selector], do: nil, else: target
    {:ok, {:connect_all, target, options, mode}}
  end

  @doc """
  Parses the command line of `mix k8s.doctor`: the target, the options and the output format.
  """
  @spec doctor([String.t()]) ::
          {:ok, String.t() | nil, keyword(), :text | :json | :report} | {:error, String.t()}
  def doctor(arguments) do
    {strict, aliases} = switches("k8s.doctor")

    {switches, arguments, invalid} =
      OptionParser.parse(arguments, strict: strict, aliases: aliases)

    {formats, options} = Keyword.split(switches, @formats)

    with :ok <- check_invalid(invalid, strict),
         {:ok, options} <- to_atoms(options),
         {:ok, target} <- target(arguments, options),
         {:ok, format} <- format(for {format, true} <- formats, do: format) do
      {:ok, target, options, format}
    end
  end

  @doc """
  Parses the command line of a task that has switches of its own next to those of a connection, and `--json`.
  Returns the arguments, the own switches and the options of the connection.
  """
  @spec task([String.t()], keyword(atom())) ::
          {:ok, [String.t()], own :: keyword(), keyword()} | {:error, String.t()}
  def task(arguments, own) do
    strict = Keyword.drop(@switches, [:all, :reconnect | @modes]) ++ own

    {switches, arguments, invalid} =
      OptionParser.parse(arguments, strict: strict, aliases: @aliases)

    {own, options} = Keyword.split(switches, [:json | Keyword.keys(own)])

    with :ok <- check_invalid(invalid, strict),
         {:ok, options} <- to_atoms(options),
         do: {:ok, arguments, own, options}
  end

  defp format([]), do: {:ok, :text}
  defp format([format]), do: {:ok, format}
  defp format(_both), do: {:error, "--json and --report exclude each other"}

  defp action(nil, options, mode) do
    if options[:selector], do: {:connect, nil, options, mode}, else: {:list, options}
  end

  defp action(target, options, mode), do: {:connect, target, options, mode}

  @doc """
  The problem of the first option that `OptionParser` does not take.
  """
  @spec check_invalid([{String.t(), String.t() | nil}], keyword(), keyword()) ::
          :ok | {:error, String.t()}
  def check_invalid(invalid, strict, aliases \\ @aliases)
  def check_invalid([], _strict, _aliases), do: :ok

  # OptionParser reports an unknown switch and a missing value in the same way.
  def check_invalid([{switch, nil} | _more], strict, aliases) do
    if known?(switch, strict, aliases),
      do: {:error, "missing value for #{switch}"},
      else: {:error, "unknown option #{switch}"}
  end

  def check_invalid([{switch, value} | _more], _strict, _aliases),
    do: {:error, "invalid value for #{switch}: #{inspect(value)}"}

  defp known?(switch, strict, aliases) do
    names = Enum.map(strict, fn {name, _type} -> "--" <> dashed(name) end)
    letters = Enum.map(aliases, fn {letter, _name} -> "-#{letter}" end)
    switch in (names ++ letters)
  end

  defp to_atoms(options) do
    Enum.reduce_while(@values, {:ok, options}, fn {switch, values}, {:ok, options} ->
      case options[switch] do
        nil ->
          {:cont, {:ok, options}}

        value ->
          if value in values,
            do: {:cont, {:ok, Keyword.put(options, switch, String.to_atom(value))}},
            else: {:halt, {:error, invalid_value(switch, values, value)}}
      end
    end)
  end

  @doc """
  The problem of a value that is none of those of its option.
  """
  @spec invalid_value(atom(), [String.t()], String.t()) :: String.t()
  def invalid_value(switch, values, value) do
    "invalid value for --#{dashed(switch)}: expected #{Enum.join(values, ", ")}, got #{inspect(value)}"
  end

  defp dashed(name), do: name |> Atom.to_string() |> String.replace("_", "-")

  @doc """
  The target among the arguments, of which there may be one.
  """
  @spec target([String.t()], keyword()) :: {:ok, String.t() | nil} | {:error, String.t()}
  def target([], _options), do: {:ok, nil}

  def target([target], options) do
    if options[:selector],
      do: {:error, "TARGET and --selector exclude each other"},
      else: {:ok, target}
  end

  def target(targets, _options),
    do: {:error, "too many arguments: expected one TARGET, got #{Enum.join(targets, " ")}"}

  defp mode([]), do: {:ok, :default}
  defp mode(rpc: rpc), do: {:ok, {:rpc, rpc}}
  defp mode(remsh: true), do: {:ok, :remsh}
  defp mode(hold: true), do: {:ok, :hold}
  defp mode(wait: false), do: {:ok, :return}
  defp mode([_one]), do: {:ok, :default}
  defp mode(_several), do: {:error, "--rpc, --remsh, --hold and --no-wait exclude each other"}
end
