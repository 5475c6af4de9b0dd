defmodule K8sConnect.Packets do
  @moduledoc """
  Packets of `K8sConnect.RawNode`: `{control}`, `{control, payload}`, `{control, {:bytes, payload}}`, `{:bytes, packet}`,
  or `:close`.
  """

  # No VM decodes a bitstring with nine bits in its last byte.
  @undecodable <<131, 77, 1::32, 9, 255>>

  @doc """
  `caller` is a process that waits, `call` the reference of its call or request, and `given` what it has given out; `me`
  and `own` are a process and a reference of the node.
  """
  def of(:nothing, _context), do: []

  # A monitor of the caller, and its end, which is that of a monitor by the caller
  def of(:monitor_and_its_end, %{me: me, own: own, caller: caller}),
    do: [{{19, me, caller, own}}, {{21, me, caller, own, :noproc}}]

  def of(:demonitor, %{me: me, caller: caller, given: given}), do: [{{20, me, caller, given}}]

  def of(:demonitor_call, %{me: me, caller: caller, call: call}),
    do: [{{20, me, caller, call}}, :close]

  def of(:down, %{me: me, caller: caller, given: given}),
    do: [{{21, me, caller, given, :forged}}]

  # The answer to a request of another node
  def of(:spawn_reply, %{me: me, caller: caller, given: given}),
    do: [{{31, given, caller, 0, me}}]

  def of(:link, %{me: me, caller: caller, call: call}),
    do: [{{31, call, caller, 1, me}}, {{3, me, caller, :boom}}]

  def of(:kill, %{me: me, caller: caller}), do: [{{26, me, caller}, :kill}]
  def of(:leader, %{me: me, caller: caller}), do: [{{7, me, caller}}]

  def of(:linked, %{me: me, caller: caller, call: call}), do: [{{31, call, caller, 1, me}}]

  def of(:undecodable_exit, %{me: me, given: linked}),
    do: [{{24, me, linked}, {:bytes, @undecodable}}]

  def of(:undecodable_down, %{me: me, caller: caller, call: call}),
    do: [{{28, me, caller, call}, {:bytes, @undecodable}}]

  def of(:ended_before_it_began, %{me: me, caller: caller, call: call}),
    do: [{{21, me, caller, call, :boom}}]

  def of(:ticks, _context), do: [{:stream, :binary.copy(<<0::32>>, 100_000)}]
  def of({:bytes, packet}, _context), do: [{:bytes, packet}]
end
