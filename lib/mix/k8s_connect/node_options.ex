defmodule Mix.K8sConnect.NodeOptions do
  @moduledoc false
  # Parses the command lines of the tasks that look into one node.

  alias K8sConnect.Error
  alias Mix.K8sConnect.{Observer, Switches}

  @doc """
  Of `mix k8s.doctor`: the target, the options and the output format.
  """
  @spec doctor([String.t()]) ::
          {:ok, String.t() | nil, keyword(), :text | :json | :report}
          | {:error, problem :: String.t()}
  def doctor(arguments) do
    with {:ok, switches, arguments} <- Switches.parse("k8s.doctor", arguments),
         {formats, options} = Keyword.split(switches, [:json, :report]),
         {:ok, target} <- Switches.target(arguments, options),
         {:ok, format} <- format(for {format, true} <- formats, do: format) do
      {:ok, target, options, format}
    else
      {:error, problem, _switches} -> {:error, problem}
      {:error, problem} -> {:error, problem}
    end
  end

  defp format([]), do: {:ok, :text}
  defp format([format]), do: {:ok, format}
  defp format(_both), do: {:error, "--json and --report exclude each other"}

  @doc """
  Of `mix k8s.observer`: the target, the options of the connection, and those of the view.
  """
  @spec observer([String.t()]) ::
          {:ok, String.t() | nil, keyword(), keyword()} | {:error, Error.t(), :text | :json}
  def observer(arguments) do
    with {:ok, switches, arguments} <- Switches.parse("k8s.observer", arguments),
         format = if(switches[:json], do: :json, else: :text),
         {view, options} =
           Keyword.split(switches, [:json, :text, :once, :interval, :sort, :limit]),
         {:ok, target} <- required_target(arguments, options),
         {:ok, view} <- Observer.Options.check(view) do
      {:ok, target, options, [format: format] ++ view}
    else
      {:error, problem, switches} -> usage(problem, switches)
      {:error, problem} -> usage(problem, json: "--json" in arguments)
    end
  end

  defp usage(problem, switches) do
    format = if switches[:json], do: :json, else: :text
    {:error, Switches.usage(problem, "k8s.observer"), format}
  end

  defp required_target(arguments, options) do
    with {:ok, nil} <- Switches.target(arguments, options) do
      if options[:selector], do: {:ok, nil}, else: {:error, "missing argument TARGET"}
    end
  end

  @doc """
  Of `mix k8s.trace`: the target, the patterns, the options of the connection, and those of the trace.
  """
  @spec trace([String.t()]) ::
          {:ok, String.t() | nil, patterns :: [String.t()], keyword(), keyword()}
          | {:error, problem :: String.t()}
  def trace(arguments) do
    own = [:json, :limit, :time, :local, :returns, :arguments, :pid]

    with {:ok, switches, arguments} <- Switches.parse("k8s.trace", arguments),
         {own, options} = Keyword.split(switches, own),
         {:ok, target, patterns} <- target_and_patterns(arguments, options) do
      {:ok, target, patterns, options, Keyword.delete(own, :json)}
    else
      {:error, problem, _switches} -> {:error, problem}
      {:error, problem} -> {:error, problem}
    end
  end

  defp target_and_patterns(arguments, options) do
    case {arguments, options[:selector]} do
      {patterns, labels} when labels != nil -> {:ok, nil, patterns}
      {[], nil} -> {:error, "missing argument TARGET"}
      {[target | patterns], nil} -> {:ok, target, patterns}
    end
  end

  @doc """
  Of `mix k8s.livebook`: the target, the options of the connection, and the arguments of `livebook server`.
  """
  @spec livebook([String.t()]) ::
          {:ok, String.t() | nil, keyword(), server :: [String.t()]} | {:error, Error.t()}
  def livebook(arguments) do
    {arguments, server} = Enum.split_while(arguments, &(&1 != "--"))

    with {:ok, options, arguments} <- Switches.parse("k8s.livebook", arguments),
         {:ok, target} <- required_target(arguments, options) do
      {:ok, target, options, Enum.drop(server, 1)}
    else
      {:error, problem, _switches} -> {:error, Switches.usage(problem, "k8s.livebook")}
      {:error, problem} -> {:error, Switches.usage(problem, "k8s.livebook")}
    end
  end

  @doc """
  Checks the options of a connection on which code is run. The configuration has to be loaded.
  """
  @spec check(String.t() | nil, keyword(), task :: String.t()) :: :ok | {:error, Error.t()}
  def check(target, options, task) do
    with :ok <- K8sConnect.Options.check(target, options) do
      if K8sConnect.Options.setting(target, options, :read_only),
        do:
          {:error,
           Switches.usage(
             "--read-only cannot be used with #{task}, which runs code on the node",
             task
           )},
        else: :ok
    end
    |> Error.for_request(target, options)
  end
end
