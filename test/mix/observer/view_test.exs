defmodule Mix.K8sConnect.Observer.ViewTest do
  use ExUnit.Case, async: true

  alias K8sConnect.Snapshot
  alias Mix.K8sConnect.Observer.View

  defp snapshot(processes \\ 40) do
    %Snapshot{
      node: :"app@10.244.1.2",
      sort: :reductions,
      otp_release: "27",
      erts: "15.2",
      uptime_ms: 93_784_000,
      window_ms: 1000,
      cost_ms: 3,
      schedulers: %{total: 2, online: 2, dirty_cpu: 2, dirty_io: 10},
      cpu: 0.5,
      run_queues: %{normal: [1, 4], dirty_cpu: 0, dirty_io: 7},
      memory: %{
        total: 45_100_000,
        processes: 20_000_000,
        binary: 999,
        ets: 1_500_000,
        code: 12_000_000,
        atom: 500_000,
        system: 25_100_000
      },
      io: %{in: 0, out: 1234},
      garbage_collections: 12,
      limits:
        for(
          name <- [:processes, :ports, :atoms, :ets_tables],
          into: %{},
          do: {name, %{count: 1234, limit: 1_048_576}}
        ),
      processes: for(number <- 1..processes//1, do: process(number)),
      tables: [
        %{name: ":big", memory: 5000, size: 7, type: :set, protection: :public, owner: self()}
      ],
      applications: [%{name: "kernel", description: "ERTS", version: "10.0"}]
    }
  end

  defp process(number) do
    %{
      pid: :erlang.list_to_pid(~c"<0.#{number + 1000}.0>"),
      name: "MyApp.Worker#{number}",
      reductions: 10_000 - number,
      memory: number * 1000,
      messages: rem(number, 7),
      status: :waiting,
      current_function: ":gen_server.loop/7"
    }
  end

  defp view(snapshot \\ snapshot()), do: View.put(%View{}, snapshot)

  defp text(view, size), do: for(line <- View.lines(view, size), do: plain(line))
  defp plain(line), do: line |> IO.ANSI.format(false) |> IO.chardata_to_string()

  defp press(view, keys) do
    Enum.reduce(keys, view, fn key, view ->
      {_effect, view} = View.key(view, key, 24)
      view
    end)
  end

  defp selected(view),
    do:
      view |> text({100, 24}) |> Enum.find(&(&1 =~ ~r/^>/)) |> then(&Regex.run(~r/Worker\d+/, &1))

  test "every window is filled, and nothing is wider than it" do
    pages = [
      %View{},
      view(),
      press(view(), [{:char, ?a}]),
      press(view(), [{:char, ?e}]),
      press(view(), [:enter]),
      view(snapshot(0))
    ]

    for view <- pages, size <- [{80, 24}, {200, 60}, {40, 10}, {20, 5}, {3, 2}, {1, 1}] do
      {columns, rows} = size
      lines = text(view, size)
      assert length(lines) <= rows
      if view.snapshot, do: assert(length(lines) == rows)
      for line <- lines, do: assert(String.length(line) <= columns, line)
    end
  end

  test "the numbers of the node" do
    lines = view() |> text({120, 24}) |> Enum.join("\n")

    for text <- [
          "app@10.244.1.2  OTP 27 (erts 15.2)  up 1d 02:03:04",
          "CPU 50.0 %, 2 schedulers, run queues 5 (longest 4), dirty CPU 0, dirty I/O 7",
          "memory 45.1 MB: processes 20.0 MB, binaries 999 B, ETS 1.5 MB",
          "processes 1 234/1 048 576",
          "out 1.2 kB/s",
          "REDS/S*"
        ],
        do: assert(lines =~ text)
  end

  test "a key sorts at once, and asks the node" do
    assert {:ask, sorted} = View.key(view(), {:char, ?m}, 24)
    assert selected(sorted) == ["Worker40"]
    assert Enum.any?(text(sorted, {80, 24}), &(&1 =~ "MEMORY*"))
    # The answer was asked for before the key.
    assert sorted |> View.put(snapshot()) |> selected() == ["Worker40"]
  end

  test "the selection stays on its process" do
    moved = press(view(), [:down, :down])
    assert selected(moved) == ["Worker3"]

    assert moved |> View.put(%{snapshot() | processes: [process(9), process(3)]}) |> selected() ==
             ["Worker3"]

    assert moved |> View.put(%{snapshot() | processes: [process(9)]}) |> selected() == ["Worker9"]
    assert selected(press(view(), [:end])) == ["Worker40"]
    assert selected(press(view(), [:end, :home, :up])) == ["Worker1"]
    assert selected(press(view(), [:page_down])) == ["Worker16"]
  end

  test "Enter opens a process, Escape goes back to it" do
    assert {:ask, %{page: {:process, pid}} = opened} =
             View.key(press(view(), [:down]), :enter, 24)

    assert pid == process(2).pid
    assert Enum.any?(text(opened, {80, 24}), &(&1 =~ "asking the node"))

    details = %{
      pid: pid,
      name: "MyApp.Worker2",
      initial_call: "MyApp.Worker.init/1",
      current_function: ":gen_server.loop/7",
      status: :waiting,
      priority: :normal,
      trap_exit: true,
      messages: 3,
      memory: 2000,
      heap: 1000,
      stack_size: 80,
      reductions: 5,
      group_leader: "<0.9.0>",
      stack: [":gen_server.loop/7, line 5"],
      links: %{count: 1000, first: ["<0.8.0>"]},
      monitors: %{count: 0, first: []},
      monitored_by: %{count: 0, first: []}
    }

    lines = text(%{opened | details: details}, {80, 30})

    for line <- [
          "<0.1002.0> MyApp.Worker2",
          " links             1 000: <0.8.0>, …",
          "   :gen_server.loop/7, line 5"
        ],
        do: assert(line in lines)

    assert Enum.any?(text(%{opened | details: :ended}, {80, 24}), &(&1 =~ "has ended"))
    assert {:ok, back} = View.key(opened, :escape, 24)
    assert selected(back) == ["Worker2"]
  end

  test "other pages, and the end" do
    assert Enum.any?(text(press(view(), [{:char, ?e}]), {80, 24}), &(&1 =~ ~r/^ :big +5\.0 kB/))
    assert Enum.any?(text(press(view(), [{:char, ?a}]), {80, 24}), &(&1 =~ ~r/^ kernel +10\.0/))
    assert press(view(), [{:char, ?a}, :escape]).page == :processes
    for key <- [:interrupt, {:char, ?q}], do: assert({:quit, _view} = View.key(view(), key, 24))
    # Nothing is known yet.
    assert {:ok, _view} = View.key(%View{}, :enter, 24)
    assert {:ok, _view} = View.key(%View{}, :down, 24)
  end

  test "a report has everything, as plain text" do
    report = for line <- View.report(snapshot(), 100), do: plain(line)
    assert length(report) > 45
    for text <- ["MyApp.Worker40", ":big", "kernel"], do: assert(Enum.join(report, "\n") =~ text)
    for line <- report, do: refute(line =~ "\e")
  end
end
