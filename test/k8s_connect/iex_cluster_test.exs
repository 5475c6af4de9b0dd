defmodule K8sConnect.IExClusterTest do
  # The helpers for IEx on a pod's node. Not async: this VM connects, and standard output is captured.
  use ExUnit.Case, async: false

  import ExUnit.CaptureIO
  import K8sConnect.IEx

  @moduletag :cluster

  setup do
    on_exit(fn ->
      for connection <- K8sConnect.connections(), do: K8sConnect.disconnect(connection)
    end)

    {:ok, connection} = K8sConnect.connect("app-0", route: :vm, log: false)
    %{connection: connection}
  end

  test "on/2 evaluates there, and the node makes the text of an exception", %{connection: to} do
    assert on(to, "node()") == to.node

    code = """
    defmodule There do
      defexception [:id]
      def message(%{id: id}), do: "made there \#{id}"
    end

    raise There, id: 7
    """

    output = capture_io(fn -> assert on(to, code) == nil end)
    assert output =~ "could not evaluate the expression on #{to.node}: ** (There) made there 7"
    assert capture_io(fn -> on(to, "throw(:x)") end) =~ "** (throw) :x"
    assert capture_io(fn -> on(to, "1 +") end) =~ "TokenMissingError"
  after
    on(to, ":code.delete(There) and :code.purge(There)")
  end

  test "on/4 shows what a function raised there", %{connection: to} do
    assert on(to, :erlang, :node, []) == to.node

    assert capture_io(fn -> on(to, :erlang, :abs, [:a]) end) =~
             "** (error) :badarg\n    :erlang.abs"

    assert capture_io(fn -> on(to, :lists, :nope, []) end) =~ "no such function :lists.nope"
  end
end
