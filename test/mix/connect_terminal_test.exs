defmodule Mix.Tasks.K8s.ConnectTerminalTest do
  # `mix k8s.connect` on a terminal, and what is left when it is killed: on the laptop as `dev`.
  use K8sConnect.CommandCase

  import K8sConnect.Laptop, only: [processes: 1]
  import K8sConnect.Terminal

  defp listening do
    for file <- ["tcp", "tcp6", "unix"],
        do:
          File.read!("/proc/net/#{file}")
          |> String.split("\n")
          |> Enum.filter(&(&1 =~ ~r/ 0A | 00010000 /))
  end

  defp files, do: Path.wildcard(Path.join(System.tmp_dir!(), "k8s_connect-[0-9]*-[0-9]*"))

  test "on a terminal it is IEx here, connected, with completion" do
    terminal = open("mix k8s.connect app-0", env())
    assert expect(terminal, ~r/iex\(rem-dev-[\w-]+@127\.0\.0\.1\)/) =~ ":erpc.call(:\"app@"
    type(terminal, "Node.list(:connected)\r")
    expect(terminal, ~r/\[:"app@10\.244\.1\.\d+"\]/)
    type(terminal, "Enum.cou\t")
    expect(terminal, "Enum.count")
    type(terminal, "([1, 2]) + 40\r")
    expect(terminal, "42")
    type(terminal, "System.halt(0)\r")
    assert await_end(terminal) == 0
  end

  test "--remsh is IEx there, with completion" do
    terminal = open("mix k8s.connect app-0 --remsh", env())
    expect(terminal, ~r/iex\(app@10\.244\.1\.\d+\)/)
    type(terminal, "node()\r")
    expect(terminal, ~r/:"app@10\.244\.1\.\d+"/)
    type(terminal, "Enum.cou\t")
    expect(terminal, "Enum.count")
    type(terminal, "([1, 2]) + 40\r")
    expect(terminal, "42")
    # ^C a: this side ends, the node goes on.
    type(terminal, <<3>>)
    expect(terminal, "(a)bort")
    type(terminal, "a\r")
    await_end(terminal)
    assert {_output, 0} = connect("app-0 --rpc 1")
  end

  test "iex -S mix k8s.connect" do
    terminal = open("iex -S mix k8s.connect app-0", env())
    expect(terminal, ~r/iex\(rem-dev-[\w-]+@127\.0\.0\.1\)/)
    type(terminal, "Node.list(:connected)\r")
    expect(terminal, ~r/\[:"app@10\.244\.1\.\d+"\]/)
    type(terminal, "System.halt(0)\r")
    assert await_end(terminal) == 0
  end

  test "iex -S mix k8s.connect --remsh is refused: both shells would read from the terminal" do
    terminal = open("iex -S mix k8s.connect app-0 --remsh", env())
    expect(terminal, "--remsh cannot be used in iex -S mix")
    assert await_end(terminal) == 2
  end

  defp start_holding do
    Port.open({:spawn_executable, System.find_executable("mix")}, [
      :binary,
      :exit_status,
      :stderr_to_stdout,
      cd: path("."),
      args: ["k8s.connect", "app-0", "--hold"],
      env: [{~c"MIX_ENV", ~c"dev"}]
    ])
  end

  defp hold do
    port = start_holding()
    [_, pid] = Regex.run(~r/end it with: kill (\d+)/, expect(port, ~r/end it with: kill \d+/))
    {port, pid}
  end

  test "--hold ends in order with SIGTERM" do
    {port, pid} = hold()
    {_output, 0} = System.cmd("kill", [pid])
    assert await_end(port) == 0
  end

  test "nothing is opened, and nothing is left after SIGKILL" do
    before = {listening(), processes("epmd"), files()}
    {port, pid} = hold()
    assert {listening(), processes("epmd"), files()} == before
    # No secret is on a command line of ours.
    refute File.read!("/proc/#{pid}/cmdline") =~ "cookie"
    {_output, 0} = System.cmd("kill", ["-KILL", pid])
    assert await_end(port) != 0
    assert {listening(), processes("epmd"), files()} == before
    assert {_output, 0} = connect("app-0 --rpc 1")
  end

  test "nothing is left after SIGKILL at any step" do
    before = {listening(), processes("epmd")}

    # From before the VM has read its code to after it is connected, 40 ms apart.
    for delay <- 100..900//40 do
      port = start_holding()
      {:os_pid, pid} = Port.info(port, :os_pid)
      # The moment is what the test is about: nothing is waited for here.
      Process.sleep(delay)
      {_output, 0} = System.cmd("kill", ["-KILL", to_string(pid)])
      await_end(port)
    end

    assert {listening(), processes("epmd")} == before

    # The next BEAM removes what a kill has left in the moment between the creation and the removal of a folder.
    for folder <- files(), do: File.touch(folder, 0)
    assert {_output, 0} = connect("app-0 --rpc 1")
    assert files() == []
  end
end
