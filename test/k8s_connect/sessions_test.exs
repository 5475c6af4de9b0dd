defmodule K8sConnect.SessionsTest do
  use ExUnit.Case, async: false

  alias K8sConnect.Sessions

  test "the sessions of a node, whatever its name means in an ETS pattern" do
    {:ok, _started} = Application.ensure_all_started(:k8s_connect)
    test = self()
    :ok = Sessions.register({"uid", :"a@10.1.2.3"}, test)
    assert Sessions.of(:"a@10.1.2.3") == [test]
    for name <- [:_, :"$1", :"$2"], do: assert(Sessions.of(name) == [])
    true = Sessions.unregister(test)
    assert Sessions.of(:"a@10.1.2.3") == []
  end
end
