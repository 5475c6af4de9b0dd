defmodule Mix.K8sConnect.Archive do
  @moduledoc false
  # k8s_connect as an archive (`mix archive.install`) in a project that also depends on it. Mix looks for a task in
  # the archives before it looks in the project, and then two versions would be on the code path. The project's
  # version runs, because its code connects with that version.

  @doc """
  Runs a task: the one of the project's k8s_connect, or else `own`. Reenables the task first: Mix runs a task
  only once, and `mix do` may name it twice.
  """
  @spec run(module(), [String.t()], ([String.t()] -> result)) :: result when result: var
  def run(task, arguments, own) do
    if archive?() and project?() do
      hand_over(task, arguments)
    else
      _ = unless launcher?(), do: task |> Mix.Task.task_name() |> Mix.Task.reenable()
      own.(arguments)
    end
  end

  # The program of `mix k8s.launcher` runs one task, and does not load `Mix.Task`.
  defp launcher?, do: :persistent_term.get({:k8s_connect, :launcher}, nil) != nil

  defp archive?, do: String.starts_with?(ebin(), Mix.path_for(:archives))

  defp ebin, do: __MODULE__ |> :code.which() |> Path.dirname()

  defp project? do
    Mix.Project.get() != nil and
      (Mix.Project.config()[:app] == :k8s_connect or
         Map.has_key?(Mix.Project.deps_paths(), :k8s_connect))
  end

  defp hand_over(task, arguments) do
    archive = version()

    # From here on, this function calls no other module of k8s_connect. Before the project compiles its own,
    # because the compiler warns about modules that it finds elsewhere.
    forget(ebin())
    Mix.Task.run("loadpaths")
    if Mix.Project.config()[:app] == :k8s_connect, do: Mix.Task.run("compile")

    if Code.ensure_loaded?(task) do
      IO.puts(
        :stderr,
        "k8s_connect #{version()} of this project runs, and not version #{archive} of the archive"
      )

      task.run(arguments)
    else
      IO.puts(
        :stderr,
        "no such task in k8s_connect #{version()} of this project: #{Mix.Task.task_name(task)}. " <>
          "Update it with: mix deps.update k8s_connect"
      )

      exit({:shutdown, 1})
    end
  end

  defp version do
    _loaded_before = Application.load(:k8s_connect)
    :k8s_connect |> Application.spec(:vsn) |> to_string()
  end

  # The current code becomes old code, which this process may go on with.
  defp forget(ebin) do
    _not_loaded = Application.unload(:k8s_connect)
    Code.delete_path(ebin)

    modules = for {module, file} <- :code.all_loaded(), is_list(file), do: {module, file}

    Enum.each(modules, fn {module, file} ->
      if Path.dirname(file) == ebin do
        :code.purge(module)
        :code.delete(module)
      end
    end)
  end
end
