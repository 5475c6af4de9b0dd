defmodule Mix.Tasks.K8s.Helper do
  @shortdoc "Installs, shows or removes the helper of the kernel route"

  @moduledoc """
  Installs, shows or removes the helper of the kernel route.

      mix k8s.helper install | status | uninstall

  With the helper installed, `mix k8s.connect` makes the pod's own address work on this machine, for
  every program of this user and for nobody else: a second `iex --name`, Livebook, `observer_cli`.
  Without it everything else works as well, from inside of the BEAM that connects.

    * `install` - prints the commands that an admin has to run, once, and asks whether to run them.
      They put the helper to one path, owned by root, and give the file one capability,
      `cap_net_admin`. The helper is not setuid, and its rules go with it, whatever ends it.
    * `status` - what is installed, and whether the route works on this machine. That is tried: a
      helper is started, an address that is nobody's is redirected, and a connection to it is made.
    * `uninstall` - the same as `install`, the other way round.

  An upgrade of the library does not need another installation as long as the helper speaks the
  same version of their protocol; `status` shows it.

  ## Command line options

    * `--yes` - does not ask
    * `--sudo` - for `status`: runs the helper by `sudo -n`, as `mix k8s.connect --sudo` does

  ## Exit codes

  0 it is done, or works; 1 it does not; 2 wrong words, or nobody there to ask.
  """

  use Mix.Task

  alias Mix.K8sConnect.{Console, Install}

  @switches [yes: :boolean, sudo: :boolean]
  @usage "say one of: mix k8s.helper install, status, uninstall. See: mix help k8s.helper"

  @impl true
  def run(arguments) do
    Mix.Task.run("loadpaths")

    case OptionParser.parse(arguments, strict: @switches) do
      {options, ["install"], []} ->
        Install.install(options)

      {options, ["uninstall"], []} ->
        Install.uninstall(options)

      {options, ["status"], []} ->
        Install.status(options)

      {_options, _words, [{switch, _value} | _more]} ->
        Console.fail("#{switch} is no option here. #{@usage}", 2)

      _other ->
        Console.fail(@usage, 2)
    end
  end
end
