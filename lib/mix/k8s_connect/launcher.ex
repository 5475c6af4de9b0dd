defmodule Mix.K8sConnect.Launcher do
  @moduledoc false
  # A program that runs the tasks without a Mix project, which takes half the time to start.

  alias Mix.K8sConnect.Console

  @commands ~w(connect doctor helper livebook observer pods trace)
  # In the second line of each program, so that no other file is overwritten.
  @mark "# Written by mix k8s.launcher"

  @usage """
  usage: k8s_connect [connect] TARGET [options]
         k8s_connect COMMAND [arguments]
         k8s_connect help COMMAND

  COMMAND: #{Enum.join(@commands, ", ")}. Each is the Mix task k8s.COMMAND.
  """

  @doc """
  The program, a shell script for the modules in the directory `ebin`.
  """
  @spec program(Path.t()) :: String.t()
  def program(ebin) do
    """
    #!/bin/sh
    #{@mark}
    ebin=#{K8sConnect.Shellwords.escape(ebin)}
    if [ ! -d "$ebin" ]; then
      echo "k8s_connect: no such directory: $ebin. Write this program again with: mix k8s.launcher $0" >&2
      exit 1
    fi
    exec elixir -pa "$ebin" -e '#{inspect(__MODULE__)}.main(System.argv())' -- "$@"
    """
  end

  @doc """
  Writes the program to a file.
  """
  @spec write(Path.t()) :: :ok | {:error, problem :: String.t()}
  def write(file) do
    ebin = __MODULE__ |> :code.which() |> Path.dirname()

    with :ok <- check_overwrite(file),
         :ok <- File.mkdir_p(Path.dirname(file)),
         :ok <- File.write(file, program(ebin)),
         :ok <- File.chmod(file, 0o755) do
      :ok
    else
      {:error, reason} when is_atom(reason) -> {:error, to_string(:file.format_error(reason))}
      {:error, problem} -> {:error, problem}
    end
  end

  defp check_overwrite(file) do
    case File.read(file) do
      {:ok, text} -> if text =~ "\n#{@mark}\n", do: :ok, else: {:error, "it is another file"}
      {:error, :enoent} -> :ok
      {:error, reason} -> {:error, reason}
    end
  end

  @doc """
  Runs a command line of the program.
  """
  @spec main([String.t()]) :: term()
  def main(arguments) do
    Mix.start()
    run(arguments)
  end

  defp run(none) when none in [[], ["help"]], do: Console.fail(String.trim(@usage), 2)
  defp run([help]) when help in ["--help", "-h"], do: IO.write(@usage)
  defp run(["help", command]) when command in @commands, do: task("help", ["k8s.#{command}"])

  defp run(["help", command | _more]),
    do: Console.fail("unknown command #{inspect(command)}\n\n" <> String.trim(@usage), 2)

  defp run([command | arguments]) when command in @commands, do: task("k8s.#{command}", arguments)
  defp run(arguments), do: task("k8s.connect", arguments)

  defp task(name, arguments), do: Mix.Task.run(name, arguments)
end
