# usage: elixir bench/reconnect.exs ours|plain POD
#
# Calls the node in POD without a pause, by the library or by the VM alone, for which kubectl port-forward is repeated.
# Prints "up" after the first right answer, and for each outage two Unix times: "lost_at", when a call has
# failed, and "back_at", when a call has returned the right value again. Ends with standard input.
Code.require_file("support.exs", __DIR__)

defmodule Reconnect do
  # Milliseconds between attempts, if nothing tells that one is worth while.
  @interval 20

  def run("ours", pod) do
    Application.put_env(:k8s_connect, :log, false)
    connection = Bench.ours(pod)
    reference = K8sConnect.subscribe(connection)

    next = fn node ->
      receive do
        {:k8s_connect, ^reference, {:up, connection}} -> connection.node
      after
        @interval -> node
      end
    end

    again = fn node -> await(pod, node, next, fn _node -> true end) end
    again.(connection.node) |> repeat(pod, again)
  end

  def run("plain", pod) do
    again = fn node ->
      main = self()
      # Beside the attempts: after most faults the address is the same.
      reader = spawn_link(fn -> read_address(main, pod, node) end)

      next = fn node ->
        receive do
          {:node, node} -> node
        after
          @interval -> node
        end
      end

      node = await(pod, node, next, &(&1 != nil and Node.connect(&1)))
      Process.unlink(reader)
      Process.exit(reader, :kill)
      node
    end

    again.(nil) |> repeat(pod, again)
  end

  defp repeat(node, pod, again) do
    IO.puts("up")
    outages(node, pod, again)
  end

  defp outages(node, pod, again) do
    if Bench.call(node, pod) != :right do
      Bench.print_time("lost_at", System.os_time(:microsecond))
      node = again.(node)
      Bench.print_time("back_at", System.os_time(:microsecond))
      outages(node, pod, again)
    else
      outages(node, pod, again)
    end
  end

  # The node, when a call has returned the right value.
  defp await(pod, node, next, connect) do
    if connect.(node) and Bench.call(node, pod) == :right,
      do: node,
      else: await(pod, next.(node), next, connect)
  end

  # Sends the name of the node whenever it is another one.
  defp read_address(main, pod, node) do
    arguments = ["get", "pod", pod, "-o", "jsonpath={.status.podIP}"]

    now =
      case System.cmd("kubectl", arguments, stderr_to_stdout: true) do
        {"", 0} -> node
        {ip, 0} -> String.to_atom("app@" <> ip)
        # While there is no pod, or no API server.
        {_message, _status} -> node
      end

    if now != node, do: send(main, {:node, now})
    read_address(main, pod, now)
  end
end

spawn_link(fn ->
  :eof = IO.gets("")
  System.halt()
end)

[way, pod] = System.argv()
Reconnect.run(way, pod)
