defmodule Mix.K8sConnect.PodsOptions do
  @moduledoc false
  # Parses the command lines of the tasks that list pods.

  alias K8sConnect.Error
  alias Mix.K8sConnect.Options

  @doc """
  Parses the command line of `mix k8s.pods`: the options of `K8sConnect.pods/1` and the output.
  """
  @spec pods([String.t()]) ::
          {:ok, keyword(), :text | :wide | :json | :name} | {:error, Error.t(), Options.format()}
  def pods(arguments) do
    {strict, aliases} = Options.switches("k8s.pods")

    {switches, arguments, invalid} =
      OptionParser.parse(arguments, strict: strict, aliases: aliases)

    {outputs, options} = Keyword.split(switches, [:json, :output])

    with :ok <- Options.check_invalid(invalid, strict, aliases),
         {:ok, output} <- output(outputs),
         {:ok, target} <- Options.target(arguments, options),
         :ok <- check_namespaces(target, options) do
      {:ok, if(target, do: [target: target], else: []) ++ options, output}
    else
      {:error, problem} ->
        format = if outputs[:json] || outputs[:output] == "json", do: :json, else: :text
        error = Error.new(:options, {:usage, %{problem: problem, task: "k8s.pods"}})
        {:error, error, format}
    end
  end

  @doc """
  Parses the command line of `mix k8s.init`: the options of `K8sConnect.pods/1`, and whether the task writes.
  """
  @spec init([String.t()]) :: {:ok, keyword(), :ask | :yes | :dry_run} | {:error, Error.t()}
  def init(arguments) do
    {strict, aliases} = Options.switches("k8s.init")

    {switches, arguments, invalid} =
      OptionParser.parse(arguments, strict: strict, aliases: aliases)

    {modes, options} = Keyword.split(switches, [:dry_run, :yes])

    with :ok <- Options.check_invalid(invalid, strict, aliases),
         :ok <- check_no_arguments(arguments) do
      mode = if modes[:yes], do: :yes, else: :ask
      {:ok, options, if(modes[:dry_run], do: :dry_run, else: mode)}
    else
      {:error, problem} ->
        {:error, Error.new(:options, {:usage, %{problem: problem, task: "k8s.init"}})}
    end
  end

  defp check_no_arguments([]), do: :ok
  defp check_no_arguments([argument | _more]), do: {:error, "unknown argument #{argument}"}

  defp output(outputs) do
    values = Options.values(:output)

    case Enum.uniq(for {name, value} <- outputs, value, do: output(name, value)) do
      [] ->
        {:ok, :text}

      [output] ->
        if output in values,
          do: {:ok, String.to_atom(output)},
          else: {:error, Options.invalid_value(:output, values, output)}

      _several ->
        {:error, "--json and --output exclude each other"}
    end
  end

  defp output(:json, true), do: "json"
  defp output(:output, output), do: output

  defp check_namespaces(target, options) do
    if target && options[:all_namespaces],
      do:
        {:error, "TARGET and --all-namespaces exclude each other: a TARGET is in one namespace"},
      else: :ok
  end
end
