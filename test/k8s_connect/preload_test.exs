defmodule K8sConnect.PreloadTest do
  use ExUnit.Case, async: true

  alias K8sConnect.Preload

  @files ["lib/k8s_connect/preload.ex", "lib/mix/k8s_connect/preload.ex"]

  # In a VM that has loaded none of these modules.
  defp evaluate(expression) do
    ebin = Path.dirname(to_string(:code.which(Preload)))
    {output, 0} = System.cmd("elixir", ["-pa", ebin, "-e", expression])
    output
  end

  test "all modules of a connect are loaded, and none twice" do
    output =
      evaluate("""
      processes = [fn -> K8sConnect.Session.module_info() end | List.duplicate(&K8sConnect.Preload.connect/0, 3)]
      processes |> Enum.map(&Task.async/1) |> Task.await_many()
      IO.inspect(for m <- [K8sConnect.Session, K8sConnect.Tick, :dist_util], do: :erlang.module_loaded(m))
      IO.inspect(for {m, _} <- :code.all_loaded(), :erlang.check_old_code(m), do: m)
      """)

    assert output == "[true, true, true]\n[]\n"
  end

  test "the other lists are loaded whole, and a module that does not exist is skipped" do
    output =
      evaluate("""
      :ok = Mix.K8sConnect.Preload.task()
      :ok = Mix.K8sConnect.Preload.launcher([String.to_charlist("app-0")])
      :ok = K8sConnect.Preload.load([K8sConnect.None, K8sConnect.Tick])
      IO.inspect(for m <- [OptionParser, Mix.Utils, K8sConnect.Tick], do: :erlang.module_loaded(m))
      """)

    assert output == "[true, true, true]\n"
  end

  test "all modules in the lists exist" do
    for file <- @files, names = names(file), assert(length(names) > 50), name <- names do
      assert Code.ensure_loaded?(name), "#{file}: #{name}"
    end
  end

  defp names(file) do
    for [_line, name] <- Regex.scan(~r/^    (:?\w[\w.]+)(?:,|(?=\n  \]))$/m, File.read!(file)) do
      {module, []} = Code.eval_string(name)
      module
    end
  end
end
