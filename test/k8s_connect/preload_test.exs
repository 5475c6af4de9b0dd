defmodule K8sConnect.PreloadTest do
  use ExUnit.Case, async: false

  import K8sConnect.Tmp

  alias K8sConnect.Preload

  setup :tmp_dir

  # In a VM that has loaded none of these modules.
  defp evaluate(expression) do
    ebin = Path.dirname(to_string(:code.which(Preload)))
    {output, 0} = System.cmd("elixir", ["-pa", ebin, "-e", expression], stderr_to_stdout: true)
    output
  end

  test "all modules are loaded, at once and by one process" do
    output =
      evaluate("""
      connect = fn -> K8sConnect.Preload.connect() end
      1..4 |> Enum.map(fn _ -> Task.async(connect) end) |> Task.await_many()
      IO.inspect(for m <- [K8sConnect.Session, K8sConnect.Tick, :dist_util], do: :erlang.module_loaded(m))
      IO.inspect(for {m, _} <- :code.all_loaded(), :erlang.check_old_code(m), do: m)
      IO.inspect(:code.which(:dist_util) == :code.lib_dir(:kernel) ++ '/ebin/dist_util.beam')
      """)

    assert output == "[true, true, true]\n[]\ntrue\n"
  end

  test "a module that does not exist, or is loaded already, is no problem" do
    output =
      evaluate("""
      list = [k8s_connect: [K8sConnect.None, K8sConnect.Tick], none: [None], elixir: [Enum, DateTime]]
      IO.inspect(K8sConnect.Preload.load(list))
      IO.inspect(for m <- [K8sConnect.Tick, DateTime], do: :erlang.module_loaded(m))
      IO.inspect(:erlang.check_old_code(Enum))
      """)

    assert output == ":ok\n[true, true]\nfalse\n"
  end

  test "the modules of this library in the lists exist" do
    for file <- ["lib/k8s_connect/preload.ex", "lib/mix/k8s_connect/preload.ex"],
        [_line, name] <- Regex.scan(~r/^ +((?:Mix\.)?K8sConnect\.[\w.]+)/m, File.read!(file)) do
      assert Code.ensure_loaded?(Module.concat([name])), "#{file}: #{name}"
    end
  end
end
