defmodule Mix.Tasks.K8s.TraceTest do
  # What is wrong with a command line, before anything is sent.
  use ExUnit.Case, async: true

  import ExUnit.CaptureIO

  defp usage(arguments) do
    capture_io(:stderr, fn ->
      assert catch_exit(Mix.Tasks.K8s.Trace.run(OptionParser.split(arguments))) == {:shutdown, 2}
    end)
  end

  for {arguments, problem} <- [
        {"", "missing argument TARGET"},
        {"app-0", "missing argument PATTERN"},
        {"app-0 lists:map/256", ~s(invalid pattern "lists:map/256")},
        {"app-0 lists --limit 0", "invalid value for --limit: expected 1 to 100000 calls, got 0"},
        {"app-0 lists --limit x", ~s(invalid value for --limit: "x")},
        {"app-0 lists --time 10",
         ~s(invalid value for --time: expected 500ms, 10s or 2m, got "10")},
        {"app-0 lists --time 61m", "invalid value for --time: expected 1 ms to 1 hour"},
        {"app-0 lists --frob", "unknown option --frob"},
        {"app-0 lists --rpc 1", "unknown option --rpc"},
        {"app-0 lists --read-only", "--read-only cannot be used with k8s.trace"},
        {"app-0 lists --route exec", "invalid value for --route"}
      ] do
    test "mix k8s.trace #{arguments}" do
      output = usage(unquote(arguments))
      assert output =~ unquote(problem)
      assert output =~ "See: mix help k8s.trace"
    end
  end
end
