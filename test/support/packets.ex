defmodule K8sConnect.Packets do
  @moduledoc """
  Packets of `K8sConnect.RawNode`. `caller` is a process that waits, `call` the reference of its call or request, and
  `given` what it has given out; `me` and `own` are a process and a reference of the node.
  """

  @doc """
  `{control}`, `{control, payload}`, `{control, {:bytes, payload}}`, `{:bytes, packet}`, or `:close`.
  """
  def of(:nothing, _context), do: []

  def of(:monitor_and_its_end, %{me: me, own: own, caller: caller}),
    do: [{{19, me, caller, own}}, {{21, me, caller, own, :noproc}}]

  def of(:demonitor, %{me: me, caller: caller, given: given}), do: [{{20, me, caller, given}}]

  def of(:demonitor_call, %{me: me, caller: caller, call: call}),
    do: [{{20, me, caller, call}}, :close]

  def of(:down, %{me: me, caller: caller, given: given}), do: [{{21, me, caller, given, :forged}}]

  def of(:trace_token, %{caller: caller, call: call}),
    do: [{{12, :"", caller, :token}, {call, :x}}]

  def of(:link, %{me: me, caller: caller, call: call}),
    do: [{{31, call, caller, 1, me}}, {{3, me, caller, :boom}}]

  def of(:kill, %{me: me, caller: caller}), do: [{{26, me, caller}, :kill}]
  def of(:leader, %{me: me, caller: caller}), do: [{{7, me, caller}}]
  def of(:bytes, %{given: given}), do: [{:bytes, given}]

  def of(:raw, %{given: list} = context),
    do: Code.eval_string(list, Map.to_list(context)) |> elem(0)
end
