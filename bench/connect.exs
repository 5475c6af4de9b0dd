# Prints three numbers of milliseconds: a first connect and a call, a second one in the same VM, and
# the first counted from the start of the VM.
measure = fn ->
  {time, {:ok, connection}} =
    :timer.tc(fn ->
      {:ok, connection} = K8sConnect.connect("app-0")
      true = :erpc.call(connection.node, :erlang, :node, []) == connection.node
      {:ok, connection}
    end)

  K8sConnect.disconnect(connection)
  div(time, 1000)
end

first = measure.()

since_start =
  System.convert_time_unit(
    :erlang.monotonic_time() - :erlang.system_info(:start_time),
    :native,
    :millisecond
  )

IO.puts("#{first} #{measure.()} #{since_start}")
