defmodule Mix.K8sConnect.LoginTest do
  # An exec plugin on a terminal, in a BEAM of its own.
  use ExUnit.Case, async: false

  import K8sConnect.{Project, Terminal, Tmp}

  alias K8sConnect.Kubeconfig

  @moduletag :cluster
  @moduletag timeout: 120_000

  setup :tmp_dir

  setup_all do
    {_output, 0} = run(path("."), "mix", ["compile"], [{"MIX_ENV", "dev"}])
    :ok
  end

  # A kubeconfig whose plugin asks.
  defp asking(tmp_dir) do
    plugin = Path.join(tmp_dir, "plugin")

    File.write!(plugin, """
    #!/bin/sh
    printf 'your name please: ' >&2
    read name
    [ "$name" = somebody ] || { echo "unknown: $name" >&2; exit 1; }
    printf '%s' '{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
      "status": {"token": "#{Kubeconfig.token()}"}}'
    """)

    File.chmod!(plugin, 0o755)

    exec =
      "exec: {command: #{plugin}, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Always}"

    Kubeconfig.write(tmp_dir, [], [exec])
  end

  defp connect(words, tmp_dir) do
    line = "cd #{path(".")} && mix k8s.connect app-0 --kubeconfig #{asking(tmp_dir)} #{words}"
    open(line, [{"MIX_ENV", "dev"}])
  end

  test "may ask, where mix is on a terminal, and the answer is its own", %{tmp_dir: tmp_dir} do
    terminal = connect("--rpc 'node()'", tmp_dir)
    expect(terminal, ~r/your name please: /)
    type(terminal, "somebody\n")
    assert expect(terminal, ~r/:"app@10[^"]*"/) =~ "connected"
    assert await_end(terminal) == 0
  end

  test "leaves the terminal to IEx", %{tmp_dir: tmp_dir} do
    terminal = connect("", tmp_dir)
    expect(terminal, ~r/your name please: /)
    type(terminal, "somebody\n")
    expect(terminal, ~r/iex\(.*\)1> /)
    type(terminal, "{:sum, 40 + 2}\n")
    expect(terminal, "{:sum, 42}")
    type(terminal, "System.halt(0)\n")
    assert await_end(terminal) == 0
  end
end
