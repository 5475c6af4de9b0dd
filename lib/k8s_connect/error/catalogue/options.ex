defmodule K8sConnect.Error.Catalogue.Options do
  @moduledoc false
  # What is wrong with a call or a command line. Functions raise most of it as `ArgumentError`.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:not_a_keyword, %{value: value}) do
    {"invalid options: expected a keyword list, got #{value}",
     {"For example", {:elixir, "K8sConnect.pods(namespace: \"shop\")"}}}
  end

  def entry(:unknown_option, %{option: option, available: available}),
    do: {"unknown option #{inspect(option)}. Valid options: #{names(available)}", nil}

  def entry(:unknown_configuration, %{key: key, available: available}),
    do:
      {"unknown key #{inspect(key)} in config :k8s_connect. Valid keys: #{names(available)}", nil}

  def entry(:invalid_configuration, %{key: key, expected: expected}),
    do: {"invalid value for #{inspect(key)} in config :k8s_connect: expected #{expected}", nil}

  def entry(:unreadable_configuration, %{file: file, problem: problem, project: false}) do
    {"could not read #{file}: #{bare(problem)}",
     {"k8s_connect does not connect without it, because it may protect contexts. The program of " <>
        "mix k8s.launcher has no code of dependencies: use mix here", "See",
      {:mix, "help", ["k8s.launcher"]}}}
  end

  def entry(:unreadable_configuration, %{file: file, problem: problem}) do
    {"could not read #{file}: #{bare(problem)}",
     {"k8s_connect does not connect without it, because it may protect contexts",
      "Print the whole error with", {:mix, "app.config", []}}}
  end

  def entry(:remsh_in_iex, %{}) do
    {"--remsh cannot be used in iex -S mix: two shells would read from one terminal",
     {"Run it without IEx", {:mix, "k8s.connect", [remsh: true]}}}
  end

  def entry(:invalid_option, %{option: :target, value: value, expected: expected}),
    do: {"invalid target: expected #{expected}, got #{inspect(value)}", nil}

  def entry(:invalid_option, %{option: option, value: value, expected: expected}) do
    {["invalid value for ", {:option, option}, ": expected #{expected}, got #{inspect(value)}"],
     nil}
  end

  def entry(:no_target, %{}) do
    {[
       "missing target: expected a pod (app-0), a workload (sts/app, deployment.apps/web), a Service (svc/app), or a label ",
       "selector (",
       {:option, :selector, "app=web"},
       ")"
     ], {"List the pods with", {:kubectl, ["get", "pods"]}}}
  end

  def entry(:no_cookie_file, %{file: file, problem: problem}),
    do: {"could not read the cookie file #{file}: #{bare(problem)}", ls(file)}

  def entry(:invalid_cookie_file, %{file: file, size: size}) do
    {"invalid cookie file #{file}: expected 1 to 255 bytes, got #{size}",
     {"Check with", {:sh, ["wc", "-c", file(file)]}}}
  end

  def entry(:target_and_selector, %{target: target}) do
    {["a target (#{inspect(target)}) and ", {:option, :selector}, " exclude each other"],
     "Remove one of them"}
  end

  def entry(:missing_option, %{given: given, needed: needed}),
    do: {[{:option, given}, " needs ", {:option, needed}, ", too"], nil}

  def entry(:unusable_tls_files, %{problem: problem}) do
    {[
       "could not use the files of ",
       {:option, :tls_ca},
       ", ",
       {:option, :tls_cert},
       " and ",
       {:option, :tls_key},
       ": #{bare(problem)}"
     ], nil}
  end

  def entry(:only_untrusted, %{option: option, trusting: trusting}) do
    {[
       {:option, option},
       " cannot be combined with ",
       {:option, trusting},
       ": a trusted pod can run code in this VM, and the requests that this code makes " <>
         if(option == :audit, do: "are not logged", else: "are not checked")
     ], "Remove one of them"}
  end

  def entry(:kernel_only, %{option: option, route: route}) do
    {[
       {:option, option, true},
       " requires ",
       {:option, :route, :kernel},
       ", got ",
       {:option, :route, route}
     ], "Remove one of them"}
  end

  def entry(:usage, %{problem: problem} = details),
    do: {problem, {"See", {:mix, "help", [details[:task] || "k8s.connect"]}}}

  defp names(available), do: Enum.map_join(available, ", ", &inspect/1)
end
