defmodule K8sConnect.FailuresElsewhereTest do
  use ExUnit.Case, async: true

  alias K8sConnect.{ErrorExamples, Failures}

  test "the named tests cause the failures" do
    kinds = for {stage, kind, _details} <- ErrorExamples.all(), do: {stage, kind}

    for {failure, {file, text}} <- Failures.elsewhere() do
      assert failure in kinds
      assert File.read!(file) =~ text, "#{inspect(failure)}: no #{inspect(text)} in #{file}"
    end

    for {_reason, failures} <- Failures.untested(),
        failure <- failures,
        do: assert(failure in kinds)
  end
end
