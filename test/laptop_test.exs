defmodule K8sConnect.LaptopTest do
  # What the other tests on the laptop take for granted about it.
  use ExUnit.Case, async: true

  @moduletag :cluster

  defp status(field) do
    [_, value] = Regex.run(~r/^#{field}:\s*(\S+)/m, File.read!("/proc/self/status"))
    value
  end

  defp kubectl(arguments), do: System.cmd("kubectl", arguments, stderr_to_stdout: true)

  defp connect_node(port), do: :gen_tcp.connect({10, 200, 0, 1}, port, [], 1000)

  test "is an ordinary user's: no capability, and nothing that forbids to gain one" do
    {uid, 0} = System.cmd("id", ["-u"])
    assert uid == "4200\n"

    for set <- ~w(CapPrm CapEff CapInh CapAmb),
        do: assert(String.to_integer(status(set), 16) == 0)

    assert String.to_integer(status("CapBnd"), 16) != 0
    assert status("NoNewPrivs") == "0"
  end

  test "the project is not on a nosuid mount" do
    {options, 0} =
      System.cmd("findmnt", ["--noheadings", "--output", "OPTIONS", "--target", File.cwd!()])

    refute options =~ "nosuid"
  end

  test "runs in a login session of its user" do
    assert File.read!("/proc/self/cgroup") =~ ~r"^0::/user.slice/user-4200.slice/session-"m
  end

  test "reaches the API server and nothing else" do
    assert {:ok, socket} = connect_node(6443)
    :gen_tcp.close(socket)
    {:ok, pods} = K8sConnect.pods()
    ip = Enum.find_value(pods, &(&1.name == "app-0" && &1.ip))
    {:ok, address} = ip |> String.to_charlist() |> :inet.parse_address()
    assert {:error, :enetunreach} = :gen_tcp.connect(address, 4369, [], 1000)
    # etcd and the controllers listen on the node's loopback only.
    assert {:error, :econnrefused} = connect_node(2379)
  end

  test "kubectl is there and is `dev`, who may do what the Role says and no more" do
    allowed = [
      "get pods",
      "list pods",
      "watch pods",
      "get pods --subresource=portforward",
      "create pods --subresource=portforward",
      "get secrets/app-cookie"
    ]

    denied = [
      "delete pods",
      "create pods --subresource=exec",
      "list secrets",
      "get secrets/other",
      "get nodes",
      "get pods -n kube-system"
    ]

    for action <- allowed, do: assert({action, "yes"} == {action, can_i(action)})
    for action <- denied, do: assert({action, "no"} == {action, can_i(action)})
  end

  # kubectl warns, on the way, about resources that have no namespace.
  defp can_i(action) do
    {output, _code} = kubectl(["auth", "can-i" | String.split(action)])
    output |> String.split("\n", trim: true) |> List.last()
  end
end
