defmodule K8sConnect.VersionsTest do
  # The main job, from a laptop with each OTP to a pod with each OTP, on both routes.
  use ExUnit.Case, async: false

  import K8sConnect.Project

  alias K8sConnect.{Ground, Terminal}

  @moduletag :host
  @moduletag timeout: 600_000

  @cluster {"K8S_CONNECT_CLUSTER", "life"}
  @pods %{"25" => "otp25", "27" => "otp27", "newest" => "newest"}

  # 10 MB each way, by the code of each side.
  @work """
  connection = K8sConnect.connect!(System.fetch_env!("POD"), route: :vm)
  data = :binary.copy("0123456789", 1_000_000)
  true = :erpc.call(connection.node, :erlang, :md5, [data]) == :erlang.md5(data)
  back = :erpc.call(connection.node, :binary, :copy, ["0123456789", 1_000_000])
  true = back == data
  :ok = K8sConnect.disconnect(connection)
  false = Node.alive?()
  IO.puts("worked")
  """

  setup_all do
    on_exit(fn -> cluster(["down"]) end)
    assert {_output, 0} = cluster(["up"])
    for otp <- there(), do: assert({_output, 0} = cluster(["app", @pods[otp], "--otp", otp]))
    :ok
  end

  # Debian unstable cannot be had every day; script/bootstrap says so.
  defp there do
    {_output, status} = cluster(["laptop", "--otp", "newest", "true"])
    if status == 0, do: ["25", "27", "newest"], else: ["25", "27"]
  end

  defp cluster(words, env \\ []),
    do: Ground.cluster("life", words, env)

  defp laptop(otp, words, env \\ []),
    do: cluster(["laptop", "--otp", otp] ++ words, [{"MIX_ENV", "dev"} | env])

  # Where net_kernel may not be touched, as one that is not known would not be.
  @untouched """
  Application.put_env(:k8s_connect, :net_kernel, :untouched)

  case K8sConnect.connect(System.fetch_env!("POD"), route: :vm) do
    {:ok, connection} ->
      false = K8sConnect.Route.NetKernel.installed?(K8sConnect.Route.VM.Dist)
      true = connection.node in Node.list(:hidden)
      true = Node.self() in :erpc.call(connection.node, Node, :list, [:hidden])
      data = :binary.copy("0123456789", 1_000_000)
      true = :erpc.call(connection.node, :erlang, :md5, [data]) == :erlang.md5(data)
      :ok = K8sConnect.disconnect(connection)
      :erl_epmd = :net_kernel.epmd_module()
      false = Node.alive?()
      IO.puts("by epmd_module")

    {:error, error} ->
      IO.puts(Exception.message(error))
  end
  """

  test "each laptop to each pod: connect, evaluate, a shell there, 10 MB each way, leave" do
    rows =
      for laptop <- there(), pod <- there() do
        target = @pods[pod] <> "-0"
        words = ["mix", "k8s.connect", target, "--rpc", "System.otp_release()"]
        assert {output, 0} = laptop(laptop, words)
        assert output =~ ~r/^"\d+"$/m
        if pod != "newest", do: assert(output =~ ~s("#{pod}"))
        assert {output, 0} = laptop(laptop, ["env", "POD=#{target}", "mix", "run", "-e", @work])
        assert output =~ "worked"
        shell(laptop, target)
        {laptop, pod, [untouched(laptop, target)]}
      end

    document(rows)
  end

  # Each OTP on both sides. What differs between the pairs is in the test before. The oldest pair comes first: only an OTP
  # as old can load its runtime_tools into that pod.
  defp pairs do
    {oldest, newest} = {hd(there()), List.last(there())}
    same = for otp <- there(), otp != newest, do: {otp, otp}
    same ++ [{oldest, newest}, {newest, oldest}]
  end

  test "what a pod tries is refused, with each laptop and each pod" do
    for {laptop, pod} <- pairs() do
      env = ["env", "MIX_ENV=test", "K8S_CONNECT_POD=#{@pods[pod]}-0"]
      test = ["mix", "test", "--only", "cluster", "test/k8s_connect/guard"]
      {output, status} = laptop(laptop, env ++ test)
      assert status == 0, "OTP #{laptop} to #{pod}: #{output}"
    end
  end

  test "expressions are evaluated, and end, with each laptop and each pod" do
    for {laptop, pod} <- pairs() do
      env = ["env", "MIX_ENV=test", "K8S_CONNECT_POD=#{@pods[pod]}-0"]
      test = ["mix", "test", "--only", "each_otp", "test/mix/rpc_task_test.exs"]
      {output, status} = laptop(laptop, env ++ test)
      assert status == 0, "OTP #{laptop} to #{pod}: #{output}"
    end
  end

  defp untouched(laptop, target) do
    assert {output, 0} = laptop(laptop, ["env", "POD=#{target}", "mix", "run", "-e", @untouched])

    if laptop == "25" do
      assert output =~ "needs OTP 27.2"
      "no: says so"
    else
      assert output =~ "by epmd_module"
      "yes"
    end
  end

  # What was seen is what the documents say. What Debian unstable has is another release each year, and
  # its rows are only brought up to date.
  defp document(rows) do
    file = path("guides/versions.md")
    versions = Map.new(there(), &{&1, version(&1)})
    [head, foot] = file |> File.read!() |> String.split(~r/^\| laptop .*?\|\n(?!\|)/ms, parts: 2)

    table =
      ["| laptop | pod | `net_kernel` untouched |", "|---|---|---|"] ++
        for({laptop, pod, seen} <- rows, do: row([versions[laptop], versions[pod] | seen]))

    before = file |> File.read!() |> String.split("\n")
    File.write!(file, head <> Enum.map_join(table, &(&1 <> "\n")) <> foot)
    known = for {laptop, pod, _seen} = row <- rows, "newest" not in [laptop, pod], do: row

    for {laptop, pod, seen} <- known do
      assert row([versions[laptop], versions[pod] | seen]) in before,
             "guides/versions.md said otherwise, and was written again: look at it, and commit it"
    end
  end

  defp row(cells), do: "| " <> Enum.join(cells, " | ") <> " |"

  defp version(otp) do
    code = "IO.puts(System.otp_release() <> ~s( / ) <> System.version())"
    {output, 0} = laptop(otp, ["elixir", "-e", code])
    [version] = Regex.run(~r"^\d+ / \d+\.\d+"m, output)
    version
  end

  # With what is parsed on this side of the terminal, and what is completed there.
  defp shell(laptop, target) do
    line = "#{path("script/cluster")} laptop --otp #{laptop} mix k8s.connect #{target} --remsh"
    terminal = Terminal.open(line, [@cluster, {"MIX_ENV", "dev"}])
    Terminal.expect(terminal, ~r/iex\(app@10\.244\.1\.\d+\)1> /)
    # How it asks for the rest of an expression is each release's own.
    Terminal.type(terminal, "40 +\r2\r")
    Terminal.expect(terminal, ~r/^42/m)
    Terminal.type(terminal, "System.otp_rel\t")
    Terminal.expect(terminal, "System.otp_release")
    Terminal.type(terminal, "()\r")
    Terminal.expect(terminal, ~r/^"\d+"/m)
    # A variable of the shell itself.
    Terminal.type(terminal, "deployed = 4711\r")
    Terminal.expect(terminal, ~r/^4711/m)
    Terminal.type(terminal, "depl\t")
    Terminal.expect(terminal, ~r/deployed$/)
    Terminal.type(terminal, " + 1\r")
    Terminal.expect(terminal, ~r/^4712/m)
    Terminal.type(terminal, "raise ~s(o) <> ~s(ops)\r")
    Terminal.expect(terminal, "(RuntimeError) oops")
    Terminal.type(terminal, <<3>>)
    Terminal.expect(terminal, "(a)bort")
    Terminal.type(terminal, "a\r")
    Terminal.await_end(terminal)
  end

  test "a newer OTP says that its modules may be refused, an older one does not" do
    for {laptop, pod, told} <- [{"27", "25", true}, {"25", "27", false}, {"27", "27", false}] do
      line = "#{path("script/cluster")} laptop --otp #{laptop} mix k8s.connect #{@pods[pod]}-0"
      terminal = Terminal.open(line, [@cluster, {"MIX_ENV", "dev"}])
      shown = Terminal.expect(terminal, ~r/iex(\(.*\))?[(\d)]*>/)
      assert shown =~ "This is OTP 27, the node is OTP 25" == told
      Terminal.type(terminal, <<3>>)
      Terminal.expect(terminal, "(a)bort")
      Terminal.type(terminal, "a\r")
      Terminal.await_end(terminal)
    end
  end

  test "a plain node of each, by the kernel route, to each pod" do
    for pod <- there() do
      target = @pods[pod] <> "-0"
      words = ["laptop", "--helper", "mix", "k8s.connect", target, "--route", "kernel", "--hold"]
      line = Enum.join([path("script/cluster") | words], " ")
      holder = Terminal.open(line, [@cluster, {"MIX_ENV", "dev"}])
      shown = Terminal.expect(holder, ~r/end it with: kill \d+/)
      [_, node] = Regex.run(~r/connected +to (app@\S+)/, shown)
      [_, pid] = Regex.run(~r/kill (\d+)/, shown)

      for laptop <- there(), do: plain(laptop, pod, node)

      {_output, 0} = System.cmd("kill", [pid])
      Terminal.await_end(holder)
    end
  end

  # The pod's OTP makes no difference to it; the other tests have all pairs.
  test "a plain iex, erl and curl of each, by --exec" do
    for laptop <- there() do
      target = @pods[laptop] <> "-0"
      home = home_with_cookie(laptop)
      {ip, 0} = cluster(~w(kubectl get pod #{target} -o jsonpath={.status.podIP}))
      line = "#{path("script/cluster")} laptop --otp #{laptop} env HOME=#{home} mix k8s.connect"
      open = &Terminal.open("#{line} #{target} #{&1}", [@cluster, {"MIX_ENV", "dev"}])

      iex = open.("--exec 'iex --name me@127.0.0.1'")
      Terminal.expect(iex, ~r/iex\(me@127.0.0.1\)1> /)
      Terminal.type(iex, "Node.connect(:\"app@#{ip}\") and Node.list(:hidden)\r")
      Terminal.expect(iex, ~r/\n\[:"app@#{ip}"\]/)
      Terminal.type(iex, "System.halt(3)\r")
      assert Terminal.await_end(iex) == 3

      ping = "io:format(\\\"~p~n\\\", [net_adm:ping('app@#{ip}')]), halt(4)."
      erl = open.("-- erl -noshell -name me@127.0.0.1 -eval \"#{ping}\"")
      Terminal.expect(erl, ~r/^pong/m)
      assert Terminal.await_end(erl) == 4

      # curl sends what is typed, here epmd's question for its names, until the end of its input.
      curl = "exec curl --silent --output - telnet://#{ip}:4369"
      curl = open.("--exec 'echo ready; #{curl}'")
      Terminal.expect(curl, ~r/^ready/m)
      Terminal.type(curl, <<0, 1, ?n, ?\r>>)
      Terminal.expect(curl, ~r/name app at port/)
      Terminal.type(curl, <<4>>)
      # Which error the closed connection is to it depends on its version.
      Terminal.await_end(curl)
      {_output, 0} = laptop(laptop, ["epmd", "-kill"])
    end
  end

  # Without our code, and with a cookie in its home.
  defp plain(laptop, pod, node) do
    home = home_with_cookie(pod)

    code =
      "IO.inspect({Node.connect(:\"#{node}\"), Node.list(:hidden), :erpc.call(:\"#{node}\", Node, :list, [])})"

    words = ["env", "HOME=#{home}", "elixir", "--name", "plain@127.0.0.1", "-e", code]
    assert {output, 0} = laptop(laptop, words)
    assert output =~ ~s({true, [:"#{node}"], []})
    {_output, 0} = laptop(laptop, ["epmd", "-kill"])
  end

  defp home_with_cookie(pod) do
    {cookie, 0} = cluster(~w(kubectl get secret #{@pods[pod]}-cookie -o jsonpath={.data.cookie}))
    home = "/var/lib/k8s_connect/life/laptop/plain"
    File.rm_rf!(home)
    File.mkdir_p!(home)
    File.write!(Path.join(home, ".erlang.cookie"), Base.decode64!(cookie))
    {_output, 0} = System.cmd("chown", ["-R", "4200:4200", home])
    File.chmod!(Path.join(home, ".erlang.cookie"), 0o400)
    home
  end
end
