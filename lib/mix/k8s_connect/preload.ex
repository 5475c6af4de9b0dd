defmodule Mix.K8sConnect.Preload do
  @moduledoc false
  # What `K8sConnect.Preload` loads for the tasks and for the program of `mix k8s.launcher`.

  alias K8sConnect.Preload

  @task [
    Mix.K8sConnect.Console,
    Mix.K8sConnect.Expressions,
    Mix.K8sConnect.Follow,
    Mix.K8sConnect.Options,
    Mix.K8sConnect.Output,
    Mix.K8sConnect.Project,
    Mix.K8sConnect.Rpc,
    Mix.K8sConnect.Rpc.Evaluator,
    Mix.K8sConnect.Shell,
    Mix.K8sConnect.Switches,
    K8sConnect.EscapeSequences,
    K8sConnect.Helper.Program,
    Calendar.ISO,
    DateTime,
    OptionParser
  ]

  # For the configuration files of a project.
  @evaluation [
    :elixir_aliases,
    :elixir_dispatch,
    :elixir_env,
    :elixir_erl,
    :elixir_erl_pass,
    :elixir_erl_var,
    :elixir_expand,
    :elixir_import,
    :elixir_parser,
    :elixir_tokenizer,
    Config,
    Config.Reader,
    Macro,
    Module.ParallelChecker,
    :ordsets
  ]

  # The names of Elixir 1.14; others skip what they do not have. Not the modules that call this one.
  @launcher [
    K8sConnect,
    Mix.K8sConnect.Archive,
    :elixir,
    :elixir_code_server,
    :elixir_config,
    :elixir_sup,
    :elixir_utils,
    Access,
    Agent,
    Agent.Server,
    Application,
    Code,
    Enum,
    Enumerable.List,
    File,
    GenServer,
    IO,
    IO.ANSI,
    Kernel,
    Kernel.CLI,
    Keyword,
    List,
    List.Chars,
    List.Chars.BitString,
    Macro.Env,
    Map,
    Path,
    Process,
    Regex,
    String,
    String.Break,
    String.Chars.Integer,
    String.Tokenizer,
    Supervisor,
    Supervisor.Default,
    System,
    Task,
    Task.Supervised,
    IEx,
    IEx.Config,
    Logger,
    Logger.App,
    Logger.BackendSupervisor,
    Logger.Backends.Console,
    Logger.Config,
    Logger.Filter,
    Logger.Formatter,
    Logger.Handler,
    Logger.Watcher,
    Mix,
    Mix.Project,
    Mix.ProjectStack,
    Mix.State,
    Mix.TasksServer,
    Mix.Utils,
    :epp,
    :erl_anno,
    :erl_scan,
    :io,
    :re,
    :string,
    :unicode_util
  ]

  @doc """
  Loads what `mix k8s.connect` needs, beside `K8sConnect.Preload`.
  """
  @spec task() :: :ok
  def task, do: Preload.load(@task)

  @doc """
  Loads what the program of `mix k8s.launcher` needs for these arguments.
  """
  @spec launcher([charlist()]) :: :ok
  def launcher(arguments) do
    configuration = if :filelib.is_regular(~c"mix.exs"), do: @evaluation, else: []
    connect = if connects?(arguments), do: @task ++ Preload.modules(), else: []
    Preload.load(@launcher ++ configuration ++ connect)
  end

  defp connects?([]), do: false
  defp connects?([command | _arguments]), do: command not in [~c"help", ~c"helper", ~c"pods"]
end
