defmodule Mix.K8sConnect.LoginTest do
  # A login plugin on a terminal, in a BEAM of its own.
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

  test "may ask, where mix is on a terminal, and the answer is its own", %{tmp_dir: tmp_dir} do
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

    kubeconfig = Kubeconfig.write(tmp_dir, [], [exec])

    terminal =
      open("cd #{path(".")} && mix k8s.connect app-0 --rpc 'node()' --kubeconfig #{kubeconfig}", [
        {"MIX_ENV", "dev"}
      ])

    expect(terminal, ~r/your name please: /)
    answer(terminal, "")
    assert await_end(terminal) == 0
  end

  # The BEAM reads from the terminal, too, and sometimes a line is its: then it is typed again, as a
  # person would do.
  defp answer(terminal, seen, tries \\ 10) do
    type(terminal, "somebody\n")
    seen = shown(terminal, seen, ~r/connected|failed/)

    cond do
      seen =~ "connected" -> :ok
      tries > 0 and not (seen =~ "failed") -> answer(terminal, seen, tries - 1)
      true -> flunk(seen)
    end
  end

  defp shown(terminal, seen, pattern) do
    receive do
      {^terminal, {:data, data}} ->
        seen = seen <> data
        if seen =~ pattern, do: seen, else: shown(terminal, seen, pattern)
    after
      3_000 -> seen
    end
  end
end
