defmodule K8sConnect.Environment do
  @moduledoc """
  Variables for the time of one test.
  """

  @doc """
  Sets a variable, and what it was after the test.
  """
  def put(name, value) do
    before = System.get_env(name)

    ExUnit.Callbacks.on_exit(fn ->
      if before, do: System.put_env(name, before), else: System.delete_env(name)
    end)

    if value, do: System.put_env(name, value), else: System.delete_env(name)
  end
end
