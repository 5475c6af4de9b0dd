defmodule K8sConnect.Ground do
  @moduledoc """
  What host tests do with clusters of their own, as root and from outside of them.
  """

  import K8sConnect.Project

  @doc """
  Runs `script/cluster` for the cluster of that name. Answers the output and the exit code.
  """
  def cluster(name, words, env \\ []) do
    run(path("."), path("script/cluster"), words, [{"K8S_CONNECT_CLUSTER", name} | env])
  end

  @doc """
  As `cluster/3`, where it has to go well. Answers the output.
  """
  def cluster!(name, words, env \\ []) do
    {output, status} = cluster(name, words, env)
    ExUnit.Assertions.assert(status == 0, "#{Enum.join(words, " ")}: #{output}")
    output
  end

  @doc """
  Evaluates code on the laptop, in a VM without our code. Answers what it prints.
  """
  def evaluate(name, code), do: cluster!(name, ["laptop", "elixir", "-e", code])

  @doc """
  The command lines of the processes in a namespace of the cluster.
  """
  def processes(name, namespace) do
    {pids, 0} = System.cmd("ip", ["netns", "pids", "#{name}-#{namespace}"])

    for pid <- String.split(pids),
        {:ok, line} <- [File.read("/proc/#{pid}/cmdline")],
        do: String.replace(line, "\0", " ")
  end

  @doc """
  All that is there of a cluster, looked for in the kernel and not in our own notes.
  """
  def left(name) do
    state = "/var/lib/k8s_connect/#{name}"
    # Another cluster's name may begin with this one's.
    ours = ~r/\b#{name}\b/

    Enum.concat([
      for(line <- command_lines(), line =~ ~r/#{state}\b/, do: {:process, line}),
      for(line <- lines(File.read!("/proc/mounts")), line =~ ours, do: {:mount, line}),
      for(line <- output("ip", ["netns", "list"]), line =~ ours, do: {:namespace, line}),
      for(line <- output("ip", ["-brief", "link"]), line =~ ours, do: {:link, line}),
      # With cgroup v2 at the top, with v1 in each hierarchy.
      for(dir <- Path.wildcard("/sys/fs/cgroup/#{name}"), do: {:cgroup, dir}),
      for(dir <- Path.wildcard("/sys/fs/cgroup/*/#{name}"), do: {:cgroup, dir}),
      for(dir <- Path.wildcard(state), do: {:state, dir})
    ])
  end

  # A process may be gone before we have read its command line.
  defp command_lines do
    for file <- Path.wildcard("/proc/[0-9]*/cmdline"),
        {:ok, text} <- [File.read(file)],
        do: String.replace(text, "\0", " ")
  end

  defp lines(text), do: String.split(text, "\n")

  defp output(command, arguments) do
    {text, 0} = System.cmd(command, arguments)
    lines(text)
  end

  @doc """
  Evaluates code in a pod, as an admin, and answers how the value looks.
  """
  def rpc(name, pod, code) do
    rpc = ["/app/bin/app", "rpc", "IO.puts(inspect(#{code}))"]
    shown = cluster!(name, ["kubectl", "exec", pod, "--"] ++ rpc)
    shown |> String.split("\n", trim: true) |> List.last()
  end

  @doc """
  Starts a command on the laptop that goes on until it is ended, with its output on the port.
  """
  def start(name, words) do
    Port.open({:spawn_executable, path("script/cluster")}, [
      :binary,
      :exit_status,
      :stderr_to_stdout,
      cd: path("."),
      args: ["laptop" | words],
      env: [{~c"K8S_CONNECT_CLUSTER", String.to_charlist(name)}, {~c"MIX_ENV", ~c"dev"}]
    ])
  end

  @doc """
  Waits for the command's end. Answers what it said until then and its exit status.
  """
  def ended(port, timeout, seen \\ "") do
    deadline = System.monotonic_time(:millisecond) + timeout

    receive do
      {^port, {:data, data}} ->
        ended(port, max(deadline - System.monotonic_time(:millisecond), 0), seen <> data)

      {^port, {:exit_status, status}} ->
        {seen, status}
    after
      timeout -> ExUnit.Assertions.flunk("it goes on: #{seen}")
    end
  end

  @doc """
  Calls `fun` until it returns something true, and returns that. The time limit is stretched as those of
  the scripts.
  """
  def await(fun, seconds \\ 60) do
    factor = String.to_integer(System.get_env("K8S_CONNECT_TIMEOUT_FACTOR", "1"))
    deadline = System.monotonic_time(:second) + seconds * factor

    Enum.find_value(Stream.repeatedly(fun), fn value ->
      late = System.monotonic_time(:second) > deadline
      if late and !value, do: ExUnit.Assertions.flunk("it never came")
      value || Process.sleep(50) == nil
    end)
  end
end
