defmodule K8sConnect.IPFamiliesTest do
  # Pods with IPv6 addresses only and with both kinds, and nodes named by either, on both routes.
  use ExUnit.Case, async: false

  import K8sConnect.Ground

  @moduletag :host
  @moduletag timeout: 300_000

  @name "family"

  # Connects to each target by each route, and prints a line for each. The last one may not change net_kernel.
  @program """
  for target <- System.argv(), route <- [:vm, :kernel] do
    {:ok, connection} = K8sConnect.connect(target, route: route)
    true = :erpc.call(connection.node, :erlang, :node, []) == connection.node
    IO.puts("result \#{target} \#{route} \#{connection.node} \#{connection.ip}")
    :ok = K8sConnect.disconnect(connection)
  end

  false = Node.alive?()
  Application.put_env(:k8s_connect, :net_kernel, :untouched)
  {:error, error} = K8sConnect.connect(List.last(System.argv()), route: :kernel)
  IO.puts("result \#{inspect(error.reason)}")
  """

  setup do
    cluster(@name, ["down"])
    on_exit(fn -> cluster(@name, ["down"]) end)
  end

  for {family, targets} <- [{"ipv6", ["six-0"]}, {"dual", ["four-0", "six-0"]}] do
    test "pods of a cluster with --ip-family #{family}" do
      cluster!(@name, ~w(up --ip-family #{unquote(family)}))
      if unquote(family) == "dual", do: cluster!(@name, ~w(app four))
      cluster!(@name, ~w(app six --variant ipv6))
      cluster!(@name, ~w(laptop mix compile))
      words = ~w(laptop --helper mix run -e) ++ [@program | unquote(targets)]
      {output, 0} = cluster(@name, words, [{"MIX_ENV", "dev"}])

      for target <- unquote(targets), route <- ["vm", "kernel"] do
        address = if target == "four-0", do: ~S"10\.244\.1\.\d+", else: "fd00:10:244:1::[0-9a-f]+"
        assert output =~ ~r/^result #{target} #{route} app@(#{address}) \1$/m
      end

      assert output =~ ~r/^result {:address_family, %{node: :"app@fd00:10:244:1::/m
      # Another program has to choose the family itself.
      words = ~w[laptop --helper mix k8s.connect six-0 --route kernel --rpc node()]
      assert {output, 0} = cluster(@name, words, [{"MIX_ENV", "dev"}])
      assert output =~ ~S|another BEAM needs --erl "-proto_dist inet6_tcp"|
    end
  end
end
