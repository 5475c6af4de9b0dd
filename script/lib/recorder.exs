defmodule Recorder do
  # A shell of an ordinary user on the laptop of the test cluster, typed to at the pace of a person.
  # A recording is [{milliseconds, bytes}], the newest first while it is made.

  @timeout 60_000

  # Starts the shell. `type` types and returns the recording; what follows is not recorded.
  def record(columns, rows, type) do
    shell = "script/cluster laptop env PS1='\\[\\e[32m\\]$\\[\\e[0m\\] ' bash --norc -i"
    # script(1) gives the shell a terminal.
    arguments = ["-qefc", "stty cols #{columns} rows #{rows}; exec #{shell}", "/dev/null"]
    options = [:binary, :exit_status, args: arguments, env: [{~c"TERM", ~c"xterm"}]]
    port = Port.open({:spawn_executable, System.find_executable("script")}, options)
    seen = type.(port, await(port, [], ~r/\$ $/))
    finish(port)
    Enum.reverse(seen)
  end

  # Types a line, and waits for `pattern` at the end of the screen.
  def enter(port, seen, line, pattern) do
    keys = [{"", 900}] ++ for(key <- String.graphemes(line), do: {key, 50}) ++ [{"", 400}]
    seen = Enum.reduce(keys, seen, fn {key, pause}, seen -> press(port, seen, key, pause) end)
    Port.command(port, "\r")
    await(port, [], pattern) ++ seen
  end

  # Presses a key, and records for `pause` milliseconds.
  def press(port, seen, key, pause) do
    Port.command(port, key)
    Process.send_after(self(), :continue, pause)
    collect(port, seen, fn _seen -> false end)
  end

  def text(seen) do
    bytes = for {_time, data} <- Enum.reverse(seen), into: "", do: data
    String.replace(bytes, ~r/\e\[[0-9;?]*[a-zA-Z]/, "")
  end

  defp finish(port) do
    Port.command(port, "exit\r")
    receive do: ({^port, {:exit_status, _status}} -> :ok)
  end

  defp await(port, seen, pattern), do: collect(port, seen, &(text(&1) =~ pattern))

  defp collect(port, seen, done?) do
    receive do
      :continue ->
        seen

      {^port, {:data, data}} ->
        seen = [{System.monotonic_time(:millisecond), data} | seen]
        if done?.(seen), do: seen, else: collect(port, seen, done?)
    after
      @timeout -> raise "timed out after #{@timeout} ms. The terminal showed: #{text(seen)}"
    end
  end
end
