defmodule Mix.K8sConnect.RepeatedTest do
  # Mix runs a task once, unless the task is reenabled: `mix do k8s.doctor app-0 + k8s.doctor app-1`.
  use ExUnit.Case, async: false

  import ExUnit.CaptureIO

  @tasks ~w(connect doctor helper init launcher livebook observer pods trace)

  for task <- @tasks do
    @task "k8s.#{task}"

    test "#{@task} runs each time" do
      for _time <- 1..2 do
        output =
          capture_io(:stderr, fn ->
            assert catch_exit(Mix.Task.run(@task, ["--frob"])) == {:shutdown, 2}
          end)

        assert output =~ "--frob"
      end
    end
  end
end
