defmodule Mix.K8sConnect.Install do
  @moduledoc false
  # Installs the helper: prints the commands, asks, and runs them as root.

  import Bitwise

  alias K8sConnect.{Error, Shellwords}
  alias K8sConnect.Helper.{Program, Trial}
  alias Mix.K8sConnect.{Console, Shell}

  # Root owns these everywhere; the user's PATH may have any program.
  @folders ~w(/usr/sbin /usr/bin /sbin /bin /run/wrappers/bin /run/current-system/sw/bin)
  @capabilities "cap_bpf,cap_net_admin,cap_perfmon=p"

  @doc """
  Installs the helper of this build.
  """
  @spec install(keyword()) :: :ok
  def install(options) do
    path = Program.path()
    folder = Path.dirname(path)
    check_folders(folder)

    run(options, [
      [tool("install")] ++ ~w(-d -o root -g root -m 0755 #{folder}),
      [tool("install"), "-o", "root", "-g", "root", "-m", "0755", Program.built(), path],
      # Only permitted: without them the helper starts, and reports why it cannot work.
      [tool("setcap"), @capabilities, path]
    ])

    status(options)
  end

  @doc """
  Removes the helper. Running helpers stop with their BEAM.
  """
  @spec uninstall(keyword()) :: :ok
  def uninstall(options) do
    if Program.installed?() do
      run(options, [[tool("rm"), Program.path()]])
      IO.puts("removed #{Program.path()}")
    else
      IO.puts("not installed: no such file: #{Program.path()}")
    end
  end

  @doc """
  Prints what is installed, and whether it works on this machine.
  """
  @spec status(keyword()) :: :ok
  def status(options) do
    line("installed", installed())

    case Trial.run(options[:sudo] || false) do
      {:ok, helper, results} ->
        line("helper", "version #{helper.version}, protocol #{helper.major}.#{helper.minor}")
        line("user", "redirects connections of uid #{helper.uid}, gid #{helper.gid} only")
        line("self-test", "passed; all capabilities dropped")
        for {family, result} <- results, do: line(family, describe(result))
        {_routes, why} = K8sConnect.Route.choose(%{route: :auto, sudo: false, visible: false})
        line("route", why)
        if Enum.any?(results, &match?({_, {:works, _}}, &1)), do: :ok, else: Console.fail("", 1)

      {:error, %Error{reason: {kind, _details}} = error} ->
        line("failure", Atom.to_string(kind))
        Console.fail(Error.message(error, :cli), 1)
    end
  end

  defp installed do
    case File.stat(Program.path()) do
      {:ok, %{uid: uid, mode: mode}} ->
        mode = mode |> band(0o7777) |> Integer.to_string(8)
        "#{Program.path()}, owner uid #{uid}, mode #{mode}"

      {:error, _reason} ->
        "no: no such file: #{Program.path()}"
    end
  end

  defp describe({:works, time}), do: "works: a redirected connection arrived after #{time} us"
  defp describe({:fails, reason}), do: "does not work: " <> reason

  defp line(name, text), do: IO.puts(String.pad_trailing(name, 10) <> " " <> text)

  # Nobody but root may replace a file with capabilities.
  defp check_folders(folder), do: folder |> parents() |> Enum.each(&check_folder/1)

  defp check_folder(folder) do
    with {:ok, stat} <- File.stat(folder),
         true <- stat.uid != 0 or band(stat.mode, 0o022) != 0 do
      word = Shellwords.escape(folder)

      Console.fail(
        "permission denied: users other than root can write to #{folder} and replace the helper. " <>
          "Fix it with: sudo chown root #{word} && sudo chmod go-w #{word}",
        1
      )
    end
  end

  defp parents("/"), do: ["/"]
  defp parents(folder), do: [folder | parents(Path.dirname(folder))]

  defp tool(name) do
    @folders |> Enum.map(&Path.join(&1, name)) |> Enum.find(&File.exists?/1) ||
      Console.fail("could not find #{name} in #{Enum.join(@folders, ", ")}.#{package(name)}", 1)
  end

  defp package("setcap"), do: " On Debian: sudo apt-get install libcap2-bin"
  defp package(_name), do: ""

  # Users other than root run the commands with sudo.
  defp run(options, commands) do
    commands = if root?(), do: commands, else: Enum.map(commands, &[tool("sudo") | &1])
    IO.puts("As root, once:\n")
    for command <- commands, do: IO.puts("    " <> Shellwords.join(command))
    IO.puts("")
    ask(options)
    Enum.each(commands, &run_one/1)
  end

  defp ask(options) do
    cond do
      options[:yes] ->
        :ok

      not Shell.terminal?() ->
        Console.fail("not running on a terminal. Run the commands yourself, or pass --yes", 2)

      Mix.shell().yes?("Run these commands now?") ->
        :ok

      true ->
        Console.fail("cancelled: nothing was changed", 2)
    end
  end

  defp run_one([program | arguments] = command) do
    # sudo uses the terminal itself.
    {_output, code} =
      System.cmd(program, arguments, into: IO.stream(:stdio, :line), stderr_to_stdout: true)

    if code != 0,
      do: Console.fail("command failed with exit code #{code}: #{Shellwords.join(command)}", 1)
  rescue
    error in ErlangError ->
      Console.fail("could not run #{program}: #{:file.format_error(error.original)}", 1)
  end

  defp root?, do: match?({:ok, %File.Stat{uid: 0}}, File.stat("/proc/self"))
end
