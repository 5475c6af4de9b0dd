defmodule K8sConnect.Error.Catalogue.Exec do
  @moduledoc false
  # A command of the exec route, and the program that runs it.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  @vm {"Connect this BEAM instead", {:mix, "k8s.connect", [route: :vm]}}

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:not_found, %{command: command, problem: problem}) do
    {"could not run #{command}: #{bare(problem)}",
     {"Check with", {:sh, ["command", "-v", command]}}}
  end

  def entry(:not_executable, %{command: command, problem: problem}),
    do: {"could not run #{command}: #{bare(problem)}", ls(command)}

  def entry(:no_livebook, %{directory: directory}) do
    {"could not start Livebook: no program livebook in PATH or in #{directory}",
     {"Install it with", {:mix, "escript.install", ["hex", "livebook"]}}}
  end

  def entry(:no_seccomp, %{problem: problem}) do
    {[
       "unsupported: ",
       {:option, :route, :exec},
       " needs seccomp user notification (Linux 5.9, and a container that allows it): #{bare(problem)}"
     ], @vm}
  end

  def entry(:nested, %{problem: problem}) do
    {[
       "unsupported: this process is already supervised by seccomp: another ",
       {:option, :route, :exec},
       " or the container manager supervises it (#{bare(problem)})"
     ],
     {"One command can reach several pods",
      {:elixir, ~S|K8sConnect.exec([connection, other], ["CMD"])|,
       {:mix, "k8s.connect", ["app-0", "app-1", "--", "CMD"]}}}}
  end

  def entry(:no_ptrace, %{problem: problem}) do
    {[
       "permission denied: ",
       {:option, :route, :exec},
       " has to read the memory of the command, but the kernel does not allow it (#{bare(problem)})"
     ],
     {"kernel.yama.ptrace_scope has to be 0 or 1, and a Docker container needs the capability SYS_PTRACE",
      "Check with", {:sh, ["cat", "/proc/sys/kernel/yama/ptrace_scope"]}}}
  end

  def entry(:not_redirected, %{problem: problem}),
    do: {"could not redirect a test connection on this machine: #{bare(problem)}", @vm}

  def entry(:system, %{problem: problem}),
    do: {"could not run the command: #{bare(problem)}", report()}

  def entry(:no_runner, %{program: program, problem: problem}) do
    {"could not start #{program}: #{bare(problem)}",
     {"Rebuild it with", {:mix, "deps.compile", ["k8s_connect", "--force"]}}}
  end

  def entry(:runner_killed, %{}),
    do: {"the program that runs the command was killed, and the command with it", nil}

  def entry(:port_forward_closed, %{node: node, reason: reason}) do
    {"lost the connection to #{node}: #{bare(reason)}. The command was ended",
     {"Connect again with", {:mix, "k8s.connect", []}}}
  end

  def entry(:other_route, %{node: node, route: route}) do
    {["could not run a command: #{node} is connected with ", {:option, :route, route}],
     {"Connect with", {:mix, "k8s.connect", [route: :exec]}}}
  end

  def entry(:linux_only, %{}),
    do: {["unsupported: ", {:option, :route, :exec}, " requires Linux"], @vm}
end
