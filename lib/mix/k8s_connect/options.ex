defmodule Mix.K8sConnect.Options do
  @moduledoc false
  # From words to options; nothing here looks at a cluster.

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
    timeout: :integer,
    connect_timeout: :integer,
    reconnect: :boolean,
    all: :boolean,
    protocol: :string,
    route: :string,
    sudo: :boolean,
    visible: :boolean,
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
  @choices [
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

    {switches, words, invalid} =
      OptionParser.parse(arguments, strict: @switches, aliases: @aliases)

    {json, switches} = Keyword.pop(switches, :json, false)
    format = if json, do: :json, else: :text

    case parsed(switches, words, invalid, command, format) do
      {:ok, parsed} ->
        {:ok, parsed, format}

      {:error, problem} ->
        {:error, Error.new(:options, {:bad_words, %{problem: problem}}), format}
    end
  end

  # What follows "--" is another program's, whatever it looks like.
  defp split(arguments) do
    case Enum.split_while(arguments, &(&1 != "--")) do
      {arguments, []} -> {arguments, nil}
      {arguments, ["--" | command]} -> {arguments, command}
    end
  end

  defp parsed(switches, words, invalid, command, format) do
    {modes, options} = Keyword.split(switches, @modes)

    if command || modes[:exec],
      do: exec(modes, options, words, invalid, command, format),
      else: connect(modes, options, words, invalid)
  end

  defp exec(modes, options, words, invalid, command, format) do
    with :ok <- check_invalid(invalid),
         {:ok, options} <- choices(options),
         {:ok, command} <- command(modes, command),
         :ok <- check_exec(options, format),
         {:ok, targets} <- targets(words, options) do
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

  defp targets(words, options) do
    case {words, options[:selector]} do
      {[], nil} -> {:error, "missing argument TARGET"}
      {[], _selector} -> {:ok, [nil]}
      {words, nil} -> {:ok, words}
      {_words, _selector} -> {:error, "give a target or --selector, not both"}
    end
  end

  defp connect(modes, options, words, invalid) do
    with :ok <- check_invalid(invalid),
         {:ok, options} <- choices(options),
         {:ok, target} <- target(words, options),
         {:ok, mode} <- mode(modes) do
      {all, options} = Keyword.pop(options, :all, false)
      if all, do: all(target, options, mode), else: {:ok, what(target, options, mode)}
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
  The words of `mix k8s.doctor`: what to examine, and how to print it.
  """
  @spec examination([String.t()]) ::
          {:ok, String.t() | nil, keyword(), :text | :json | :report} | {:error, String.t()}
  def examination(arguments) do
    {switches, words, invalid} =
      OptionParser.parse(arguments,
        strict:
          Keyword.drop(@switches, [:all, :reconnect | @modes]) ++
            Enum.map(@formats, &{&1, :boolean}),
        aliases: @aliases
      )

    {formats, options} = Keyword.split(switches, @formats)

    with :ok <- check_invalid(invalid),
         {:ok, options} <- choices(options),
         {:ok, target} <- target(words, options),
         {:ok, format} <- format(for {format, true} <- formats, do: format) do
      {:ok, target, options, format}
    end
  end

  defp format([]), do: {:ok, :text}
  defp format([format]), do: {:ok, format}
  defp format(_both), do: {:error, "--json and --report exclude each other"}

  defp what(nil, options, mode) do
    if options[:selector], do: {:connect, nil, options, mode}, else: {:list, options}
  end

  defp what(target, options, mode), do: {:connect, target, options, mode}

  defp check_invalid([]), do: :ok

  defp check_invalid([{switch, nil} | _more]),
    do: {:error, "#{switch} is no option, or needs a value"}

  defp check_invalid([{switch, value} | _more]),
    do: {:error, "#{switch} cannot be #{inspect(value)}"}

  # Words that stand for a choice of few.
  defp choices(options) do
    Enum.reduce_while(@choices, {:ok, options}, fn {switch, words}, {:ok, options} ->
      case options[switch] do
        nil ->
          {:cont, {:ok, options}}

        word ->
          if word in words,
            do: {:cont, {:ok, Keyword.put(options, switch, String.to_atom(word))}},
            else: {:halt, {:error, no_choice(switch, words, word)}}
      end
    end)
  end

  defp no_choice(switch, words, word) do
    switch = switch |> Atom.to_string() |> String.replace("_", "-")
    "--#{switch} can be #{Enum.join(words, ", ")}, and not #{inspect(word)}"
  end

  defp target([], _options), do: {:ok, nil}

  defp target([target], options) do
    if options[:selector],
      do: {:error, "give a target or --selector, not both"},
      else: {:ok, target}
  end

  defp target(words, _options),
    do: {:error, "one target is enough, got: #{Enum.join(words, " ")}"}

  defp mode([]), do: {:ok, :default}
  defp mode(rpc: expression), do: {:ok, {:rpc, expression}}
  defp mode(remsh: true), do: {:ok, :remsh}
  defp mode(hold: true), do: {:ok, :hold}
  defp mode(wait: false), do: {:ok, :return}
  defp mode([_one]), do: {:ok, :default}
  defp mode(_several), do: {:error, "--rpc, --remsh, --hold and --no-wait exclude each other"}
end
