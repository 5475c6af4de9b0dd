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

  def entry(:missing_flags, %{node: node, flags: flags, otp: otp} = details) do
    {"unsupported: #{node} runs an OTP that is too old for OTP #{otp} on this machine, which requires distribution flags " <>
       "that the node does not have (#{Enum.join(flags, ", ")})",
     {"Use an older OTP on this machine: each works with the two releases before it",
      "Or open a shell in its container", exec(details, ["sh"])}}
  end

  def entry(:session_crashed, %{problem: problem}),
    do: {"internal error: the session ended (#{bare(problem)})", report()}

  def entry(:lost, %{node: node, reason: reason}) do
    {"lost the connection to #{node}#{cause(reason)}",
     {"Connect again with", {:mix, "k8s.connect", []}}}
  end

  def entry(:not_up, %{target: target, state: :down}),
    do: {"no such connection: #{target} has ended, or was never connected", nil}

  def entry(:not_up, %{target: target, state: state}),
    do:
      {"not connected to #{target}: the state is #{state}",
       "Wait for it with: K8sConnect.await_up(connection)"}

  defp mismatch(node, source),
    do: "could not connect to #{node}: cookie mismatch (cookie from #{bare(source)})"

  # Reasons of OTP: https://www.erlang.org/doc/apps/kernel/net_kernel.html#monitor_nodes/2
  defp cause(nil), do: ""
  defp cause(:connection_closed), do: ": the node closed it"
  defp cause(:disconnect), do: ": it was disconnected"
  defp cause(:net_tick_timeout), do: ": the node did not answer for net_ticktime"
  defp cause(:net_kernel_terminated), do: ": net_kernel was stopped"
  defp cause(:route_restarted), do: ": k8s_connect was restarted in this VM"
  defp cause(reason), do: ": #{reason}"

  defp after_step(nil), do: ""
  defp after_step(step), do: "; the last completed step is #{step}"
end
