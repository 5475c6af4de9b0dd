defmodule Mix.K8sConnect.Install do
  @moduledoc false
  # The helper's installation: commands for an admin, shown before they are run.

  import Bitwise

  alias K8sConnect.Error
  alias K8sConnect.Helper.{Program, Trial}
  alias Mix.K8sConnect.{Console, Shell}

  # Owned by root on every system; the user's own PATH may name anything.
  @folders ~w(/usr/sbin /usr/bin /sbin /bin /run/wrappers/bin /run/current-system/sw/bin)
  @capabilities "cap_bpf,cap_net_admin,cap_perfmon=p"

  @doc """
  Installs the helper that was built with this library.
  """
  @spec install(keyword()) :: :ok
  def install(options) do
    path = Program.path()
    folder = Path.dirname(path)
    check_folders(folder)

    run(options, [
      [tool("install")] ++ ~w(-d -o root -g root -m 0755 #{folder}),
      [tool("install"), "-o", "root", "-g", "root", "-m", "0755", Program.built(), path],
      # Permitted and not effective: without them the helper starts and says why.
      [tool("setcap"), @capabilities, path]
    ])

    status(options)
  end

  @doc """
  Removes the helper. Helpers that run go on until their BEAM ends.
  """
  @spec uninstall(keyword()) :: :ok
  def uninstall(options) do
    if Program.installed?() do
      run(options, [[tool("rm"), Program.path()]])
      IO.puts("#{Program.path()} is gone")
    else
      IO.puts("there is no #{Program.path()}")
    end
  end

  @doc """
  Says what is installed and whether it works here.
  """
  @spec status(keyword()) :: :ok
  def status(options) do
    line("installed", installed())

    case Trial.run(options[:sudo] || false) do
      {:ok, found, verdicts} ->
        line("helper", "version #{found.version}, protocol #{found.major}.#{found.minor}")
        line("user", "connections of uid #{found.uid}, gid #{found.gid}, and of nobody else")
        line("self-test", "passed; every capability given up after it")
        for {family, verdict} <- verdicts, do: line(family, words(verdict))
        {_routes, why} = K8sConnect.Route.choose(%{route: :auto, sudo: false, visible: false})
        line("route", why)
        if Enum.any?(verdicts, &match?({_, {:works, _}}, &1)), do: :ok, else: Console.fail("", 1)

      {:error, %Error{reason: {word, _details}} = error} ->
        line("failure", Atom.to_string(word))
        Console.fail(Exception.message(error), 1)
    end
  end

  defp installed do
    case File.stat(Program.path()) do
      {:ok, %{uid: uid, mode: mode}} ->
        mode = mode |> band(0o7777) |> Integer.to_string(8)
        "#{Program.path()}, of uid #{uid}, mode #{mode}"

      {:error, _reason} ->
        "no: there is no #{Program.path()}"
    end
  end

  defp words({:works, time}), do: "works: a redirected connection arrived after #{time} us"
  defp words({:fails, sentence}), do: "does not work: " <> sentence

  defp line(name, text), do: IO.puts(String.pad_trailing(name, 10) <> " " <> text)

  # Only root may be able to replace a file with capabilities.
  defp check_folders(folder), do: folder |> parents() |> Enum.each(&check_folder/1)

  defp check_folder(folder) do
    with {:ok, stat} <- File.stat(folder),
         true <- stat.uid != 0 or band(stat.mode, 0o022) != 0 do
      Console.fail(
        "permission denied: others than root can change #{folder}, and so a helper in it. " <>
          "Fix it first: sudo chown root #{folder} && sudo chmod go-w #{folder}",
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

  # Root runs them as they are, and everybody else by sudo.
  defp run(options, commands) do
    commands = if root?(), do: commands, else: Enum.map(commands, &[tool("sudo") | &1])
    IO.puts("As root, once:\n")
    for words <- commands, do: IO.puts("    " <> Enum.map_join(words, " ", &quoted/1))
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
        Console.fail("nothing was done", 2)
    end
  end

  defp run_one([command | arguments] = words) do
    # sudo asks on the terminal itself.
    {_output, code} =
      System.cmd(command, arguments, into: IO.stream(:stdio, :line), stderr_to_stdout: true)

    if code != 0, do: Console.fail("this failed with #{code}: #{Enum.join(words, " ")}", 1)
  rescue
    error in ErlangError ->
      Console.fail("#{hd(words)} cannot be run: #{:file.format_error(error.original)}", 1)
  end

  defp quoted(word),
    do:
      if(word =~ ~r/[^\w\/.,=@%+-]/,
        do: "'" <> String.replace(word, "'", "'\\''") <> "'",
        else: word
      )

  defp root?, do: match?({:ok, %File.Stat{uid: 0}}, File.stat("/proc/self"))
end
