defmodule K8sConnect.NodeMonitorTest do
  # The process of the application, which other tests use.
  use ExUnit.Case, async: false

  alias K8sConnect.NodeMonitor

  setup do
    {:ok, _started} = Application.ensure_all_started(:k8s_connect)
    :ok
  end

  # As net_kernel sends them.
  defp up(node), do: send(NodeMonitor, {:nodeup, node, []})
  defp down(node), do: send(NodeMonitor, {:nodedown, node, [nodedown_reason: :test]})
  defp nodes, do: :sys.get_state(NodeMonitor).nodes

  test "a process is told of its own node only" do
    :ok = NodeMonitor.monitor(:a@monitor)
    :ok = NodeMonitor.monitor(:a@monitor)
    for node <- [:a@monitor, :b@monitor], do: up(node)
    for node <- [:b@monitor, :a@monitor], do: down(node)
    assert_receive {:nodedown, :a@monitor, [nodedown_reason: :test]}
    refute_received _another
  end

  test "the late end of an earlier connection is not that of the next one" do
    :ok = NodeMonitor.monitor(:e@monitor)
    down(:e@monitor)
    up(:e@monitor)
    _state = nodes()
    refute_received _of_the_earlier_one
    :ok = NodeMonitor.monitor(:e@monitor)
    down(:e@monitor)
    _state = nodes()
    refute_received _of_the_earlier_one
    up(:e@monitor)
    down(:e@monitor)
    assert_receive {:nodedown, :e@monitor, _info}
  end

  test "a process that has ended is forgotten, and does not take its node from the next one" do
    test = self()

    first =
      spawn_monitor(fn ->
        :ok = NodeMonitor.monitor(:c@monitor)
        send(test, :monitors)
        receive do: (:end -> :ok)
      end)

    assert_receive :monitors
    :ok = NodeMonitor.monitor(:c@monitor)
    {pid, monitor} = first
    send(pid, :end)
    assert_receive {:DOWN, ^monitor, :process, ^pid, :normal}
    assert nodes()[:c@monitor] == {test, false}

    task = Task.async(fn -> NodeMonitor.monitor(:d@monitor) end)
    :ok = Task.await(task)
    # The monitor has sent its message to that process before this call.
    refute is_map_key(nodes(), :d@monitor)
    up(:c@monitor)
    down(:c@monitor)
    assert_receive {:nodedown, :c@monitor, _info}
  end
end
