defmodule Mix.K8sConnect.Observer.OptionsTest do
  # Not async: it changes the application's environment.
  use ExUnit.Case, async: false

  alias K8sConnect.Error
  alias Mix.K8sConnect.NodeOptions

  defp parse(line) do
    with {:error, error, format} <- NodeOptions.observer(OptionParser.split(line)),
         do: {:error, Error.message(error, :cli), format}
  end

  test "the options of the connection, and those of the view" do
    assert {:ok, "app-0", [namespace: "shop"], own} = parse("app-0 -n shop")
    assert own[:format] == :text and own[:sort] == :reductions and own[:limit] == 50
    refute own[:once] or own[:text]

    assert {:ok, nil, [selector: "app=web"], own} =
             parse("-l app=web --text --sort memory --interval 500")

    assert own[:text] and own[:sort] == :memory and own[:interval] == 500
    assert {:ok, "app-0", [], own} = parse("app-0 --json")
    assert own[:once] and own[:format] == :json
  end

  test "usage errors name the option and the task" do
    for {line, part} <- [
          {"", "missing argument TARGET"},
          {"app-0 app-1", "too many arguments"},
          {"app-0 --frob", "unknown option --frob"},
          {"app-0 --rpc 1", "unknown option --rpc"},
          {"app-0 --sort name", "--sort: expected reductions, memory, messages, got \"name\""},
          {"app-0 --interval 5", "--interval: expected a number from 100 to 60000, got 5"},
          {"app-0 --limit 0", "--limit: expected a number from 1 to 1000, got 0"},
          {"app-0 --text --once", "--text and --once exclude each other"},
          {"app-0 --text --json", "--text and --json exclude each other"}
        ] do
      assert {:error, message, _format} = parse(line)
      assert message =~ part
      assert message =~ "See: mix help k8s.observer"
    end

    assert {:error, _message, :json} = parse("app-0 --json --frob")
  end

  test "--read-only, also of the configuration" do
    assert {:error, error} = NodeOptions.check("app-0", [read_only: true], "k8s.observer")
    assert Error.message(error, :cli) =~ "--read-only cannot be used"
    Application.put_env(:k8s_connect, :read_only, true)
    on_exit(fn -> Application.delete_env(:k8s_connect, :read_only) end)
    assert {:error, _error} = NodeOptions.check("app-0", [], "k8s.observer")
    assert :ok = NodeOptions.check("app-0", [read_only: false], "k8s.observer")
  end
end
