defmodule K8sConnect.ScriptsTest do
  # What the scripts say to words they do not know, and to people without root.
  use ExUnit.Case, async: true

  import K8sConnect.Project

  @moduletag :project

  @scripts ~w(script/bootstrap script/cluster script/demo script/test script/vm)

  for script <- @scripts do
    test "#{script} --help tells its usage" do
      assert {"usage: " <> _ = output, 0} = run(path("."), path(unquote(script)), ["--help"])
      assert output =~ unquote(script)
    end

    test "#{script} refuses what it does not know" do
      assert {output, 2} = run(path("."), path(unquote(script)), ["no-such-word"])
      assert output =~ "no-such-word"
      assert output =~ "usage: #{unquote(script)}"
    end
  end

  test "script/cluster checks the words of its commands" do
    for words <- [
          [],
          ["up", "now"],
          ["logs", "a", "b"],
          ["kubectl"],
          ["app"],
          ["app", "UPPER"],
          ["app", "app", "--replicas"],
          ["app", "app", "--replicas", "many"],
          ["app", "app", "--color", "red"],
          ["laptop"],
          ["laptop", "--root"]
        ] do
      assert {^words, {output, 2}} = {words, run(path("."), path("script/cluster"), words)}
      assert output =~ "usage: script/cluster"
    end
  end

  test "script/vm checks the words of its commands" do
    for words <- [
          [],
          ["up", "now"],
          ["up", "--kernel"],
          ["up", "--kernel", "4.19"],
          ["up", "--suite"],
          ["up", "--suite", "sid"],
          ["up", "--cluster", "now"],
          ["run"],
          ["login"],
          ["login", "dev"],
          ["login", "root", "id"],
          ["down", "now"]
        ] do
      assert {^words, {output, 2}} = {words, run(path("."), path("script/vm"), words)}
      assert output =~ "usage: script/vm"
    end
  end

  test "script/test checks the words of its options" do
    for words <- [
          ["--kernel"],
          ["--kernel", "4.19", "vm"],
          ["--suite"],
          ["--suite", "sid", "vm"],
          ["--suite", "trixie", "no-such-suite"],
          ["--kernel", "5.10", "vm"]
        ] do
      assert {^words, {output, 2}} = {words, run(path("."), path("script/test"), words)}
      assert output =~ "usage: script/test"
    end
  end

  test "a cluster's name must be a short word" do
    for name <- ["UP", "../x", "toolonganame"] do
      assert {output, 2} =
               run(path("."), path("script/cluster"), ["status"], [{"K8S_CONNECT_CLUSTER", name}])

      assert output =~ "K8S_CONNECT_CLUSTER must be a short word"
    end
  end
end
