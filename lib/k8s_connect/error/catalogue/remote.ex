defmodule K8sConnect.Error.Catalogue.Remote do
  @moduledoc false
  # Code and shells on the node, once it is connected.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:raised, %{node: node, text: text}),
    do: {"could not evaluate the expression on #{node}: #{text}", nil}

  def entry(:no_elixir, %{node: node}) do
    {"unsupported: #{node} has no Elixir to evaluate the expression",
     {"Call functions with :erpc from this BEAM instead", "Start IEx with",
      {:mix, "k8s.connect", []}}}
  end

  def entry(:no_iex, %{node: node}) do
    {"unsupported: #{node} has no IEx",
     {"Open IEx on this side instead", {:mix, "k8s.connect", []}}}
  end

  def entry(:no_shell, %{problem: problem}) do
    {"could not start a shell on this terminal: #{bare(problem)}",
     {"Evaluate an expression instead", {:mix, "k8s.connect", [rpc: "node()"]}}}
  end
end
