defmodule Mix.K8sConnect.Project do
  @moduledoc false
  # Loads the code paths and the configuration of the project, and does not compile it: a project that does not
  # compile can connect, too. `iex -S mix` starts the project anyway.

  alias K8sConnect.{Distribution, Error}
  alias Mix.K8sConnect.{Console, Options, Shell}

  @doc """
  Loads the project. Ends the task if its configuration cannot be read.
  """
  @spec load(Options.format()) :: :ok
  def load(format) do
    if Shell.iex?() do
      Mix.Task.run("app.start")
    else
      _ = if Mix.Project.get(), do: Mix.Task.run("loadpaths")
      _ = configure(format)
      :ok = Distribution.mark_task_vm()
    end

    :ok
  end

  # `config/runtime.exs` may protect contexts. `mix app.config` would compile the project before it reads the file.
  defp configure(format) do
    for file <- files(), do: configure(file, format)
  end

  # Mix reads `config.exs` when it loads a project. The program of `mix k8s.launcher` loads none.
  defp files do
    cond do
      Mix.Project.get() ->
        [Path.join(Path.dirname(Mix.Project.config()[:config_path]), "runtime.exs")]

      File.regular?("mix.exs") ->
        for folder <- folders(),
            name <- ["config.exs", "runtime.exs"],
            do: Path.join(folder, name)

      true ->
        []
    end
  end

  # The apps of an umbrella have the configuration of the umbrella. Only `mix.exs` says whether this is one, so an own
  # configuration counts, too, and more.
  defp folders do
    umbrella? =
      Path.basename(Path.dirname(File.cwd!())) == "apps" and File.regular?("../../mix.exs")

    if umbrella?, do: ["../../config", "config"], else: ["config"]
  end

  defp configure(file, format) do
    if File.regular?(file) do
      config = Config.Reader.read!(file, env: Mix.env(), target: Mix.target())
      Application.put_all_env(Keyword.take(config, [:k8s_connect]))
    end
  rescue
    exception ->
      details = %{
        file: Path.relative_to_cwd(file),
        problem: Exception.message(exception),
        project: Mix.Project.get() != nil
      }

      Console.fail(Error.new(:options, {:unreadable_configuration, details}), format)
  end
end
