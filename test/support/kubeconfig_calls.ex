defmodule K8sConnect.KubeconfigCalls do
  @moduledoc """
  Calls with a kubeconfig of a test's own, at the real API server or one of the test's own.
  """

  import ExUnit.Assertions

  alias K8sConnect.{Error, Kubeconfig, PlainServer}

  @doc """
  An API server's list of no pods.
  """
  def no_pods, do: ~s({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []})

  @doc """
  The answer to a request for pods.
  """
  def pods(kubeconfig, more \\ []), do: K8sConnect.pods([kubeconfig: kubeconfig] ++ more)

  @doc """
  The stage and the reason of a request that fails, which tells no secret.
  """
  def failure(kubeconfig, more \\ []) do
    assert {:error, %Error{} = error} = pods(kubeconfig, more)
    refute Exception.message(error) =~ "secret"
    {error.stage, error.reason}
  end

  @doc """
  Connects to app-0, calls it, and disconnects.
  """
  def assert_connects(options) do
    assert {:ok, connection} = K8sConnect.connect("app-0", options)
    assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
    K8sConnect.disconnect(connection)
    connection
  end

  @doc """
  Starts a server of the test's own, without TLS, as `K8sConnect.PlainServer` does. Answers the path
  of a kubeconfig for it.
  """
  def plain(tmp_dir, answer, login \\ "") do
    port = PlainServer.start(answer)
    cluster = ["server: 'http://#{login}127.0.0.1:#{port}'", "certificate-authority: none"]
    Kubeconfig.write(tmp_dir, cluster, [])
  end
end
