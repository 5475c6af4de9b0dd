defmodule Mix.Tasks.K8s.Init do
  @shortdoc "Configures named targets for the Erlang nodes of a cluster"

  @moduledoc """
  Configures named targets for the Erlang nodes of a cluster.

      mix k8s.init [options]

  ## Examples

      mix k8s.init --dry-run                     # only prints the configuration
      mix k8s.init --context prod -n shop
      mix k8s.init -A --yes                      # all namespaces, without asking

  The task looks for pods that look like Erlang nodes, as `mix k8s.pods` does, and suggests a named target for each of
  their workloads:

      config :k8s_connect,
        protect: ["prod-eu"],
        targets: [
          app: [context: "prod-eu", namespace: "shop", target: "sts/app"]
        ]

  Then `mix k8s.connect app` is the same as `mix k8s.connect sts/app --context prod-eu -n shop`. `protect` has the
  contexts of the kubeconfig whose names look like production: k8s_connect asks before it connects to them.

  The task prints the lines, and asks before it adds them to `config/dev.exs` if the project has this file, otherwise to
  `config/config.exs`, which it creates if needed. Other lines stay as they are. If a file in `config` already has
  `config :k8s_connect`, the task only prints what to add. In an umbrella the files are those of the umbrella. It
  suggests at most 50 targets at once.

  It also prints the Role that a connection needs, to send to an admin. Nothing in the cluster is changed.

  ## Command line options

    * `--dry-run` - only prints the lines
    * `--yes` - writes without asking
    * `-A`, `--all-namespaces`, `-n`, `--namespace NAME`, `-l`, `--selector LABELS`, `--context NAME`,
      `--kubeconfig PATH`, `--timeout MS` - as for `mix k8s.pods`

  ## Exit codes

  0 success, or nothing to add; 1 failure, or no pod looks like an Erlang node; 2 usage error, not confirmed, or not
  running on a terminal without `--yes`.
  """

  use Mix.Task

  alias K8sConnect.Error
  alias K8sConnect.Doctor.Role
  alias Mix.K8sConnect.{Archive, Console, Init, Kubeconfig, PodsOptions, Project, Shell}
  alias Mix.K8sConnect.Init.ConfigFile

  import Mix.K8sConnect.Output, only: [say: 1]

  @rights [
    {"pods", ~w(get list watch)},
    {"pods/portforward", ~w(get create)}
  ]

  @impl true
  def run(arguments), do: Archive.run(__MODULE__, arguments, &execute/1)

  defp execute(arguments) do
    case PodsOptions.init(arguments) do
      {:ok, options, mode} ->
        Project.load(:text)
        init(options, mode)

      {:error, error} ->
        Console.fail(error, :text)
    end
  end

  defp init(options, mode) do
    with :ok <- K8sConnect.Options.check_pods(options),
         {:ok, pods} <- K8sConnect.pods([interactive: Shell.asks?()] ++ options),
         {:ok, %{context: context}} <- Kubeconfig.resolve(options) do
      if not Enum.any?(pods, & &1.beam), do: Console.fail("no pods look like Erlang nodes", 1)
      known = Application.get_env(:k8s_connect, :targets, [])
      targets = Init.targets(pods, context, known)
      result = suggest(targets, protect(options), mode)
      print_role()
      with {:stop, message, code} <- result, do: Console.fail(message, code)
    else
      {:error, error} -> error |> Error.for_request(:pods, options) |> Console.fail(:text)
    end
  end

  defp protect(options) do
    contexts = options |> Keyword.take([:kubeconfig]) |> Kubeconfig.contexts()
    Enum.reject(Init.production(contexts), &K8sConnect.Protection.protected?/1)
  end

  defp suggest([], [], _mode),
    do: say("nothing to add: every workload has a target in the configuration")

  defp suggest(targets, protect, mode) do
    config_path = Mix.Project.config()[:config_path]

    cond do
      Mix.Project.get() == nil ->
        show(Init.block(targets, protect))

        say(
          "no Mix project in this folder. Add these lines to the config/config.exs of a project"
        )

      file = ConfigFile.configured(config_path) ->
        show(targets |> Init.settings(protect) |> Enum.join(",\n"))

        say(
          "#{relative(file)} has config :k8s_connect already, and was not changed. Add these settings to it"
        )

      true ->
        block = Init.block(targets, protect)
        file = ConfigFile.path(config_path)
        show(block)
        write(file, block, mode)
    end
  end

  defp show(text),
    do: IO.puts(["\n", text |> String.trim_trailing() |> String.replace(~r/^/m, "    "), "\n"])

  defp read(file), do: if(File.exists?(file), do: File.read(file), else: {:ok, nil})

  defp write(file, _block, :dry_run), do: say("--dry-run: #{relative(file)} was not changed")

  defp write(file, block, mode) do
    # Read after the question: the file may be edited meanwhile.
    with :ok <- confirm(file, mode),
         {:ok, text} <- read(file),
         {:ok, new} <- ConfigFile.add(text, block),
         :ok <- File.mkdir_p(Path.dirname(file)),
         :ok <- File.write(file, new) do
      say("added these lines to #{relative(file)}")
    else
      {:stop, _message, _code} = stop ->
        stop

      {:error, problem} when is_binary(problem) ->
        {:stop, "could not add the lines to #{relative(file)}: #{problem}. Add them yourself", 1}

      {:error, reason} ->
        {:stop, "could not write #{relative(file)}: #{:file.format_error(reason)}", 1}
    end
  end

  defp confirm(_file, :yes), do: :ok

  defp confirm(file, :ask) do
    cond do
      not Shell.terminal?() ->
        {:stop,
         "not running on a terminal: #{relative(file)} was not changed. Add the lines yourself, or pass --yes",
         2}

      Mix.shell().yes?("Add these lines to #{relative(file)}?") ->
        :ok

      true ->
        {:stop, "cancelled: #{relative(file)} was not changed", 2}
    end
  end

  defp relative(file), do: Path.relative_to_cwd(file)

  defp print_role do
    rights =
      for {resource, verbs} <- @rights,
          verb <- verbs,
          do: %{verb: verb, resource: resource, name: nil, allowed: true}

    say(
      "A connection needs this Role in the namespace of the pods. mix k8s.doctor TARGET prints it with your user and"
    )

    say("the Secret of the cookie, and what is missing:")
    show(Role.yaml(rights, nil))
  end
end
