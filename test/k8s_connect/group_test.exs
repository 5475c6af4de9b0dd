defmodule K8sConnect.GroupTest do
  # How a group begins and ends, with a server of the test's own in place of the API server. `keep_test.exs` has groups
  # with pods.
  use ExUnit.Case, async: false

  import K8sConnect.Laptop, only: [await: 1]
  import K8sConnect.Tmp

  alias K8sConnect.{Error, PlainServer, Sessions}

  setup :tmp_dir

  @pod ~s({"metadata": {"name": "web-0", "namespace": "default", "uid": "1"},
           "spec": {"containers": []}, "status": {"phase": "Running"}})

  defp connect_all(kubeconfig, options \\ []),
    do: K8sConnect.connect_all("svc/web", [kubeconfig: kubeconfig] ++ options)

  defp groups, do: DynamicSupervisor.which_children(Sessions.Supervisor)

  # A service with one pod.
  defp with_pod(tmp_dir) do
    kubeconfig(tmp_dir, fn head, _body ->
      cond do
        head =~ "/services/web" -> PlainServer.json(~s({"spec": {"selector": {"app": "web"}}}))
        head =~ "watch=" -> Process.sleep(:infinity)
        true -> PlainServer.json(~s({"metadata": {"resourceVersion": "1"}, "items": [#{@pod}]}))
      end
    end)
  end

  defp silent(tmp_dir), do: kubeconfig(tmp_dir, fn _head, _body -> Process.sleep(:infinity) end)

  defp kubeconfig(tmp_dir, answer) do
    path = Path.join(tmp_dir, "kubeconfig")

    File.write!(path, """
    current-context: own
    contexts: [{name: own, context: {cluster: own, user: own}}]
    clusters: [{name: own, cluster: {server: 'http://127.0.0.1:#{PlainServer.start(answer)}'}}]
    users: [{name: own, user: {}}]
    """)

    path
  end

  defmodule SlowCaller do
    # A registry for names that are the pids of callers. It suspends the caller, who can only go on when the group has
    # ended.
    def register_name(caller, _group) do
      :erlang.suspend_process(caller)
      :yes
    end

    def whereis_name(_caller), do: :undefined
    def unregister_name(_caller), do: :ok
  end

  test "an error that comes before the caller waits for it is not lost", %{tmp_dir: tmp_dir} do
    kubeconfig = kubeconfig(tmp_dir, fn _head, _body -> {"403 Forbidden", [], "{}"} end)

    assert {:error, %Error{reason: {:forbidden, _details}}} =
             connect_all(kubeconfig, name: {:via, SlowCaller, self()})

    assert groups() == []
  end

  test "the error of a session that fails at once is not lost", %{tmp_dir: tmp_dir} do
    missing = Path.join(tmp_dir, "missing/log")

    assert {:error, %Error{reason: {:no_audit_file, _details}}} =
             connect_all(with_pod(tmp_dir), audit: missing)
  end

  test "a group ends with its connect timeout", %{tmp_dir: tmp_dir} do
    assert {:error, %Error{stage: :connect, reason: {:timeout, details}}} =
             connect_all(silent(tmp_dir), connect_timeout: 100)

    assert %{ms: 100, target: "svc/web"} = details
    assert groups() == []
  end

  test "a group ends with a caller that waits", %{tmp_dir: tmp_dir} do
    kubeconfig = silent(tmp_dir)
    caller = spawn(fn -> connect_all(kubeconfig) end)
    await(fn -> groups() != [] end)
    Process.exit(caller, :kill)
    await(fn -> groups() == [] end)
  end

  test "a group that waits ends by disconnect", %{tmp_dir: tmp_dir} do
    kubeconfig = silent(tmp_dir)
    task = Task.async(fn -> connect_all(kubeconfig, name: :waiting) end)
    await(fn -> Process.whereis(:waiting) end)
    assert K8sConnect.disconnect(:waiting) == :ok
    assert {:error, %Error{stage: :connect, reason: {:lost, _details}}} = Task.await(task)
    assert groups() == []
  end
end
