defmodule Mix.K8sConnect.Options do
  @moduledoc false
  # Parses the command line of `mix k8s.connect`.

  alias K8sConnect.Error
  alias Mix.K8sConnect.{Expressions, Switches}

  @task "k8s.connect"

  @type mode :: {:rpc, Expressions.t()} | :remsh | :hold | :return | :default
  @type format :: :text | :json
  @type parsed ::
          {:list, keyword()}
          | {:completion, shell :: String.t()}
          | {:connect, String.t() | nil, keyword(), mode()}
          | {:connect_all, String.t() | nil, keyword(), mode()}
          | {:exec, [{String.t() | nil, keyword()}], command :: [String.t(), ...]}

  @spec parse([String.t()]) :: {:ok, parsed(), format()} | {:error, Error.t(), format()}
  def parse(arguments) do
    {arguments, command} = split(arguments)

    with {:ok, switches, arguments} <- Switches.parse(@task, arguments),
         {json, switches} = Keyword.pop(switches, :json, false),
         format = format(json),
         {:ok, parsed} <- parsed(switches, arguments, command, format) do
      {:ok, parsed, format}
    else
      {:error, problem, switches} ->
        {:error, Switches.usage(problem, @task), format(switches[:json])}

      {:error, problem} ->
        {:error, Switches.usage(problem, @task), format("--json" in arguments)}
    end
  end

  defp format(true), do: :json
  defp format(_text), do: :text

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

      with {:error, problem} <- check_read_only(mode, read_only: read_only),
           do: {:error, Switches.usage(problem, @task)}
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
      {:error, problem} -> {:error, Switches.usage(problem, @task)}
    end
  end

  defp read(parsed), do: {:ok, parsed}

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

  defp parsed(switches, arguments, command, format) do
    {modes, options} = Keyword.split(switches, Switches.modes())

    with {:ok, modes} <- Expressions.parse(modes) do
      cond do
        modes[:completion] -> completion(modes ++ options, arguments)
        command || modes[:exec] -> exec(modes, options, arguments, command, format)
        true -> connect(modes, options, arguments)
      end
    end
  end

  defp completion([completion: shell], []), do: {:ok, {:completion, Atom.to_string(shell)}}

  defp completion(_switches, _arguments),
    do: {:error, "--completion cannot be used with TARGET and other options"}

  defp exec(modes, options, arguments, command, format) do
    with {:ok, command} <- command(modes, command),
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
    with {:ok, target} <- Switches.target(arguments, options),
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

  defp action(nil, options, mode) do
    if options[:selector], do: {:connect, nil, options, mode}, else: {:list, options}
  end

  defp action(target, options, mode), do: {:connect, target, options, mode}

  defp mode([]), do: {:ok, :default}
  defp mode(rpc: rpc), do: {:ok, {:rpc, rpc}}
  defp mode(remsh: true), do: {:ok, :remsh}
  defp mode(hold: true), do: {:ok, :hold}
  defp mode(wait: false), do: {:ok, :return}
  defp mode([_one]), do: {:ok, :default}
  defp mode(_several), do: {:error, "--rpc, --remsh, --hold and --no-wait exclude each other"}
end
