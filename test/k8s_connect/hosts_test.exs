defmodule K8sConnect.Route.Kernel.HostsTest do
  # The table belongs to the VM.
  use ExUnit.Case, async: false

  alias K8sConnect.Route.Kernel.Hosts

  @address {10, 244, 1, 8}

  setup do
    before = :inet_db.res_option(:lookup)

    on_exit(fn ->
      _ = :sys.resume(:inet_db)
      Hosts.clear()
      :inet_db.del_host(@address)
      :inet_db.set_lookup(before)
    end)
  end

  defp names, do: for({:host, @address, names} <- :inet_db.get_rc(), do: names)

  test "a host is found, and the table is as before afterwards" do
    before = :inet_db.res_option(:lookup)
    Hosts.put(:"a@app-0.app", "app-0.app", @address)
    assert {:ok, @address} = :inet.getaddr(~c"app-0.app", :inet)
    assert hd(:inet_db.res_option(:lookup)) == :file
    Hosts.remove(:"a@app-0.app")
    assert names() == []
    assert :inet_db.res_option(:lookup) == before
  end

  test "names that somebody else has put in stay" do
    :inet_db.add_host(@address, [~c"theirs"])
    Hosts.put(:"a@app-0.app", "app-0.app", @address)
    assert {:ok, @address} = :inet.getaddr(~c"theirs", :inet)
    Hosts.put(:"b@app-0.app", "app-0.app", @address)
    Hosts.remove(:"a@app-0.app")
    assert {:ok, @address} = :inet.getaddr(~c"app-0.app", :inet)
    Hosts.remove(:"b@app-0.app")
    assert names() == [[~c"theirs"]]
  end

  test "an order of lookups that somebody else has set meanwhile stays" do
    Hosts.put(:"a@app-0.app", "app-0.app", @address)
    :inet_db.set_lookup([:native, :file])
    Hosts.clear()
    assert :inet_db.res_option(:lookup) == [:native, :file]
  end

  test "a change that was killed while it waited is undone" do
    before = :inet_db.res_option(:lookup)
    :ok = :sys.suspend(:inet_db)
    {pid, monitor} = spawn_monitor(fn -> Hosts.put(:"a@app-0.app", "app-0.app", @address) end)
    wait_for_request()
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^pid, :killed}
    :ok = :sys.resume(:inet_db)
    Hosts.remove(:"a@app-0.app")
    assert names() == []
    assert :inet_db.res_option(:lookup) == before
  end

  defp wait_for_request do
    {:message_queue_len, length} =
      :inet_db |> Process.whereis() |> Process.info(:message_queue_len)

    if length == 0 do
      Process.sleep(1)
      wait_for_request()
    end
  end
end
