defmodule K8sConnect.CommandCase do
  @moduledoc """
  `mix k8s.connect` and the other commands, in BEAMs of their own, on the laptop as `dev`: `use K8sConnect.CommandCase`.
  """

  import K8sConnect.Project

  defmacro __using__([]) do
    quote do
      use ExUnit.Case, async: false

      import K8sConnect.{CommandCase, Project}

      @moduletag :cluster
      @moduletag timeout: 120_000

      setup_all do
        {_output, 0} = run(path("."), "mix", ["compile"], env())
        :ok
      end
    end
  end

  @doc """
  Runs `mix k8s.connect` with a command line. Answers the output and the exit code.
  """
  def connect(words, env \\ []),
    do: run(path("."), "mix", ["k8s.connect" | OptionParser.split(words)], env(env))

  @doc """
  The environment of the laptop's dev build, beside the one that runs the tests.
  """
  def env(more \\ []), do: [{"MIX_ENV", "dev"} | more]
end
