defmodule Mix.Tasks.K8s.Helper do
  @shortdoc "Installs, tests or removes the helper of the kernel route"

  @moduledoc """
  Installs, tests or removes the helper of the kernel route.

      mix k8s.helper install | status | uninstall

  With the helper installed, all programs of this user can connect to the pod's IP address: a second
  `iex --name`, Livebook, `observer_cli`. Other users are not affected. Without the helper, only the BEAM
  that runs `mix k8s.connect` can connect, and the one program that `mix k8s.connect --exec` runs.

    * `install` - prints the commands, which need root, and asks before running them. They install the helper to
      one path, owned by root, and give the file the capabilities `cap_bpf`, `cap_net_admin` and `cap_perfmon`.
      The helper is not setuid. It attaches two BPF programs to your systemd slice, and drops all capabilities
      before it reads any input. The kernel detaches the programs when the helper exits, even after `kill -9`.
    * `status` - prints what is installed, and whether the route works on this machine. It starts a helper, which
      tests itself and redirects an address that is reserved for documentation, and connects to that address.
    * `uninstall` - removes the helper.

  It needs Linux 5.19 or newer with BTF, cgroup2, and a systemd login session. SECURITY.md describes
  the threat model.

  ## Command line options

    * `--yes` - runs the commands without asking
    * `--sudo` - for `status`: runs the helper with `sudo -n`, as `mix k8s.connect --sudo` does

  ## Exit codes

  0 success; 1 failure; 2 usage error, or not running on a terminal.
  """

  use Mix.Task

  alias Mix.K8sConnect.{Archive, Console, Install, Switches}

  @usage "usage: mix k8s.helper install | status | uninstall. See: mix help k8s.helper"

  @impl true
  def run(arguments), do: Archive.run(__MODULE__, arguments, &execute/1)

  defp execute(arguments) do
    Mix.Task.run("loadpaths")

    {switches, _letters} = Switches.of("k8s.helper")

    case OptionParser.parse(arguments, strict: switches) do
      {options, ["install"], []} ->
        Install.install(options)

      {options, ["uninstall"], []} ->
        Install.uninstall(options)

      {options, ["status"], []} ->
        Install.status(options)

      {_options, _arguments, [{switch, _value} | _more]} ->
        Console.fail("unknown option #{switch}. #{@usage}", 2)

      _other ->
        Console.fail(@usage, 2)
    end
  end
end
