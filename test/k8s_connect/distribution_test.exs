defmodule K8sConnect.DistributionTest do
  use ExUnit.Case, async: false

  import Bitwise
  import K8sConnect.Tmp

  alias K8sConnect.{Distribution, Environment}
  alias K8sConnect.Distribution.Name

  setup :tmp_dir

  defp names(user) do
    Environment.put("USER", user)
    {:ok, first} = GenServer.start_link(Name, [])
    {:ok, second} = GenServer.start_link(Name, [])
    names = Enum.map([first, second, first], &GenServer.call(&1, :get))
    Enum.each([first, second], &GenServer.stop/1)
    names
  end

  test "a VM keeps its name, and another one of the same user has another" do
    for user <- ["dev", "Jörg Müller", "DOMAIN\\user", "a@b", "", String.duplicate("x", 300)] do
      [first, second, again] = names(user)
      assert first =~ ~r/\Arem-[a-z0-9_-]{1,20}-[a-z0-9]{1,6}\z/
      assert first != second and first == again
    end
  end

  # Each in a VM of its own: whether distribution starts is decided once.
  defp start(home, erl_flags) do
    code = """
    {:error, reason} = K8sConnect.Distribution.ensure(:"app@10.244.1.2")
    IO.puts("reason " <> inspect(reason, limit: :infinity))
    """

    [_, reason] = Regex.run(~r/^reason (.*)$/m, run(code, home, erl_flags))
    reason |> Code.eval_string() |> elem(0)
  end

  defp run(code, home, erl_flags) do
    environment = [{"HOME", home}, {"ERL_FLAGS", erl_flags}, {"XDG_CONFIG_HOME", home}]
    # Those of OTP are there already.
    paths = Enum.reject(:code.get_path(), &List.starts_with?(&1, :code.root_dir()))
    paths = Enum.flat_map(paths, &["-pa", List.to_string(&1)])
    arguments = paths ++ ["-e", "Application.ensure_all_started(:k8s_connect)", "-e", code]
    {output, 0} = System.cmd("elixir", arguments, env: environment, stderr_to_stdout: true)
    output
  end

  test "a cookie file that OTP refuses or cannot create is the reason", %{tmp_dir: home} do
    file = Path.join(home, ".erlang.cookie")
    File.write!(file, "COOKIE")
    File.chmod!(file, 0o644)
    assert {:cookie_file, %{problem: problem, home: ^home}} = start(home, "")
    assert problem =~ "must be accessible by owner only"
    none = Path.join(home, "none")
    assert {:cookie_file, %{problem: problem, home: ^none}} = start(none, "")
    assert problem =~ "Failed to create cookie file"
  end

  test "a missing -epmd_module is the reason", %{tmp_dir: home} do
    assert {:epmd_module, %{module: "gone"}} = start(home, "-epmd_module gone")
  end

  @starts """
  :ok = K8sConnect.Distribution.preload()
  :ok = K8sConnect.Distribution.ensure(:"app@10.244.1.2")
  started = {Node.alive?(), :erlang.module_loaded(:crypto)}
  # A call that the compiler sees loads the module.
  IO.inspect({started, byte_size(apply(:crypto, :strong_rand_bytes, [7]))})
  """

  test "a VM that runs nothing else starts distribution without OpenSSL, and can use it then", %{
    tmp_dir: home
  } do
    assert run(@starts, home, "") =~ "{{true, true}, 7}"

    task = "K8sConnect.Distribution.mark_task_vm()\n"
    assert run(task <> @starts, home, "") =~ "{{true, false}, 7}"

    start = &"{:ok, _started} = Application.ensure_all_started(:#{&1})\n"
    # As Hex does
    assert run(task <> start.(:ssl) <> start.(:inets) <> @starts, home, "") =~
             "{{true, false}, 7}"

    assert run(task <> start.(:sasl) <> @starts, home, "") =~ "{{true, true}, 7}"
  end

  test "the flags that a node lacks have names" do
    alias K8sConnect.Distribution.Flags
    # What OTP 25 requires, without what OTP 26 requires as well.
    of_25 = 0x1070F94
    assert Flags.missing(of_25, of_25) == []
    assert Flags.missing(of_25, of_25 ||| 0x402000000) == ["UNLINK_ID", "V4_NC"]
    assert Flags.missing(0, 0x2000004) == ["EXTENDED_REFERENCES", "UNLINK_ID"]
    # The digest stands for all that OTP 25 requires.
    assert Flags.missing(0x4000000, 0x1070F94) == []
    assert Flags.missing(0, 0x8000000000) == ["0x8000000000"]
    # A node of this OTP lacks nothing.
    assert Flags.missing(elem(:erts_internal.get_dflags(), 1)) == []
  end

  test "the local node's name is long or short as the pod's is" do
    {:ok, _started} = Application.ensure_all_started(:k8s_connect)
    assert Atom.to_string(Distribution.name(:"app@10.244.1.2")) =~ ~r/@127\.0\.0\.1\z/
    assert Atom.to_string(Distribution.name(:"app@app-0")) =~ ~r/@localhost\z/
  end
end
