defmodule Mix.K8sConnect.Options do
  @moduledoc false
  # Parses command lines.

  alias K8sConnect.Error
  alias Mix.K8sConnect.Observer

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
    rpc: :string,
    remsh: :boolean,
    hold: :boolean,
    wait: :boolean,
    exec: :string
  ]
  @aliases [n: :namespace, c: :container, l: :selector]
  # Options with a fixed set of values.
  @values [
    route: ~w(auto vm kernel),
    cookie_from: ~w(spec exec),
    protocol: ~w(auto spdy websocket v4)
  ]
  @modes [:rpc, :remsh, :hold, :wait, :exec]
  @formats [:json, :report]

  @type mode :: {:rpc, String.t()} | :remsh | :hold | :return | :default
  @type format :: :text | :json
  @type parsed ::
          {:list, keyword()}
          | {:connect, String.t() | nil, keyword(), mode()}
          | {:connect_all, String.t() | nil, keyword(), mode()}
          | {:exec, [{String.t() | nil, keyword()}], command :: [String.t(), ...]}

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
  Checks parsed options as `K8sConnect` does, which raises. The configuration has to be loaded.
  """
  @spec check(result) :: result
        when result: {:ok, parsed(), format()} | {:error, Error.t(), format()}
  def check({:ok, parsed, format} = result) do
    case check_parsed(parsed) do
      :ok -> result
      {:error, error} -> {:error, error, format}
    end
  end

  def check({:error, _error, _format} = result), do: result

  defp check_parsed({:list, options}),
    do: options |> K8sConnect.Options.api_only() |> K8sConnect.Options.check_api()

  defp check_parsed({connect, target, options, mode}) when connect in [:connect, :connect_all] do
    with :ok <- check_target(target, options) do
      # The configuration may have it.
      read_only = K8sConnect.Options.setting(target, options, :read_only)

      with {:error, problem} <- check_read_only(mode, read_only: read_only),
           do: {:error, Error.new(:options, {:usage, %{problem: problem}})}
    end
  end

  defp check_parsed({:exec, targets, _command}) do
    Enum.find_value(targets, :ok, fn {target, options} ->
      with :ok <- check_target(target, [route: :exec] ++ options), do: nil
    end)
  end

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

    if command || modes[:exec],
      do: exec(modes, options, arguments, invalid, command, format),
      else: connect(modes, options, arguments, invalid)
  end

  defp exec(modes, options, arguments, invalid, command, format) do
    with :ok <- check_invalid(invalid, @switches),
         {:ok, options} <- to_atoms(options),
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

  defp connect(modes, options, arguments, invalid) do
    with :ok <- check_invalid(invalid, @switches),
         {:ok, options} <- to_atoms(options),
         {:ok, target} <- target(arguments, options),
         {:ok, mode} <- mode(modes),
         :ok <- check_read_only(mode, options) do
      {all, options} = Keyword.pop(options, :all, false)
      if all, do: all(target, options, mode), else: {:ok, action(target, options, mode)}
    end
  end

  # Both evaluate what they are given.
  defp check_read_only(mode, options) do
    case {options[:read_only], mode} do
      {true, {:rpc, _expression}} -> {:error, "--rpc cannot be used with --read-only"}
      {true, :remsh} -> {:error, "--remsh cannot be used with --read-only"}
      _other -> :ok
    end
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
    strict =
      Keyword.drop(@switches, [:all, :reconnect | @modes]) ++ Enum.map(@formats, &{&1, :boolean})

    {switches, arguments, invalid} =
      OptionParser.parse(arguments, strict: strict, aliases: @aliases)

    {formats, options} = Keyword.split(switches, @formats)

    with :ok <- check_invalid(invalid, strict),
         {:ok, options} <- to_atoms(options),
         {:ok, target} <- target(arguments, options),
         {:ok, format} <- format(for {format, true} <- formats, do: format) do
      {:ok, target, options, format}
    end
  end

  @observer [
    text: :boolean,
    once: :boolean,
    interval: :integer,
    sort: :string,
    limit: :integer
  ]

  @doc """
  Parses the command line of `mix k8s.observer`: the target, the options of the connection, and those of the view.
  """
  @spec observer([String.t()]) ::
          {:ok, String.t() | nil, keyword(), keyword()} | {:error, Error.t(), format()}
  def observer(arguments) do
    strict = Keyword.drop(@switches, [:all, :reconnect | @modes]) ++ @observer

    {switches, arguments, invalid} =
      OptionParser.parse(arguments, strict: strict, aliases: @aliases)

    {own, options} = Keyword.split(switches, [:json | Keyword.keys(@observer)])
    format = if own[:json], do: :json, else: :text

    with :ok <- check_invalid(invalid, strict),
         {:ok, options} <- to_atoms(options),
         {:ok, target} <- target(arguments, options),
         :ok <- given(target, options),
         {:ok, own} <- Observer.Options.check(own) do
      {:ok, target, options, [format: format] ++ own}
    else
      {:error, problem} -> {:error, usage(problem, "k8s.observer"), format}
    end
  end

  defp given(nil, options),
    do: if(options[:selector], do: :ok, else: {:error, "missing argument TARGET"})

  defp given(_target, _options), do: :ok

  @observer_read_only "mix k8s.observer cannot be used with --read-only: it evaluates an expression on the node"

  @doc """
  Checks the options of its connection. The configuration has to be loaded.
  """
  @spec check_observer(String.t() | nil, keyword()) :: :ok | {:error, Error.t()}
  def check_observer(target, options) do
    with :ok <- check_target(target, options) do
      if K8sConnect.Options.setting(target, options, :read_only),
        do: {:error, usage(@observer_read_only, "k8s.observer")},
        else: :ok
    end
  end

  @doc """
  A usage error of a task.
  """
  @spec usage(String.t(), task :: String.t()) :: Error.t()
  def usage(problem, task), do: Error.new(:options, {:usage, %{problem: problem, task: task}})

  defp format([]), do: {:ok, :text}
  defp format([format]), do: {:ok, format}
  defp format(_both), do: {:error, "--json and --report exclude each other"}

  defp action(nil, options, mode) do
    if options[:selector], do: {:connect, nil, options, mode}, else: {:list, options}
  end

  defp action(target, options, mode), do: {:connect, target, options, mode}

  defp check_invalid([], _strict), do: :ok

  # OptionParser reports an unknown switch and a missing value in the same way.
  defp check_invalid([{switch, nil} | _more], strict) do
    if known?(switch, strict),
      do: {:error, "missing value for #{switch}"},
      else: {:error, "unknown option #{switch}"}
  end

  defp check_invalid([{switch, value} | _more], _strict),
    do: {:error, "invalid value for #{switch}: #{inspect(value)}"}

  defp known?(switch, strict) do
    names = Enum.map(strict, fn {name, _type} -> "--" <> dashed(name) end)
    letters = Enum.map(@aliases, fn {letter, _name} -> "-#{letter}" end)
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

  defp invalid_value(switch, values, value) do
    "invalid value for --#{dashed(switch)}: expected #{Enum.join(values, ", ")}, got #{inspect(value)}"
  end

  defp dashed(name), do: name |> Atom.to_string() |> String.replace("_", "-")

  defp target([], _options), do: {:ok, nil}

  defp target([target], options) do
    if options[:selector],
      do: {:error, "TARGET and --selector exclude each other"},
      else: {:ok, target}
  end

  defp target(targets, _options),
    do: {:error, "too many arguments: expected one TARGET, got #{Enum.join(targets, " ")}"}

  defp mode([]), do: {:ok, :default}
  defp mode(rpc: expression), do: {:ok, {:rpc, expression}}
  defp mode(remsh: true), do: {:ok, :remsh}
  defp mode(hold: true), do: {:ok, :hold}
  defp mode(wait: false), do: {:ok, :return}
  defp mode([_one]), do: {:ok, :default}
  defp mode(_several), do: {:error, "--rpc, --remsh, --hold and --no-wait exclude each other"}
end
