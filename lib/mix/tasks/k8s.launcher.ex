defmodule Mix.Tasks.K8s.Launcher do
  @shortdoc "Writes a program k8s_connect, which starts faster than mix"

  @moduledoc """
  Writes a program `k8s_connect`, which starts faster than `mix`.

      mix k8s.launcher [FILE]

  ## Examples

      mix k8s.launcher                       # writes ~/.mix/escripts/k8s_connect
      mix k8s.launcher ~/.local/bin/k8s_connect

  Then, in any folder:

      k8s_connect app-0 --rpc 'node()'       # mix k8s.connect app-0 --rpc 'node()'
      k8s_connect pods                       # mix k8s.pods
      k8s_connect help connect               # mix help k8s.connect

  The program is a shell script. It starts the Erlang and Elixir that ran `mix k8s.launcher`, or `elixir` from `PATH` if
  they are not there any more. The modules come from the archive or from `_build` of this project. Run `mix k8s.launcher`
  again if that folder moves, and after an update of Erlang.

  The program loads no Mix project: it compiles nothing, and has no code of the project or of its dependencies. In a
  folder with a `mix.exs`, it evaluates `config/config.exs` and `config/runtime.exs`, which may configure targets and protect
  contexts; in an app of an umbrella, also those of the umbrella. It does not read another `:config_path` of a `mix.exs`.
  Run it only in projects that you trust. Elsewhere, it loads no code of the current folder, unless it has to use
  `elixir` from `PATH`.

  An existing FILE is only replaced if `mix k8s.launcher` wrote it.

  ## Exit codes

  0 success; 1 FILE could not be written; 2 usage error. The program has the exit codes of the tasks.
  """

  use Mix.Task

  alias Mix.K8sConnect.{Archive, Console, Launcher}

  import Mix.K8sConnect.Output, only: [say: 1]

  @usage "usage: mix k8s.launcher [FILE]. See: mix help k8s.launcher"

  @impl true
  def run(arguments), do: Archive.run(__MODULE__, arguments, &execute/1)

  defp execute(arguments) do
    Mix.Task.run("loadpaths")

    case OptionParser.parse(arguments, strict: []) do
      {[], [], []} ->
        write(Path.join(Mix.path_for(:escripts), "k8s_connect"))

      {[], [file], []} ->
        write(Path.expand(file))

      {_options, _arguments, [{switch, _} | _]} ->
        Console.fail("unknown option #{switch}. #{@usage}", 2)

      _other ->
        Console.fail(@usage, 2)
    end
  end

  defp write(file) do
    case Launcher.write(file) do
      :ok ->
        say("wrote #{file}")
        unless in_path?(Path.dirname(file)), do: say("#{Path.dirname(file)} is not in PATH")

      {:error, problem} ->
        Console.fail("could not write #{file}: #{problem}", 1)
    end
  end

  defp in_path?(directory) do
    "PATH"
    |> System.get_env("")
    |> String.split(":")
    |> Enum.any?(&(Path.expand(&1) == directory))
  end
end
