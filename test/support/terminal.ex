defmodule K8sConnect.Terminal do
  @moduledoc """
  A command on a terminal of its own, typed to and read from.
  """

  @doc """
  Starts `words`, as one command line, on a pseudo terminal.
  """
  def open(words, env \\ []) do
    # `script` gives the command a terminal and passes on what we write.
    port = start(words, env)
    {:os_pid, pid} = Port.info(port, :os_pid)
    # A failed test may leave a stopped job, which no end of input ends.
    ExUnit.Callbacks.on_exit(fn -> hang_up(pid) end)
    port
  end

  defp start(words, env) do
    Port.open({:spawn_executable, System.find_executable("script")}, [
      :binary,
      :exit_status,
      args: ["-qefc", words, "/dev/null"],
      env:
        for(
          {name, value} <- [{"TERM", "xterm"}, {"ELIXIR_ERL_OPTIONS", ""} | env],
          do: {to_charlist(name), to_charlist(value)}
        )
    ])
  end

  # Unless another process has its number by now.
  defp hang_up(pid) do
    with {:ok, "script\n"} <- File.read("/proc/#{pid}/comm"),
         do: System.cmd("kill", ["-HUP", "#{pid}"], stderr_to_stdout: true)
  end

  @doc """
  Types text.
  """
  def type(port, text), do: Port.command(port, text)

  @doc """
  Waits until the screen has shown `pattern`, and answers what it showed. `timeout` is the longest time without output.
  """
  def expect(port, pattern, seen \\ "", timeout \\ 20_000) do
    # Colours and moves of the cursor are not what is waited for.
    plain = String.replace(seen, ~r/\e\[[0-9;?]*[a-zA-Z]/, "")

    if plain =~ pattern do
      plain
    else
      receive do
        {^port, {:data, data}} ->
          expect(port, pattern, seen <> data, timeout)

        {^port, {:exit_status, status}} ->
          ExUnit.Assertions.flunk("ended with #{status}: #{seen}")
      after
        timeout -> ExUnit.Assertions.flunk("no #{inspect(pattern)} in: #{seen}")
      end
    end
  end

  @doc """
  Waits for the end, which may take so long after the last output, and answers the exit status.
  """
  def await_end(port, timeout \\ 20_000) do
    receive do
      {^port, {:data, _data}} -> await_end(port, timeout)
      {^port, {:exit_status, status}} -> status
    after
      timeout -> ExUnit.Assertions.flunk("it goes on")
    end
  end
end
