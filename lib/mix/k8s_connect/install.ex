defmodule Mix.K8sConnect.Install do
  @moduledoc false
  # The helper's installation: commands for an admin, shown before they are run.

  import Bitwise

  alias K8sConnect.Helper.{Program, Trial}
  alias Mix.K8sConnect.{Console, Shell}

  @doc """
  Puts the helper that was built with this library to its path.
  """
  @spec install(keyword()) :: :ok
  def install(_options) do
    # An nftables verdict is kept per connection-tracking tuple, so a user who seeds tuples redirects
    # other users' and root's connections to a listener of their own.
    Console.fail(
      "permission denied: this version does not install the helper. Its netfilter rules allow any " <>
        "local user to take over TCP connections of other users and of root. Use the vm route, which " <>
        "needs no helper, and remove an installed one: mix k8s.helper uninstall",
      1
    )
  end

  @doc false
  def install_commands(options) do
    path = Program.path()
    folder = Path.dirname(path)
    check_folders(folder)
    setcap = find_tool("setcap", "On Debian: sudo apt-get install libcap2-bin")

    run(options, [
      ~w(install -d -o root -g root -m 0755 #{folder}),
      ["install", "-o", "root", "-g", "root", "-m", "0755", Program.built(), path],
      # Permitted and not effective: it starts where the capability cannot be had, and says so.
      [setcap, "cap_net_admin=p", path]
    ])

    status(options)
  end

  @doc """
  Removes the helper. Helpers that run go on until their BEAM ends.
  """
  @spec uninstall(keyword()) :: :ok
  def uninstall(options) do
    if Program.installed?() do
      run(options, [["rm", Program.path()]])
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
        line("user", "connections of uid #{found.uid} and of nobody else")
        line("keeps", Enum.join(found.capabilities, ", ") |> or_none())
        line("mechanism", or_none(found.mechanism))
        for {family, verdict} <- verdicts, do: line(family, words(verdict))
        {_routes, why} = K8sConnect.Route.choose(%{route: :auto, sudo: false, visible: false})
        line("route", why)
        if Enum.any?(verdicts, &match?({_, {:works, _}}, &1)), do: :ok, else: Console.fail("", 1)

      {:error, error} ->
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

  defp or_none(text) when text in [nil, ""], do: "none"
  defp or_none(text), do: text

  defp line(name, text), do: IO.puts(String.pad_trailing(name, 10) <> " " <> text)

  # A file with a capability must be nobody's to change but root's, and so must the way to it.
  defp check_folders(folder), do: folder |> parents() |> Enum.each(&check_folder/1)

  defp check_folder(folder) do
    with {:ok, stat} <- File.stat(folder),
         true <- stat.uid != 0 or band(stat.mode, 0o022) != 0 do
      Console.fail(
        "#{folder} can be changed by others than root, so a helper in it could be, too. " <>
          "Mend it first: sudo chown root #{folder} && sudo chmod go-w #{folder}",
        1
      )
    end
  end

  defp parents("/"), do: ["/"]
  defp parents(folder), do: [folder | parents(Path.dirname(folder))]

  # An ordinary user's PATH often lacks these folders.
  defp find_tool(name, cure) do
    System.find_executable(name) ||
      Enum.find(["/usr/sbin/#{name}", "/sbin/#{name}"], &File.exists?/1) ||
      Console.fail("installing the helper needs #{name}, and there is none. #{cure}", 1)
  end

  # Root runs them as they are, and everybody else by sudo.
  defp run(options, commands) do
    commands = if root?(), do: commands, else: Enum.map(commands, &["sudo" | &1])
    IO.puts("As root, once:\n")
    for words <- commands, do: IO.puts("    " <> Enum.map_join(words, " ", &quoted/1))
    IO.puts("")
    ask(options)
    Enum.each(commands, &run_one/1)
  end

  defp ask(options) do
    cond do
      options[:yes] -> :ok
      not Shell.terminal?() -> Console.fail("nobody is there to ask. Run them, or say --yes", 2)
      Mix.shell().yes?("Run these commands now?") -> :ok
      true -> Console.fail("nothing was done", 2)
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
