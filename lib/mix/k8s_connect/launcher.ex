defmodule Mix.K8sConnect.Launcher do
  @moduledoc false
  # A program that runs the tasks without a Mix project, which takes half the CPU time to start.

  alias K8sConnect.Shellwords
  alias Mix.K8sConnect.Console

  @commands ~w(connect doctor helper livebook observer pods trace)
  # `Mix.Task.run/2` needs four more modules to find a task by its name.
  @tasks Map.new(@commands, &{&1, Module.concat(Mix.Tasks.K8s, String.capitalize(&1))})
  # The second line of each program. A file without it is not overwritten.
  @mark "# Written by mix k8s.launcher"

  @usage """
  usage: k8s_connect [connect] TARGET [options]
         k8s_connect COMMAND [arguments]
         k8s_connect help COMMAND

  COMMAND: #{Enum.join(@commands, ", ")}. Each is the Mix task k8s.COMMAND. A target with the name of a
  command needs the command connect.
  """

  @doc """
  The program, a shell script for the modules in the directory `ebin`. `file` is where it will be.
  """
  @spec program(Path.t(), Path.t()) :: String.t()
  def program(ebin, file) do
    again = Shellwords.join(["mix", "k8s.launcher", file])

    # A version manager may put other versions into PATH of another folder, for which these modules were not compiled.
    root = to_string(:code.root_dir())

    # The directory of `erlexec`, which the script `erl` executes after two other programs. An update of Erlang in place
    # removes this directory: then the script is used.
    erts = Path.join(root, "erts-#{:erlang.system_info(:version)}/bin")
    # `-pa` puts them before `.`, from which OTP would load modules while it boots.
    [kernel, stdlib] = for name <- [:kernel, :stdlib], do: Path.join(:code.lib_dir(name), "ebin")
    elixir = :elixir |> :code.lib_dir() |> Path.join("..") |> Path.expand()

    """
    #!/bin/sh
    #{@mark}
    root=#{Shellwords.escape(root)}
    erts=#{Shellwords.escape(erts)}
    elixir=#{Shellwords.escape(elixir)}
    ebin=#{Shellwords.escape(ebin)}
    if [ ! -d "$ebin" ]; then
      printf '%s\\n' "k8s_connect: no such directory: $ebin. Write this program again with:" #{Shellwords.escape(again)} >&2
      exit 1
    fi
    if [ -x "$erts/erlexec" ]; then start=$erts/erlexec; else start=$root/bin/erl; fi
    if [ ! -x "$start" ] || [ ! -d "$elixir/elixir/ebin" ]; then
      exec elixir -pa "$ebin" -e '#{inspect(__MODULE__)}.main(System.argv())' -- "$@"
    fi
    if [ -t 1 ] && [ -t 2 ] && [ -z "$NO_COLOR" ]; then colors='-elixir ansi_enabled true'; else colors=''; fi
    export ROOTDIR="$root" BINDIR="$erts" EMU=beam PROGNAME=erl
    # shellcheck disable=SC2086 # words
    exec "$start" +SDio 2 -noshell -pa "$ebin" #{Shellwords.join([kernel, stdlib])} $ELIXIR_ERL_OPTIONS $colors -run #{__MODULE__}.Boot boot "$elixir" -extra "$@"
    """
  end

  @doc """
  Writes the program to a file.
  """
  @spec write(Path.t()) :: :ok | {:error, problem :: String.t()}
  def write(file) do
    ebin = __MODULE__ |> :code.which() |> Path.dirname()
    # The rename replaces a symbolic link, and not what it leads to.
    new = file <> ".new"

    with :ok <- check_path(ebin),
         :ok <- check_overwrite(file),
         :ok <- File.mkdir_p(Path.dirname(file)),
         _left_by_a_crash = File.rm(new),
         :ok <- File.write(new, program(ebin, file), [:exclusive]),
         :ok <- File.chmod(new, 0o755),
         :ok <- File.rename(new, file) do
      :ok
    else
      {:error, reason} when is_atom(reason) -> {:error, to_string(:file.format_error(reason))}
      {:error, problem} -> {:error, problem}
    end
  end

  # Elixir expands the argument of -pa.
  defp check_path(ebin) do
    if ebin =~ ~r/[][{}*?]/,
      do: {:error, "the path #{ebin} has a character that Elixir expands"},
      else: :ok
  end

  defp check_overwrite(file) do
    case File.read(file) do
      {:ok, text} -> if written?(text), do: :ok, else: {:error, not_written()}
      {:error, :enoent} -> :ok
      {:error, reason} -> {:error, reason}
    end
  end

  defp written?(text), do: match?([_interpreter, @mark | _rest], String.split(text, "\n"))

  defp not_written,
    do: "it exists, and mix k8s.launcher did not write it. Remove it, or choose another FILE"

  @doc """
  Runs a command line of the program.
  """
  @spec main([String.t()]) :: term()
  def main(arguments) do
    Mix.start()
    :persistent_term.put({:k8s_connect, :launcher}, @commands)
    run(arguments)
  end

  defp run([]), do: usage_error("missing argument: TARGET or COMMAND")
  defp run([help]) when help in ["--help", "-h"], do: IO.write(@usage)
  defp run(["help"]), do: IO.write(@usage)

  defp run(["help", command]) when command in @commands,
    do: Mix.Task.run("help", ["k8s.#{command}"])

  defp run(["help", command]), do: usage_error("unknown command: #{command}")
  defp run(["help" | _more]), do: usage_error("too many arguments")
  defp run([command | arguments]) when command in @commands, do: @tasks[command].run(arguments)
  defp run(arguments), do: @tasks["connect"].run(arguments)

  @spec usage_error(String.t()) :: no_return()
  defp usage_error(problem), do: Console.fail("#{problem}\n\n#{String.trim(@usage)}", 2)
end
