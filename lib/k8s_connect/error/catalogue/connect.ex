defmodule K8sConnect.Error.Catalogue.Connect do
  @moduledoc false
  # The connection as a whole, and Erlang's own handshake.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:timeout, %{ms: ms, step: step, target: target}) do
    {"timed out after #{ms} ms connecting to #{target || "the pod"}#{after_step(step)}",
     {"Allow more time", {:mix, "k8s.connect", [connect_timeout: 2 * ms]}}}
  end

  # The cookie of the running process is the node's own, unless the node has changed it since.
  def entry(:refused, %{node: node, source: "the process" <> _rest = source}) do
    {mismatch(node, source), {"Pass it in a file", {:mix, "k8s.connect", [cookie_file: "PATH"]}}}
  end

  def entry(:refused, %{node: node, source: source}) do
    {mismatch(node, source),
     {["Pass the right cookie with ", {:option, :cookie_file, "PATH"}],
      "Or read it from the running node", {:mix, "k8s.connect", [cookie_from: :exec]}}}
  end

  def entry(:session_died, %{problem: problem}),
    do: {"internal error: the session ended (#{bare(problem)})", report()}

  def entry(:lost, %{node: node}),
    do: {"lost the connection to #{node}", {"Connect again with", {:mix, "k8s.connect", []}}}

  defp mismatch(node, source),
    do: "could not connect to #{node}: cookie mismatch (cookie from #{bare(source)})"

  defp after_step(nil), do: ""
  defp after_step(step), do: "; the last completed step is #{step}"
end
