defmodule K8sConnect.OptionsTest do
  use ExUnit.Case, async: true

  alias K8sConnect.{Error, Options}

  defp reason(options) do
    assert {:error, %Error{stage: :options, reason: {kind, _details}}} = Options.new(options)
    kind
  end

  test "takes what is given and defaults the rest" do
    assert {:ok, options} = Options.new(context: "prod", timeout: 5, namespace: nil)
    assert %{context: "prod", timeout_ms: 5, namespace: nil, kubeconfig: nil} = options
    assert {:ok, %{timeout_ms: 15_000}} = Options.new([])
  end

  test "refuses what it does not know" do
    assert reason(contxt: "prod") == :unknown_option
    assert reason(:context) == :not_a_keyword
    assert reason([1]) == :not_a_keyword
  end

  test "refuses values of another kind" do
    for value <- [:prod, "", 1, 'prod', "\xff"], do: assert(reason(context: value) == :bad_option)

    for value <- [0, -1, 1.5, "1", :infinity, 0x1_0000_0000],
        do: assert(reason(timeout: value) == :bad_option)
  end
end
