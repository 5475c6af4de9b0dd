defmodule K8sConnect.ClusterTest do
  # A cluster beside the one of the other tests, started and killed in every way. As root.
  use ExUnit.Case, async: false

  import K8sConnect.{Project, Tmp}

  alias K8sConnect.Ground

  @moduletag :host
  @moduletag timeout: 300_000

  @name "life"
  @state "/var/lib/k8s_connect/#{@name}"
  @env [{"K8S_CONNECT_CLUSTER", @name}]

  setup :tmp_dir

  setup do
    cluster(["down"])
    on_exit(fn -> cluster(["down"]) end)
  end

  defp cluster(words), do: run(path("."), path("script/cluster"), words, @env)

  defp left, do: Ground.left(@name)

  defp up_and_deployed do
    assert {_output, 0} = cluster(["up"])
    assert {_output, 0} = cluster(["app", "app"])
    assert [_ | _] = for({:process, command} <- left(), do: command)
    for kind <- [:namespace, :cgroup, :state], do: assert(List.keymember?(left(), kind, 0))
  end

  defp kill(pid), do: {_output, 0} = System.cmd("kill", ["-KILL", pid])

  test "up twice, app, down: nothing is left, and up works again" do
    up_and_deployed()
    assert {"", 0} = cluster(["up"])
    assert {status, 0} = cluster(["status"])
    assert [_all, version] = Regex.run(~r/^life is up: Kubernetes (1\.\d+),/, status)
    assert status =~ "app-0"

    # Nothing is built for that.
    [other] = ["1.37", "1.34"] -- [version]
    assert {output, 1} = cluster(["up", "--kubernetes", other])
    assert output =~ "life runs Kubernetes #{version}, not #{other}. Try: script/cluster down"
    refute output =~ "one binary"
    assert {"", 0} = cluster(["up", "--kubernetes", version])

    assert {"", 0} = cluster(["down"])
    assert left() == []
    assert {"life is down\n", 0} = cluster(["status"])
    assert {output, 1} = cluster(["kubectl", "get", "pods"])
    assert output =~ "life is down. Try: script/cluster up"

    assert {_output, 0} = cluster(["up"])
  end

  test "kill -9 of the supervisor takes the node with it, and down the rest" do
    up_and_deployed()
    kill(String.trim(File.read!(Path.join(@state, "pid"))))
    Ground.await(fn -> not Enum.any?(left(), &match?({:process, _}, &1)) end)

    assert {"", 0} = cluster(["down"])
    assert left() == []
    assert {_output, 0} = cluster(["up"])
  end

  test "up clears what a killed run has left" do
    up_and_deployed()
    kill(String.trim(File.read!(Path.join(@state, "pid"))))
    Ground.await(fn -> not Enum.any?(left(), &match?({:process, _}, &1)) end)
    up_and_deployed()
  end

  test "kill -9 of the shell that called up, while it waits and afterwards" do
    for moment <- [Path.join(@state, "pid"), Path.join(@state, "ready")] do
      port =
        Port.open({:spawn_executable, path("script/cluster")}, [
          :exit_status,
          :stderr_to_stdout,
          args: ["up"],
          env: [{'K8S_CONNECT_CLUSTER', String.to_charlist(@name)}]
        ])

      {:os_pid, shell} = Port.info(port, :os_pid)
      Ground.await(fn -> File.exists?(moment) end)
      kill(to_string(shell))
      assert_receive {^port, {:exit_status, _killed}}, 10_000

      assert {"", 0} = cluster(["down"])
      assert left() == []
    end
  end

  test "down ends what runs on the laptop" do
    assert {_output, 0} = cluster(["up"])

    port =
      Port.open({:spawn_executable, path("script/cluster")}, [
        :exit_status,
        args: ["laptop", "sh", "-c", "echo started; exec sleep 1000"],
        env: [{'K8S_CONNECT_CLUSTER', String.to_charlist(@name)}]
      ])

    assert_receive {^port, {:data, 'started\n'}}, 10_000
    assert {"", 0} = cluster(["down"])
    assert_receive {^port, {:exit_status, _killed}}, 10_000
    assert left() == []
  end

  test "the laptop works from a checkout whose parent is closed to others" do
    assert {_output, 0} = cluster(["up"])
    closed = Path.join(System.tmp_dir!(), "k8s_connect-closed-#{System.pid()}")
    on_exit(fn -> File.rm_rf!(closed) end)
    File.mkdir!(closed)
    File.chmod!(closed, 0o700)
    {_output, 0} = System.cmd("git", ["clone", "--quiet", path("."), Path.join(closed, "clone")])
    File.mkdir!(Path.join(closed, "clone/_build"))
    File.cp_r!(path("_build/dev"), Path.join(closed, "clone/_build/dev"))

    words = [
      "laptop",
      "sh",
      "-c",
      "cd #{closed}/clone && pwd && mix run -e 'IO.puts(:ok)' && ls #{closed}"
    ]

    assert {output, 0} = run(closed, Path.join(closed, "clone/script/cluster"), words, @env)
    assert output =~ ~r/\A#{closed}.clone\n.*ok\nclone\n\z/s
  end

  test "an app with more pods, under its own name, and a second call changes nothing" do
    assert {_output, 0} = cluster(["up"])
    assert {_output, 0} = cluster(["app", "shop", "--replicas", "2"])
    cookie = ["kubectl", "get", "secret", "shop-cookie", "-o", "jsonpath={.data.cookie}"]
    {before, 0} = cluster(cookie)
    assert {_output, 0} = cluster(["app", "shop", "--replicas", "2"])
    assert {^before, 0} = cluster(cookie)
    assert {pods, 0} = cluster(["kubectl", "get", "pods", "-l", "app=shop", "-o", "name"])
    assert pods == "pod/shop-0\npod/shop-1\n"
    # `dev` may read this cookie too.
    assert {_cookie, 0} = cluster(["laptop" | cookie])
  end

  test "without root nothing is changed", %{tmp_dir: tmp_dir} do
    # A copy that others can read, wherever the checkout is.
    File.cp_r!(path("script"), Path.join(tmp_dir, "script"))

    for words <- [["up"], ["down"], ["laptop", "true"]] do
      user = ["--reuid=4200", "--clear-groups", Path.join(tmp_dir, "script/cluster")]
      assert {output, 1} = run("/", "setpriv", user ++ words, @env)
      assert output =~ "a cluster needs root for its namespaces, mounts and cgroups. Try: sudo"
    end

    assert left() == []
  end
end
