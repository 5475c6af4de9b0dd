defmodule K8sConnect.NativeTest do
  # Not async: it unloads the module that others call.
  use ExUnit.Case, async: false

  alias K8sConnect.{Error, Native}

  defp call, do: K8sConnect.pods(kubeconfig: "/does/not/exist")

  defp unload do
    :code.purge(Native)
    :code.delete(Native)
    :code.purge(Native)
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
