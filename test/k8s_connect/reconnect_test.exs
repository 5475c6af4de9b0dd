defmodule K8sConnect.ReconnectTest do
  use ExUnit.Case, async: true

  alias K8sConnect.{Error, Reconnect}

  describe "delay/3" do
    test "the first attempt after the loss of one connection comes at once" do
      assert Reconnect.delay(1, 1, 1.0) == 0
    end

    test "first attempts of sessions that are lost together are spread over at most 5 s" do
      assert Reconnect.delay(1, 10, 1.0) == 500
      assert Reconnect.delay(1, 10, 0.5) == 250
      assert Reconnect.delay(1, 1000, 1.0) == 5_000
      assert Reconnect.delay(1, 1000, 0.0) == 0
    end

    test "further attempts back off from 100 ms to 5 s, with jitter" do
      assert for(n <- 2..9, do: Reconnect.delay(n, 1, 1.0)) ==
               [100, 200, 400, 800, 1600, 3200, 5000, 5000]

      assert for(n <- 2..4, do: Reconnect.delay(n, 100, 0.0)) == [50, 100, 200]
      assert Reconnect.delay(1_000_000, 1, 1.0) == 5_000
    end
  end

  test "the option :reconnect limits attempts and time" do
    assert Reconnect.allowed?(true, 1_000_000, 1_000_000_000)
    refute Reconnect.allowed?(false, 1, 0)
    assert Reconnect.allowed?([max_attempts: 3], 3, 1_000_000)
    refute Reconnect.allowed?([max_attempts: 3], 4, 0)
    assert Reconnect.allowed?([deadline: 1_000], 100, 999)
    refute Reconnect.allowed?([deadline: 1_000], 1, 1_000)
  end

  describe "failed/4" do
    @error Error.new(:cluster, {:unreachable, %{}})
    @forbidden Error.new(:cluster, {:forbidden, %{}})

    defp lost(policy, up_for \\ 60_000),
      do: %Reconnect{policy: policy} |> Reconnect.up(0) |> Reconnect.lost(up_for)

    test "the first attempt comes at once, the others back off" do
      assert {:retry, 0, state} = Reconnect.failed(lost(true), @error, 1, 60_000)
      state = Reconnect.attempt(state)
      assert {:retry, delay, _state} = Reconnect.failed(state, @error, 1, 60_010)
      assert delay in 50..100
    end

    test "connections that are lost soon after they were up count as failed attempts" do
      quick =
        Enum.reduce(1..7, %Reconnect{}, fn n, state ->
          state |> Reconnect.up(n * 100) |> Reconnect.lost(n * 100 + 50)
        end)

      assert {:retry, delay, _state} = Reconnect.failed(quick, @error, 1, 800)
      assert delay in 1_600..3_200
      lasting = quick |> Reconnect.up(1_000) |> Reconnect.lost(11_000)
      assert {:retry, 0, _state} = Reconnect.failed(lasting, @error, 1, 11_000)
    end

    test "a final error ends it when it persists" do
      assert {:retry, 0, state} = Reconnect.failed(lost(true), @forbidden, 1, 60_000)
      assert {:retry, _delay, state} = Reconnect.failed(state, @forbidden, 1, 69_999)
      assert Reconnect.failed(state, @forbidden, 1, 70_000) == :give_up
      assert {:retry, _delay, state} = Reconnect.failed(state, @error, 1, 70_000)
      assert {:retry, _delay, _state} = Reconnect.failed(state, @forbidden, 1, 70_001)
      gone = Error.new(:target, {:workload_deleted, %{}})
      assert Reconnect.failed(lost(true), gone, 1, 60_000) == :give_up
    end

    test "a list that is answered does not hide that the watch is forbidden" do
      answered = fn state, now -> state |> Reconnect.up(now) |> Reconnect.lost(now + 5) end

      delays =
        for turn <- 1..5, reduce: {%Reconnect{}, []} do
          {state, delays} ->
            now = turn * 100

            {:retry, delay, state} =
              Reconnect.failed(answered.(state, now), @forbidden, 1, now + 5)

            {state, [delay | delays]}
        end
        |> elem(1)
        |> Enum.reverse()

      assert [0, second, third, _fourth, fifth] = delays
      assert second >= 50 and third >= 100 and fifth >= 400

      state =
        for turn <- 1..5, reduce: %Reconnect{} do
          state ->
            {:retry, _delay, state} =
              Reconnect.failed(answered.(state, turn * 100), @forbidden, 1, turn * 100 + 5)

            state
        end

      assert Reconnect.failed(answered.(state, 10_200), @forbidden, 1, 10_205) == :give_up
    end

    test "the limits of the option :reconnect end it" do
      assert Reconnect.failed(lost(false), @error, 1, 60_000) == :give_up
      assert Reconnect.failed(lost(deadline: 100), @error, 1, 60_100) == :give_up
      state = lost(max_attempts: 1) |> Reconnect.attempt()
      assert Reconnect.failed(state, @error, 1, 60_000) == :give_up
    end
  end

  @final [
    cluster: :forbidden,
    cluster: :forbidden_get_and_create,
    config: :unknown_context,
    config: :protected,
    target: :no_such_pod,
    target: :workload_deleted,
    node: :tls_only,
    cookie: :not_found,
    connect: :refused,
    route: :connected_otherwise,
    endpoint: :too_many_atoms,
    endpoint: :message_too_large,
    endpoint: :malformed_message,
    route: :own_name,
    helper: :died
  ]

  @temporary [
    cluster: :unreachable,
    cluster: :timed_out,
    cluster: :unauthorized,
    cluster: :plugin_failed,
    cluster: :no_upgrade,
    cluster: :refused,
    cluster: :unknown_authority,
    config: :malformed,
    target: :replaced,
    target: :not_running,
    node: :no_epmd,
    node: :port_forward_closed,
    connect: :lost,
    route: :node_taken,
    route: :net_kernel_busy,
    native: :task_crashed
  ]

  test "only what another attempt would repeat is final" do
    for {stage, kind} <- @final,
        do: assert(Reconnect.final?(Error.new(stage, {kind, %{}})), inspect(kind))

    for {stage, kind} <- @temporary,
        do: refute(Reconnect.final?(Error.new(stage, {kind, %{}})), inspect(kind))
  end
end
