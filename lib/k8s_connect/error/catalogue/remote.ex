defmodule K8sConnect.Error.Catalogue.Remote do
  @moduledoc false
  # Code and shells on the node, once it is connected.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:raised, %{node: node, text: text} = details) do
    as = if details[:only_erlang], do: ", as Erlang because the node has no Elixir"
    {"could not evaluate the expression on #{node}#{as}: #{text}", nil}
  end

  def entry(:timeout, %{node: node, timeout_ms: timeout}) do
    {[
       "timed out after #{timeout} ms evaluating the expression on #{node}, and killed the process there. Allow more ",
       "time with ",
       {:option, :rpc_timeout}
     ], nil}
  end

  def entry(:too_large, %{node: node, size: size, limit: limit}) do
    {"could not print the result of the expression on #{node}: it has #{size} bytes, and the limit is #{limit}",
     "Take a part of it, or print it there with IO.puts, which has no limit"}
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
