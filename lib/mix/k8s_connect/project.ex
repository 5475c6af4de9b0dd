defmodule Mix.K8sConnect.Project do
  @moduledoc false
  # The project in which a task runs: its code paths and its configuration, without compiling it, as one that
  # does not compile can connect all the same. `iex -S mix` starts the project anyway.

  alias K8sConnect.Error
  alias Mix.K8sConnect.{Console, Options, Shell}

  @doc """
  Loads it, and ends the task with the error of a configuration that cannot be read.
  """
  @spec load(Options.format()) :: :ok
  def load(format) do
    if Shell.iex?() do
      Mix.Task.run("app.start")
    else
      Mix.Task.run("loadpaths")
      configure(format)
    end

    :ok
  end

  # Of `config/runtime.exs`, as `mix app.config` reads it after it has compiled: it may protect contexts.
  defp configure(format) do
    file = Path.join(Path.dirname(Mix.Project.config()[:config_path]), "runtime.exs")

    if File.regular?(file) do
      config = Config.Reader.read!(file, env: Mix.env(), target: Mix.target())
      Application.put_all_env(Keyword.take(config, [:k8s_connect]))
    end
  rescue
    exception ->
      details = %{file: "config/runtime.exs", problem: Exception.message(exception)}
      Console.fail(Error.new(:options, {:bad_configuration, details}), format)
  end
end
