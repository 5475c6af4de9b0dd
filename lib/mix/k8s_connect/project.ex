defmodule Mix.K8sConnect.Project do
  @moduledoc false
  # Loads the code paths and the configuration of the project, and does not compile it: a project that does not
  # compile can connect, too. `iex -S mix` starts the project anyway.

  alias K8sConnect.Error
  alias Mix.K8sConnect.{Console, Options, Shell}

  @doc """
  Loads the project. Ends the task if its configuration cannot be read.
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

  # `config/runtime.exs` may protect contexts. `mix app.config` would compile the project before it reads the file.
  defp configure(format) do
    folder = Path.dirname(Mix.Project.config()[:config_path])
    if not_loaded?(), do: configure(folder, "config.exs", format)
    configure(folder, "runtime.exs", format)
  end

  # `k8s_connect` in the folder of a project (`mix k8s.launcher`). Mix reads `config.exs` when it loads a project.
  defp not_loaded?, do: Mix.Project.get() == nil and File.regular?("mix.exs")

  defp configure(folder, name, format) do
    file = Path.join(folder, name)

    if File.regular?(file) do
      config = Config.Reader.read!(file, env: Mix.env(), target: Mix.target())
      Application.put_all_env(Keyword.take(config, [:k8s_connect]))
    end
  rescue
    exception ->
      details = %{file: "config/#{name}", problem: Exception.message(exception)}
      Console.fail(Error.new(:options, {:unreadable_configuration, details}), format)
  end
end
