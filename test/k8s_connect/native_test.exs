defmodule K8sConnect.NativeTest do
  # Not async: it unloads the module that others call.
  use ExUnit.Case, async: false

  import K8sConnect.Tmp

  alias K8sConnect.{Error, Native}

  setup :tmp_dir

  defp call, do: K8sConnect.pods(kubeconfig: "/does/not/exist")

  defp unload do
    :code.purge(Native)
    :code.delete(Native)
    :code.purge(Native)
  end

  defp kubeconfig(port) do
    """
    clusters: [{name: c, cluster: {server: "http://127.0.0.1:#{port}"}}]
    contexts: [{name: test, context: {cluster: c, user: u}}]
    current-context: test
    users: [{name: u, user: {}}]
    """
  end

  test "a call is answered by the library" do
    assert {:error, %Error{stage: :config, reason: {:not_found, %{paths: ["/does/not/exist"]}}}} =
             call()
  end

  test "loading the module does not load the library, a call does" do
    unload()
    assert {:module, Native} = Code.ensure_loaded(Native)
    assert_raise ErlangError, ~r/nif_not_loaded/, fn -> Native.list_pods(make_ref(), %{}, %{}) end
    assert {:error, %Error{stage: :config}} = call()
    assert_raise ArgumentError, fn -> Native.list_pods(make_ref(), %{}, %{}) end
  end

  test "many first calls at once are all answered" do
    for _round <- 1..20 do
      unload()
      Code.ensure_loaded!(Native)
      tasks = for _ <- 1..20, do: Task.async(&call/0)
      for answer <- Task.await_many(tasks), do: assert({:error, %Error{stage: :config}} = answer)
    end
  end

  test "the library is loaded again with its module, once no call of the old module runs",
       %{tmp_dir: directory} do
    {:ok, server} = :gen_tcp.listen(0, ip: {127, 0, 0, 1}, active: false)
    {:ok, port} = :inet.port(server)
    kubeconfig = Path.join(directory, "kubeconfig")
    File.write!(kubeconfig, kubeconfig(port))
    task = Task.async(fn -> K8sConnect.pods(kubeconfig: kubeconfig) end)
    {:ok, connection} = :gen_tcp.accept(server)
    :code.purge(Native)
    assert {:module, Native} = :code.load_file(Native)

    assert {:error, %Error{stage: :native, reason: {:in_use, %{path: _path}}}} = call()
    :gen_tcp.close(connection)
    :gen_tcp.close(server)
    assert {:error, %Error{stage: :cluster}} = Task.await(task)

    assert {:error, %Error{stage: :config}} = call()
  end

  test "a caller that dies leaves the library well" do
    caller = spawn(&call/0)
    Process.exit(caller, :kill)
    assert {:error, %Error{stage: :config}} = call()
  end

  test "an answer is the only message" do
    call()
    refute_received _anything
  end
end
