defmodule K8sConnect.PluginTest do
  # Exec plugins: programs of the test's own, from the laptop against the real API server.
  # Not async: the environment is changed.
  use ExUnit.Case, async: false

  import K8sConnect.{ExecPlugin, Tmp}

  alias K8sConnect.{Environment, Error, Kubeconfig, Laptop}

  @moduletag :cluster

  @v1 v1()

  setup :tmp_dir

  describe "a token" do
    test "of v1 and of v1beta1, by one run for a pod's whole session", %{tmp_dir: tmp_dir} do
      for version <- [@v1, @v1 <> "beta1"] do
        plugin =
          plugin(
            tmp_dir,
            credential([token: Kubeconfig.token()], version),
            Path.basename(version)
          )

        kubeconfig = kubeconfig(tmp_dir, plugin, ["apiVersion: #{version}"])
        assert {:ok, connection} = K8sConnect.connect("app-0", kubeconfig: kubeconfig)
        assert :erpc.call(connection.node, :erlang, :node, []) == connection.node
        assert_pods(kubeconfig)
        K8sConnect.disconnect(connection)
        assert_pods(kubeconfig)
        assert runs(plugin) == 1
      end
    end

    test "by one run for fifty at once", %{tmp_dir: tmp_dir} do
      plugin = plugin(tmp_dir, "sleep 0.5\n" <> credential(token: Kubeconfig.token()))
      kubeconfig = kubeconfig(tmp_dir, plugin)
      tasks = for _ <- 1..50, do: Task.async(fn -> K8sConnect.pods(kubeconfig: kubeconfig) end)
      for answer <- Task.await_many(tasks, 60_000), do: assert({:ok, [_ | _]} = answer)
      assert runs(plugin) == 1
    end

    test "that is not taken: once more, and not over and over", %{tmp_dir: tmp_dir} do
      plugin = plugin(tmp_dir, credential(token: "secret-and-wrong"))
      kubeconfig = kubeconfig(tmp_dir, plugin)
      assert {:unauthorized, %{context: "test"}} = failure(kubeconfig)
      assert runs(plugin) == 2

      assert {:error, %Error{reason: {:unauthorized, _}}} =
               K8sConnect.connect("app-0", kubeconfig: kubeconfig)

      assert runs(plugin) == 2
    end

    test "that is not taken, and the next one is", %{tmp_dir: tmp_dir} do
      wrong = credential(token: "secret-and-wrong")
      right = credential(token: Kubeconfig.token())
      once = Path.join(tmp_dir, "once")
      plugin = plugin(tmp_dir, "if mkdir #{once}; then #{wrong}; else #{right}; fi")
      kubeconfig = kubeconfig(tmp_dir, plugin)
      assert {:ok, connection} = K8sConnect.connect("app-0", kubeconfig: kubeconfig)
      K8sConnect.disconnect(connection)
      assert runs(plugin) == 2
    end

    test "is renewed when it has expired, in a session too", %{tmp_dir: tmp_dir} do
      for {seconds, name} <- [{3600, "lasts"}, {-5, "expires"}] do
        time = DateTime.utc_now() |> DateTime.add(seconds) |> DateTime.to_iso8601()
        fields = [token: Kubeconfig.token(), expirationTimestamp: time]
        plugin = plugin(tmp_dir, credential(fields), name)
        kubeconfig = kubeconfig(tmp_dir, plugin)
        assert {:ok, connection} = K8sConnect.connect("app-0", kubeconfig: kubeconfig)
        assert runs(plugin) == 1

        if seconds < 0,
          do: Laptop.await(fn -> assert_pods(kubeconfig) && runs(plugin) > 1 end),
          else: assert_pods(kubeconfig)

        K8sConnect.disconnect(connection)
      end

      assert runs(Path.join(tmp_dir, "lasts")) == 1
    end
  end

  describe "a certificate" do
    defp decoded(name, file) do
      name |> Kubeconfig.part(file) |> Base.decode64!() |> String.replace("\n", "\\n")
    end

    defp identity(file) do
      [
        clientCertificateData: decoded("client-certificate-data", file),
        clientKeyData: decoded("client-key-data", file)
      ]
    end

    test "is shown to the server", %{tmp_dir: tmp_dir} do
      plugin = plugin(tmp_dir, credential(identity("dev")))
      kubeconfig = kubeconfig(tmp_dir, plugin)
      assert {:ok, connection} = K8sConnect.connect("app-0", kubeconfig: kubeconfig)
      K8sConnect.disconnect(connection)
      assert_pods(kubeconfig)
      assert runs(plugin) == 1
    end

    test "is renewed, and the connections of the old one are not taken", %{tmp_dir: tmp_dir} do
      # The first run is dev's, and expires at once; the second one's user has no rights.
      once = Path.join(tmp_dir, "once")
      expired = [expirationTimestamp: "2020-01-01T00:00:00Z"]
      first = credential(identity("dev") ++ expired)
      second = credential(identity("nobody"))
      plugin = plugin(tmp_dir, "if mkdir #{once}; then #{first}; else #{second}; fi")
      kubeconfig = kubeconfig(tmp_dir, plugin)
      assert_pods(kubeconfig)

      Laptop.await(fn ->
        match?(
          {:error, %Error{reason: {:forbidden, _}}},
          K8sConnect.pods(kubeconfig: kubeconfig)
        )
      end)

      assert runs(plugin) == 2
    end
  end

  describe "the program is run with" do
    test "arguments, its entry's variables, and the caller's", %{tmp_dir: tmp_dir} do
      seen = Path.join(tmp_dir, "seen")
      Environment.put("K8S_CONNECT_TEST", "from the caller")
      Environment.put("OTHER", "from the caller")

      script =
        ~s(printf '%s\\n' "$1|$2|$K8S_CONNECT_TEST|$OTHER" > #{seen}\n) <>
          credential(token: Kubeconfig.token())

      plugin = plugin(tmp_dir, script)

      more = [
        "args: [get, 'a token']",
        "env: [{name: OTHER, value: from the entry}]"
      ]

      assert_pods(kubeconfig(tmp_dir, plugin, more))
      assert File.read!(seen) == "get|a token|from the caller|from the entry\n"
    end

    test "the question", %{tmp_dir: tmp_dir} do
      seen = Path.join(tmp_dir, "seen")

      script =
        "printf '%s' \"$KUBERNETES_EXEC_INFO\" > #{seen}\n" <>
          credential(token: Kubeconfig.token())

      plugin = plugin(tmp_dir, script)
      assert_pods(kubeconfig(tmp_dir, plugin))
      assert File.read!(seen) =~ ~s("spec":{"interactive":false})
      refute File.read!(seen) =~ "cluster"

      cluster = [
        "tls-server-name: kubernetes.default.svc",
        "extensions: [{name: client.authentication.k8s.io/exec, extension: {audience: us}}]"
      ]

      assert_pods(kubeconfig(tmp_dir, plugin, ["provideClusterInfo: true"], cluster))
      question = File.read!(seen)
      assert question =~ ~s("server":"https://10.200.0.1:6443")
      assert question =~ ~s("tls-server-name":"kubernetes.default.svc")
      assert question =~ ~s("config":{"audience":"us"})

      assert question =~
               ~s("certificate-authority-data":"#{Kubeconfig.part("certificate-authority-data")}")

      refute question =~ "proxy-url"
    end

    test "three descriptors, no input and no terminal", %{tmp_dir: tmp_dir} do
      seen = Path.join(tmp_dir, "seen")

      script = """
      ls /proc/self/fd > #{seen}
      read line && echo "read $line" >> #{seen}
      ( : < /dev/tty ) 2> /dev/null && echo terminal >> #{seen}
      ps -o sid=,tty= -p $$ >> #{seen}
      """

      plugin = plugin(tmp_dir, script <> credential(token: Kubeconfig.token()))
      # Ports of the BEAM, whose pipes are not close-on-exec.
      cats = for _ <- 1..5, do: Port.open({:spawn_executable, "/bin/cat"}, [:binary])
      assert_pods(kubeconfig(tmp_dir, plugin, ["interactiveMode: IfAvailable"]))
      Enum.each(cats, &Port.close/1)
      # The fourth is the listing's own.
      assert ["0", "1", "2", "3", session, "?"] = String.split(File.read!(seen))
      {own, 0} = System.cmd("ps", ["-o", "sid=", "-p", System.pid()])
      assert session != String.trim(own)
    end

    test "another environment, as another user", %{tmp_dir: tmp_dir} do
      plugin = plugin(tmp_dir, credential(token: Kubeconfig.token()))
      kubeconfig = kubeconfig(tmp_dir, plugin)

      for profile <- ["one", "two", "two"] do
        Environment.put("AWS_PROFILE", profile)
        assert_pods(kubeconfig)
      end

      assert runs(plugin) == 2
    end

    test "its name looked for in the PATH of the call, or beside the kubeconfig",
         %{tmp_dir: tmp_dir} do
      plugin = plugin(tmp_dir, credential(token: Kubeconfig.token()), "k8s-login")
      Environment.put("PATH", "/usr/bin:#{tmp_dir}:/bin")
      assert_pods(kubeconfig(tmp_dir, "k8s-login"))
      assert_pods(kubeconfig(tmp_dir, "./k8s-login"))
      assert runs(plugin) == 2
    end
  end

  describe "what is told of a program" do
    test "that is not there", %{tmp_dir: tmp_dir} do
      path = System.get_env("PATH")
      more = ["installHint: install it with apt"]

      assert {:plugin_not_found, %{program: "no-login", path: ^path, hint: "install it with apt"}} =
               failure(kubeconfig(tmp_dir, "no-login", more))

      assert {:plugin_not_found, %{program: "/no/login", path: nil, hint: nil}} =
               failure(kubeconfig(tmp_dir, "/no/login"))
    end

    test "that cannot be run", %{tmp_dir: tmp_dir} do
      path = Path.join(tmp_dir, "plain")
      File.write!(path, "text")
      assert {:plugin_not_started, %{program: ^path}} = failure(kubeconfig(tmp_dir, path))
    end

    test "that fails, once for all", %{tmp_dir: tmp_dir} do
      plugin = plugin(tmp_dir, "echo secret\nprintf 'not \\033[31mlogged in' >&2\nexit 7")
      kubeconfig = kubeconfig(tmp_dir, plugin)
      tasks = for _ <- 1..20, do: Task.async(fn -> failure(kubeconfig) end)

      for reason <- Task.await_many(tasks) do
        assert {:plugin_failed, %{program: ^plugin, status: "exit code 7"} = details} = reason
        assert details.output =~ "logged in"
      end

      assert runs(plugin) == 1
    end

    test "that is slow, and is ended then", %{tmp_dir: tmp_dir} do
      plugin = plugin(tmp_dir, "sleep 60 & echo $! >> #{tmp_dir}/sleep; wait")

      assert {:plugin_timed_out, %{program: ^plugin, timeout_ms: waited}} =
               failure(kubeconfig(tmp_dir, plugin), timeout: 500)

      assert waited in 500..5_000
      assert_gone([plugin <> ".runs", "#{tmp_dir}/sleep"])
    end

    test "that prints something else", %{tmp_dir: tmp_dir} do
      for {script, index} <-
            Enum.with_index(["", "echo 'token: secret'", "echo '{\"token\": \"secret\"}'"]) do
        plugin = plugin(tmp_dir, script, "rubbish-#{index}")

        assert {:plugin_invalid_output, %{program: ^plugin}} =
                 failure(kubeconfig(tmp_dir, plugin))
      end
    end

    test "that speaks another version, or gives nothing", %{tmp_dir: tmp_dir} do
      beta = @v1 <> "beta1"
      plugin = plugin(tmp_dir, credential([token: "secret"], beta), "beta")

      assert {:plugin_version, %{expected: @v1, actual: ^beta}} =
               failure(kubeconfig(tmp_dir, plugin))

      plugin = plugin(tmp_dir, credential([]), "empty")
      assert {:plugin_no_credentials, %{program: ^plugin}} = failure(kubeconfig(tmp_dir, plugin))
    end

    test "that needs a terminal", %{tmp_dir: tmp_dir} do
      plugin = plugin(tmp_dir, credential(token: Kubeconfig.token()))

      assert {:plugin_needs_terminal, %{program: ^plugin, context: "test"}} =
               failure(kubeconfig(tmp_dir, plugin, ["interactiveMode: Always"]))

      assert runs(plugin) == 0
    end
  end

  test "ends with whom it is run for", %{tmp_dir: tmp_dir} do
    plugin = plugin(tmp_dir, "sleep 60 & echo $! >> #{tmp_dir}/sleep; wait")
    kubeconfig = kubeconfig(tmp_dir, plugin)
    files = [plugin <> ".runs", "#{tmp_dir}/sleep"]

    caller = spawn(fn -> K8sConnect.pods(kubeconfig: kubeconfig, timeout: 60_000) end)
    Laptop.await(fn -> Enum.all?(files, &File.exists?/1) end)
    Process.exit(caller, :kill)
    assert_gone(files)
    Enum.each(files, &File.rm!/1)

    options = [kubeconfig: kubeconfig, timeout: 60_000]
    caller = spawn(fn -> K8sConnect.connect("app-0", options) end)
    Laptop.await(fn -> Enum.all?(files, &File.exists?/1) end)
    Process.exit(caller, :kill)
    assert_gone(files)
  end

  # The processes whose ids the files have.
  defp assert_gone(files) do
    pids = for file <- files, pid <- String.split(File.read!(file)), do: pid
    assert pids != []
    Laptop.await(fn -> Enum.all?(pids, &gone?/1) end)
  end

  # One that nobody has taken note of yet is a zombie.
  defp gone?(pid) do
    case File.read("/proc/#{pid}/stat") do
      {:ok, stat} -> stat =~ ~r/\) Z /
      {:error, _reason} -> true
    end
  end
end
