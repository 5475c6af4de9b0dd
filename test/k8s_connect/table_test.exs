defmodule K8sConnect.Route.VM.TableTest do
  use ExUnit.Case, async: false

  alias K8sConnect.Route.VM.Table

  setup do
    {:ok, _started} = Application.ensure_all_started(:k8s_connect)
    on_exit(&Table.clear/0)
  end

  test "a socket is handed out once, as it accepts one connection" do
    Table.put(:app@pod, "/proc/self/fd/7")
    assert Table.address(:app@pod) == {:ok, {:local, ~c"/proc/self/fd/7"}}
    assert Table.address(:app@pod) == {:error, :disconnected}
    assert Table.claims?(:app@pod)
  end
end
