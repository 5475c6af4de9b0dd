defmodule K8sConnect.OriginalsTest do
  use ExUnit.Case, async: false

  alias K8sConnect.Originals
  alias K8sConnect.Route.NetKernel

  setup do
    {:ok, _started} = Application.ensure_all_started(:k8s_connect)
    :ok
  end

  test "what is recorded is there for the next process" do
    fn -> Originals.put({__MODULE__, :a}, 1) end |> Task.async() |> Task.await()
    assert Originals.get({__MODULE__, :a}) == 1
    assert Originals.keys(__MODULE__) == [:a]
    :ok = Originals.delete({__MODULE__, :a})
    assert Originals.get({__MODULE__, :a}, :default) == :default
    assert Originals.keys(__MODULE__) == []
  end

  test "what was not restored is there after a restart of the application" do
    Originals.put({__MODULE__, :b}, 2)
    :ok = Application.stop(:k8s_connect)
    assert Originals.keys(__MODULE__) == []
    :ok = Application.start(:k8s_connect)
    assert Originals.get({__MODULE__, :b}) == 2
    :ok = Originals.delete({__MODULE__, :b})
    :ok = Application.stop(:k8s_connect)
    :ok = Application.start(:k8s_connect)
    assert Originals.keys(__MODULE__) == []
  end

  test "undoing does not fail after the application was killed" do
    :ok = Application.stop(:k8s_connect)
    assert Originals.get({__MODULE__, :c}) == nil
    assert Originals.delete({__MODULE__, :c}) == :ok
    assert Originals.keys(__MODULE__) == []
    :ok = NetKernel.remove(K8sConnect.Route.VM.Dist)
    :ok = Application.start(:k8s_connect)
  end
end
