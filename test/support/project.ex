defmodule K8sConnect.Project do
  @moduledoc """
  Runs commands in other Mix projects, each build in a folder of its own.
  """

  @doc """
  Runs `mix` in `directory`, and the build goes to `build`. Answers the output and the exit code.
  """
  def mix(directory, build, arguments, env \\ []) do
    run(directory, "mix", arguments, [{"MIX_BUILD_ROOT", build}, {"MIX_ENV", "dev"} | env])
  end

  @doc """
  As `mix/4`, for any command; what this VM's Mix has set is taken out of the environment.
  """
  def run(directory, command, arguments, env \\ []) do
    clean = for name <- ~w(MIX_ENV MIX_EXS MIX_BUILD_ROOT MIX_BUILD_PATH), do: {name, nil}

    System.cmd(command, arguments,
      cd: directory,
      env: Map.new(clean) |> Map.merge(Map.new(env)) |> Enum.to_list(),
      stderr_to_stdout: true
    )
  end

  @doc """
  A folder of this checkout.
  """
  def path(relative), do: Path.expand(relative, Path.expand("../..", __DIR__))

  @doc """
  Writes a project with the name of an application that depends on this checkout. `more` are lines of its `mix.exs`.
  """
  def write_project(directory, app, more \\ "") do
    File.mkdir_p!(Path.join(directory, "lib"))

    File.write!(Path.join(directory, "mix.exs"), """
    defmodule #{Macro.camelize("#{app}")}.MixProject do
      use Mix.Project
      def project, do: [app: :#{app}, version: "0.1.0", deps: [{:k8s_connect, path: #{inspect(path("."))}}]]
      #{more}
    end
    """)
  end
end
