defmodule K8sConnect.ConnectCase do
  @moduledoc """
  Connections over one protocol: `use K8sConnect.ConnectCase, protocol: :auto, portable: false`. `portable`: as on macOS.
  """

  import ExUnit.Assertions

  alias K8sConnect.{Connection, Error, Route, Sessions}
  alias K8sConnect.Route.VM.Table

  defmacro __using__(options) do
    quote do
      # From the laptop, as `dev`, in this very BEAM.
      use ExUnit.Case, async: false

      import K8sConnect.ConnectCase
      import K8sConnect.Laptop, only: [await: 1]

      @moduletag :cluster
      @moduletag timeout: 180_000

      @options unquote(options)

      setup do: use_protocol(@options)
    end
  end

  @doc """
  As a setup: sets the protocol of the test, and ends each connection after it.
  """
  def use_protocol(options) do
    Application.put_env(:k8s_connect, :protocol, options[:protocol])
    if options[:portable], do: System.put_env("K8S_CONNECT_PORTABLE", "1")

    ExUnit.Callbacks.on_exit(fn ->
      System.delete_env("K8S_CONNECT_PORTABLE")
      Application.delete_env(:k8s_connect, :protocol)
      for connection <- K8sConnect.connections(), do: K8sConnect.disconnect(connection)
    end)
  end

  @doc """
  A connection.
  """
  def connect(target \\ "app-0", options \\ []) do
    assert {:ok, %Connection{} = connection} = K8sConnect.connect(target, options)
    connection
  end

  @doc """
  The stage and the reason of a failure that leaves nothing.
  """
  def failure(target, options \\ []) do
    assert {:error, %Error{} = error} = K8sConnect.connect(target, options)
    assert nothing_left?()
    {error.stage, error.reason}
  end

  @doc """
  Whether there is no connection, no node, nothing in net_kernel, and no process of ours but the idle ones.
  """
  def nothing_left? do
    K8sConnect.connections() == [] and not Node.alive?() and
      not Enum.any?(DynamicSupervisor.which_children(Sessions.Supervisor), &alive?/1) and
      Table.empty?()
  catch
    # On its way up again.
    kind, _reason when kind in [:exit, :error] -> false
  end

  defp alive?({_id, pid, _type, _modules}), do: Process.alive?(pid)

  @doc """
  The native side of a pod connection.
  """
  def native(node) do
    {:vm, %{native: native}} = Route.attached(node)
    native
  end
end
