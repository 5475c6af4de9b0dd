defmodule Mix.K8sConnect.PodsOptions do
  @moduledoc false
  # Parses the command lines of the tasks that list pods.

  alias K8sConnect.Error
  alias Mix.K8sConnect.{Options, Switches}

  @doc """
  Parses the command line of `mix k8s.pods`: the options of `K8sConnect.pods/1` and the output.
  """
  @spec pods([String.t()]) ::
          {:ok, keyword(), :text | :wide | :json | :name} | {:error, Error.t(), Options.format()}
  def pods(arguments) do
    with {:ok, switches, arguments} <- Switches.parse("k8s.pods", arguments),
         {outputs, options} = Keyword.split(switches, [:json, :output]),
         {:ok, output} <- output(outputs),
         {:ok, target} <- Switches.target(arguments, options),
         :ok <- check_namespaces(target, options) do
      {:ok, if(target, do: [target: target], else: []) ++ options, output}
    else
      {:error, problem, switches} -> usage(problem, switches)
      {:error, problem} -> usage(problem, elem(Switches.parse("k8s.pods", arguments), 1))
    end
  end

  defp usage(problem, switches) do
    json = switches[:json] || switches[:output] in [:json, "json"]
    {:error, Switches.usage(problem, "k8s.pods"), if(json, do: :json, else: :text)}
  end

  @doc """
  Parses the command line of `mix k8s.init`: the options of `K8sConnect.pods/1`, and whether the task writes.
  """
  @spec init([String.t()]) :: {:ok, keyword(), :ask | :yes | :dry_run} | {:error, Error.t()}
  def init(arguments) do
    with {:ok, switches, arguments} <- Switches.parse("k8s.init", arguments),
         {modes, options} = Keyword.split(switches, [:dry_run, :yes]),
         :ok <- check_no_arguments(arguments) do
      mode = if modes[:yes], do: :yes, else: :ask
      {:ok, options, if(modes[:dry_run], do: :dry_run, else: mode)}
    else
      {:error, problem, _switches} -> {:error, Switches.usage(problem, "k8s.init")}
      {:error, problem} -> {:error, Switches.usage(problem, "k8s.init")}
    end
  end

  defp check_no_arguments([]), do: :ok
  defp check_no_arguments([argument | _more]), do: {:error, "unknown argument #{argument}"}

  defp output(outputs) do
    case Enum.uniq(for {name, value} <- outputs, value, do: output(name, value)) do
      [] ->
        {:ok, :text}

      [output] ->
        {:ok, output}

      _several ->
        {:error, "--json and --output exclude each other"}
    end
  end

  defp output(:json, true), do: :json
  defp output(:output, output), do: output

  defp check_namespaces(target, options) do
    if target && options[:all_namespaces],
      do:
        {:error, "TARGET and --all-namespaces exclude each other: a TARGET is in one namespace"},
      else: :ok
  end
end
