# What ends the session, on both routes.
for {name, route} <- [
      {K8sConnect.GuardLimitsTest, :vm},
      {K8sConnect.GuardLimitsKernelTest, :kernel}
    ] do
  defmodule name do
    use K8sConnect.GuardCase, route: route

    alias K8sConnect.Error

    describe "what ends the session" do
      test "too many atoms" do
        assert :too_many_atoms =
                 failure([max_atoms: 5000], fn node ->
                   code = "for i <- 1..6000, do: String.to_atom(\"guard_\#{i}\")"
                   :erpc.call(node, Code, :eval_string, [code])
                 end)
      end

      test "too many functions" do
        assert :too_many_functions =
                 failure([], fn node ->
                   code =
                     "for i <- 0..80, a <- 0..255, do: :erlang.make_fun(:guard, :\"guard_\#{i}\", a)"

                   :erpc.call(node, Code, :eval_string, [code])
                 end)
      end

      test "a message that is too large" do
        assert :message_too_large =
                 failure([max_message: 100_000], fn node ->
                   :erpc.call(node, :binary, :copy, ["x", 200_000])
                 end)
      end
    end

    defp failure(options, fun) do
      connection = connect(options)
      reference = K8sConnect.subscribe(connection)
      catch_error(fun.(connection.node))

      assert_receive {:k8s_connect, ^reference,
                      {:down, %Error{stage: :endpoint, reason: {kind, _}} = error}},
                     10_000

      assert Exception.message(error) =~ to_string(connection.node)
      kind
    end
  end
end
