defmodule K8sConnect.KernelConnections do
  @moduledoc """
  Connections by the kernel route, with plain nodes beside them, and their end.
  """

  import ExUnit.{Assertions, Callbacks}
  import K8sConnect.Laptop, only: [assert_nothing_left: 0, install_helper: 0]

  alias K8sConnect.{Connection, PlainNode}

  @doc """
  As a setup_all: installs the helper.
  """
  def use_helper(_context) do
    install_helper()
    # Plain nodes start epmd; it goes after them.
    on_exit(fn -> System.cmd("epmd", ["-kill"], stderr_to_stdout: true) end)
  end

  @doc """
  As a setup: ends each connection after the test, and nothing of them is left.
  """
  def disconnect_all(_context) do
    on_exit(fn ->
      for connection <- K8sConnect.connections(), do: K8sConnect.disconnect(connection)
      assert_nothing_left()
    end)
  end

  @doc """
  A connection.
  """
  def connect(target \\ "app-0", options \\ []) do
    options = Keyword.put_new(options, :route, :kernel)
    assert {:ok, %Connection{} = connection} = K8sConnect.connect(target, options)
    connection
  end

  @doc """
  Starts a plain node, which is ended after the test. Answers its port and its name.
  """
  def plain(options) do
    number = System.unique_integer([:positive])
    port = PlainNode.start([name: "plain#{number}@127.0.0.1"] ++ options)
    on_exit(fn -> if Port.info(port), do: Port.close(port) end)
    {port, "plain#{number}@127.0.0.1"}
  end
end
