defmodule Mix.K8sConnect.ConsoleTest do
  use ExUnit.Case, async: true

  import ExUnit.CaptureIO

  alias K8sConnect.Error
  alias Mix.K8sConnect.Console

  @error Error.new(:connect, {:lost, %{node: :a@b, reason: nil}})
  @command "mix k8s.connect app-0 --context C --kubeconfig '/k f'"

  defp fail(device, error, output) do
    capture_io(device, fn ->
      assert catch_exit(Console.fail(error, output)) == {:shutdown, Error.exit_code(error)}
    end)
  end

  test "an error repeats the request of the command line" do
    options = [kubeconfig: "/k f", context: "C"]

    assert fail(:stderr, @error, {:text, "app-0", options}) ==
             "lost the connection to a@b. Connect again with: #{@command}\n"

    assert fail(:stdio, @error, {:json, "app-0", options}) =~ ~s("command":"#{@command}")
  end

  test "an error that has a request keeps it" do
    error = Error.for_request(@error, "app-0", kubeconfig: "/k f", context: "C")
    assert fail(:stderr, error, {:text, "other", context: "D"}) =~ @command
    assert fail(:stderr, error, :text) =~ @command
  end

  test "steps and traces are columns, also of the longest name" do
    steps = [
      {:step, "connecting", "a / b", 0},
      {:step, "port-forward", "open", 7},
      {:trace, "tcp", "to=b", 1500, nil}
    ]

    assert capture_io(:stderr, fn -> Enum.each(steps, &Console.step/1) end) == """
           connecting   a / b (0 ms)
           port-forward open (7 ms)
             tcp          to=b (1.5 ms)
           """
  end
end
