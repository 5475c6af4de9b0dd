defmodule K8sConnect.Daemon do
  @moduledoc """
  Programs that listen, for the time of one test: proxies and the like.
  """

  import ExUnit.Assertions

  @doc """
  A port of the loopback that nothing listens on.
  """
  def free_port(address \\ {127, 0, 0, 1}) do
    {:ok, listener} = :gen_tcp.listen(0, [family(address), ip: address])
    {:ok, port} = :inet.port(listener)
    :ok = :gen_tcp.close(listener)
    port
  end

  @doc """
  Starts a program and waits until it takes connections on the port. It is ended after the test.
  """
  def start(words, port, address \\ {127, 0, 0, 1}) do
    # What ends the test, or kills this VM, closes the shell's input, and the shell ends the program.
    # Programs of administrators are not in the PATH of a user.
    script = ~S(PATH=$PATH:/usr/sbin; "$@" < /dev/null & read end; kill $!; wait)

    daemon =
      Port.open({:spawn_executable, "/bin/sh"}, [
        :binary,
        :exit_status,
        :stderr_to_stdout,
        args: ["-c", script, "daemon" | words]
      ])

    {:os_pid, pid} = Port.info(daemon, :os_pid)
    ExUnit.Callbacks.on_exit(fn -> gone(pid, 500) end)
    await(daemon, port, address, 500)
  end

  defp gone(pid, tries) do
    if tries > 0 and File.exists?("/proc/#{pid}") do
      Process.sleep(10)
      gone(pid, tries - 1)
    end
  end

  defp await(daemon, port, address, tries) do
    receive do
      {^daemon, {:exit_status, status}} -> flunk("it ended with #{status}")
    after
      0 -> :ok
    end

    case :gen_tcp.connect(address, port, [family(address)]) do
      {:ok, socket} ->
        :gen_tcp.close(socket)

      {:error, _not_yet} ->
        assert tries > 0, "nothing listens on #{port}"
        Process.sleep(10)
        await(daemon, port, address, tries - 1)
    end
  end

  defp family(address) when tuple_size(address) == 8, do: :inet6
  defp family(_address), do: :inet
end
