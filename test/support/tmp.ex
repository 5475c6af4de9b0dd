defmodule K8sConnect.Tmp do
  @moduledoc """
  Folders for tests that run where the project itself may not be written to.
  """

  @doc """
  A new folder, gone again after the test. As a setup: `setup :tmp_dir`, with this module imported.
  """
  def tmp_dir(_context) do
    # Other VMs run tests at the same time.
    name = "k8s_connect_test-#{System.pid()}-#{System.unique_integer([:positive])}"
    path = Path.join(System.tmp_dir!(), name)
    File.mkdir!(path)
    ExUnit.Callbacks.on_exit(fn -> File.rm_rf!(path) end)
    %{tmp_dir: path}
  end
end
