defmodule K8sConnect.DistributionTest do
  use ExUnit.Case, async: false

  alias K8sConnect.{Distribution, Environment}
  alias K8sConnect.Distribution.Name

  defp names(user) do
    Environment.put("USER", user)
    {:ok, first} = GenServer.start_link(Name, [])
    {:ok, second} = GenServer.start_link(Name, [])
    names = Enum.map([first, second, first], &GenServer.call(&1, :get))
    Enum.each([first, second], &GenServer.stop/1)
    names
  end

  test "a VM keeps its name, and another one of the same user has another" do
    for user <- ["dev", "Jörg Müller", "DOMAIN\\user", "a@b", "", String.duplicate("x", 300)] do
      [first, second, again] = names(user)
      assert first =~ ~r/\Arem-[a-z0-9_-]{1,20}-[a-z0-9]{1,6}\z/
      assert first != second and first == again
    end
  end

  test "the local node's name is long or short as the pod's is" do
    {:ok, _started} = Application.ensure_all_started(:k8s_connect)
    assert Atom.to_string(Distribution.name(:"app@10.244.1.2")) =~ ~r/@127\.0\.0\.1\z/
    assert Atom.to_string(Distribution.name(:"app@app-0")) =~ ~r/@localhost\z/
  end
end
