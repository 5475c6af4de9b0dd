defmodule K8sConnect.GuardCase do
  @moduledoc """
  A real pod behind the guard, on one route: `use K8sConnect.GuardCase, route: :vm`.
  """

  import ExUnit.Callbacks

  defmacro __using__(route: route) do
    quote do
      use ExUnit.Case, async: false

      import K8sConnect.GuardCase

      @route unquote(route)
      @moduletag if(@route == :vm, do: :cluster, else: :kernel)
      @moduletag timeout: 180_000

      setup :disconnect_all

      # test/host/versions_test.exs runs this with each OTP on both sides.
      defp connect(options \\ []) do
        pod = System.get_env("K8S_CONNECT_POD", "app-0")
        K8sConnect.connect!(pod, [log: false, route: @route] ++ options)
      end
    end
  end

  @doc """
  As a setup: ends each connection after the test.
  """
  def disconnect_all(_context) do
    on_exit(fn ->
      for connection <- K8sConnect.connections(), do: K8sConnect.disconnect(connection)
    end)
  end

  @doc """
  A process that does nothing.
  """
  def victim do
    pid = spawn(fn -> Process.sleep(:infinity) end)
    on_exit(fn -> Process.exit(pid, :kill) end)
    pid
  end

  @doc """
  How many messages of a kind were refused.
  """
  def refused(connection, kind), do: Map.get(K8sConnect.status(connection).refused, kind, 0)

  @doc """
  Whether `fun` becomes true within two seconds.
  """
  def await(fun, tries \\ 100) do
    cond do
      fun.() -> true
      tries == 0 -> false
      true -> Process.sleep(20) && await(fun, tries - 1)
    end
  end
end
