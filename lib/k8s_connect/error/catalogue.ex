defmodule K8sConnect.Error.Catalogue do
  @moduledoc false
  # Every failure that a user can cause or meet: a message (what failed, and why) and a remedy (what to do next).
  # One module for each stage has the entries.
  #
  # Texts are strings, or lists with `{:option, name}` and `{:option, name, value}` in them, because code and
  # command lines write options differently. A remedy is one of
  #
  #   * `{lead, command}`: the lead introduces the command, "Check with"
  #   * `{advice, lead, command}`: the advice is one or more sentences of its own
  #   * advice: there is something to do, and no command for it
  #   * `nil`
  #
  # Commands are data: see `K8sConnect.Error.Command`.

  alias K8sConnect.Error.Catalogue

  @type text :: String.t() | [String.t() | {:option, atom()} | {:option, atom(), term()} | text()]
  @type remedy ::
          {lead :: text(), K8sConnect.Error.Command.t()}
          | {advice :: text(), lead :: text(), K8sConnect.Error.Command.t()}
          | (advice :: text())
          | nil
  @type entry :: {message :: text(), remedy()}

  @stages [
    options: Catalogue.Options,
    native: Catalogue.Native,
    config: Catalogue.Config,
    cluster: Catalogue.Cluster,
    target: Catalogue.Target,
    node: Catalogue.Node,
    cookie: Catalogue.Cookie,
    endpoint: Catalogue.Endpoint,
    helper: Catalogue.Helper,
    route: Catalogue.Route,
    connect: Catalogue.Connect,
    exec: Catalogue.Exec,
    remote: Catalogue.Remote
  ]

  @doc """
  The stages, in the order of a connection setup, with the modules of their entries.
  """
  @spec stages() :: [{atom(), module()}]
  def stages, do: @stages

  @doc """
  The entry of a failure.
  """
  @spec entry(stage :: atom(), kind :: atom(), details :: map()) :: entry()
  def entry(stage, kind, details), do: Keyword.fetch!(@stages, stage).entry(kind, details)

  @doc """
  The exit code: a usage error is 2, and a retry does not help; a command that a shell could not run has the
  shell's code.
  """
  @spec exit_code(atom(), atom()) :: 1 | 2 | 126 | 127
  def exit_code(:exec, kind) when kind in [:not_found, :no_livebook], do: 127
  def exit_code(:exec, :not_executable), do: 126
  def exit_code(:options, _kind), do: 2
  def exit_code(_stage, kind) when kind in [:invalid_target, :invalid_namespace], do: 2
  def exit_code(_stage, _kind), do: 1
end
