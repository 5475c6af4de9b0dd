defmodule K8sConnect.RoundTripsTest do
  # How many times a connect waits for the distance to the API server, TCP and TLS included.
  use ExUnit.Case, async: false

  import K8sConnect.Tmp

  @moduletag :cluster

  # Long enough that all the work of a connect is less than half of one.
  @round_trip 600

  setup :tmp_dir

  defp connect(pod, kubeconfig) do
    {time, {:ok, connection}} =
      :timer.tc(fn -> K8sConnect.connect(pod, kubeconfig: kubeconfig) end)

    {round(time / 1000 / @round_trip), connection}
  end

  # A cluster that no other test has connections to.
  defp distant(tmp_dir, name) do
    port = K8sConnect.Distance.start({10, 200, 0, 1}, 6443, @round_trip)
    kubeconfig = Path.join(tmp_dir, name)
    text = File.read!(Path.expand("~/.kube/dev"))
    File.write!(kubeconfig, String.replace(text, "10.200.0.1:6443", "127.0.0.1:#{port}"))
    kubeconfig
  end

  # Until two connections to the API server are open, as after an earlier connect.
  defp warm_up(kubeconfig) do
    1..2
    |> Enum.map(fn _ -> Task.async(fn -> K8sConnect.pods(kubeconfig: kubeconfig) end) end)
    |> Task.await_many(60_000)
    |> Enum.each(&assert {:ok, _pods} = &1)
  end

  test "six for a first pod, four for a second one and for one again", %{tmp_dir: tmp_dir} do
    kubeconfig = distant(tmp_dir, "first")

    # TCP, TLS, the upgrade, the probe of the port in the spec at the same time as epmd, and two of the
    # distribution's handshake; the pod and its cookie are read meanwhile.
    assert {first, one} = connect("app-0", kubeconfig)
    assert first <= 6
    warm_up(kubeconfig)
    assert {second, two} = connect("env-from", kubeconfig)
    assert second <= 4
    # Its name and port are known. The pod and its Secret are read, one after the other.
    :ok = K8sConnect.disconnect(one)
    assert {again, one} = connect("app-0", kubeconfig)
    assert again <= 4
    # Its name and port are in the spec, and its cookie as well.
    assert {third, three} = connect("named", kubeconfig)
    assert third <= 3

    for connection <- [one, two, three], do: K8sConnect.disconnect(connection)
  end

  test "five where the pod's spec has the node's name and port", %{tmp_dir: tmp_dir} do
    assert {trips, connection} = connect("named", distant(tmp_dir, "named"))
    assert trips <= 5
    K8sConnect.disconnect(connection)
  end

  test "seven where the spec has neither", %{tmp_dir: tmp_dir} do
    assert {trips, connection} = connect("config-map", distant(tmp_dir, "neither"))
    assert trips <= 7
    K8sConnect.disconnect(connection)
  end
end
