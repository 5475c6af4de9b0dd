defmodule K8sConnect.PodsTest do
  # From the laptop, as `dev`, against the real API server.
  # Not async: one test changes KUBECONFIG.
  use ExUnit.Case, async: false

  import K8sConnect.Kubeconfig, only: [changed: 3, user: 1]
  import K8sConnect.Tmp

  alias K8sConnect.{Error, Pod}

  @moduletag :cluster

  setup :tmp_dir

  defp failure(options) do
    assert {:error, %Error{} = error} = K8sConnect.pods(options)
    assert Exception.message(error) =~ ~r/\. |: /
    {error.stage, error.reason}
  end

  test "lists pods with name, uid, phase, IP and containers" do
    assert {:ok, pods} = K8sConnect.pods()

    assert %Pod{namespace: "default", phase: "Running"} =
             pod = Enum.find(pods, &(&1.name == "app-0"))

    assert pod.uid =~ ~r/^[0-9a-f]{8}-[0-9a-f-]{27}$/
    assert pod.ip =~ ~r/^10\.244\.1\.\d+$/

    assert [%Pod.Container{name: "app", image: "registry.test/app:" <> _, ready: true}] =
             pod.containers
  end

  test "sees what kubectl sees" do
    assert {:ok, pods} = K8sConnect.pods(namespace: "default")

    template =
      "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.status.podIP}{\"\\n\"}{end}"

    {text, 0} = System.cmd("kubectl", ["get", "pods", "-o", template])
    assert Enum.map_join(pods, &"#{&1.name} #{&1.uid} #{&1.ip}\n") == text
  end

  test "READY, STATUS and RESTARTS are those of kubectl" do
    {text, 0} = System.cmd("kubectl", ~w(get pods --no-headers))
    lines = for line <- String.split(text, "\n", trim: true), do: String.split(line)
    {:ok, pods} = K8sConnect.pods()

    columns =
      for pod <- pods do
        ready = "#{pod.ready_containers}/#{pod.total_containers}"
        [pod.name, ready, pod.status, "#{pod.restarts}"]
      end

    # A container that restarts in a loop has another status a moment later.
    steady = fn rows ->
      Enum.reject(rows, fn [_name, _ready, status | _more] -> status =~ ~r/Loop|Error|Pull/ end)
    end

    assert Enum.map(steady.(lines), &Enum.take(&1, 4)) == steady.(columns)
  end

  test "a spec leads to the node, its evidence and its owner" do
    assert {:ok, [pod]} = K8sConnect.pods(target: "app-0")
    assert %Pod{beam: true, owner: "sts/app", node: node, evidence: evidence} = pod
    assert node in [nil, "app@#{pod.ip}"]
    assert "RELEASE_COOKIE" in evidence
    assert {:ok, created, 0} = DateTime.from_iso8601(pod.created_at)
    assert DateTime.compare(created, DateTime.utc_now()) == :lt
    {host, 0} = System.cmd("kubectl", ~w(get pod app-0 -o jsonpath={.spec.nodeName}))
    assert pod.kubernetes_node == host
  end

  test "the pods of a target and of labels" do
    names = fn options ->
      {:ok, pods} = K8sConnect.pods(options)
      for pod <- pods, do: pod.name
    end

    assert ["app-0" | _] = pods = names.(target: "sts/app")
    assert names.(selector: "app=app") == pods
    assert names.(selector: "app=nobody") == []
    assert {:target, {:no_pods, _details}} = failure(target: "sts/nobody")
    assert {:target, {:no_such_pod, _details}} = failure(target: "nobody-0")
  end

  test "all namespaces need a ClusterRole" do
    assert {:cluster, {:forbidden, details}} = failure(all_namespaces: true)
    assert %{verb: "list", resource: "pods", namespace: ""} = details
  end

  test "KUBECONFIG is read at each call, and its missing files are skipped" do
    before = System.fetch_env!("KUBECONFIG")
    on_exit(fn -> System.put_env("KUBECONFIG", before) end)
    System.put_env("KUBECONFIG", "/does/not/exist:#{before}")
    assert {:ok, [_ | _]} = K8sConnect.pods()
  end

  test "many at once" do
    tasks = for _ <- 1..50, do: Task.async(fn -> K8sConnect.pods() end)
    for answer <- Task.await_many(tasks, 30_000), do: assert({:ok, [_ | _]} = answer)
  end

  test "forbidden" do
    assert {:cluster, {:forbidden, details}} = failure(namespace: "kube-system")
    assert %{verb: "list", resource: "pods", namespace: "kube-system", message: message} = details
    assert message =~ ~s(User "dev" cannot list)
  end

  test "unreachable server", %{tmp_dir: tmp_dir} do
    path = changed(tmp_dir, ":6443", ":6444")
    assert {:cluster, {:unreachable, details}} = failure(kubeconfig: path)
    assert %{server: "https://10.200.0.1:6444", problem: "Connection refused" <> _} = details
  end

  test "no route to the server", %{tmp_dir: tmp_dir} do
    path = changed(tmp_dir, "10.200.0.1", "10.244.1.1")

    assert {:cluster, {:unreachable, %{problem: "Network is unreachable" <> _}}} =
             failure(kubeconfig: path)
  end

  test "a server that does not answer in time", %{tmp_dir: tmp_dir} do
    {:ok, listener} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(listener)
    path = changed(tmp_dir, "10.200.0.1:6443", "127.0.0.1:#{port}")
    assert {:cluster, {:timed_out, %{timeout_ms: 200}}} = failure(kubeconfig: path, timeout: 200)
  end

  test "a server that is none", %{tmp_dir: tmp_dir} do
    path = changed(tmp_dir, "https://10.200.0.1:6443", "http://10.200.0.1:6443")
    assert {:cluster, {:refused, %{code: 400, message: message}}} = failure(kubeconfig: path)
    assert message =~ "HTTP request to an HTTPS server"
  end

  test "a server of another authority" do
    assert {:cluster, {:unknown_authority, %{server: "https://10.200.0.1:6443"}}} =
             failure(kubeconfig: user("stranger"))
  end

  test "bad kubeconfig", %{tmp_dir: tmp_dir} do
    path = changed(tmp_dir, "clusters:\n", "clusters: {\n")

    assert {:config, {:malformed, %{path: ^path, problem: "line " <> _}}} =
             failure(kubeconfig: path)
  end

  test "unknown context" do
    assert {:config, {:unknown_context, %{context: "prod", available: ["testcluster"]}}} =
             failure(context: "prod")
  end

  test "missing file" do
    assert {:config, {:not_found, %{paths: ["/does/not/exist"]}}} =
             failure(kubeconfig: "/does/not/exist")
  end

  test "a file that may not be read", %{tmp_dir: tmp_dir} do
    path = changed(tmp_dir, "dev", "dev")
    File.chmod!(path, 0o000)

    assert {:config, {:unreadable, %{problem: "Permission denied" <> _}}} =
             failure(kubeconfig: path)
  end

  test "expired client certificate" do
    assert {:cluster, {:client_certificate_expired, details}} =
             failure(kubeconfig: user("expired"))

    assert %{context: "testcluster", not_after: not_after} = details
    assert {:ok, ended, 0} = DateTime.from_iso8601(not_after)
    assert DateTime.compare(ended, DateTime.utc_now()) == :lt
  end

  test "a user whom the server does not know", %{tmp_dir: tmp_dir} do
    path =
      changed(
        tmp_dir,
        ~r/client-certificate-data: .*\n    client-key-data: .*\n/,
        "token: not-a-token\n"
      )

    assert {:cluster, {:unauthorized, %{server: "https://10.200.0.1:6443"}}} =
             failure(kubeconfig: path)
  end
end
