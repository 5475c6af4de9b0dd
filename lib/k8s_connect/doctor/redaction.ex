defmodule K8sConnect.Doctor.Redaction do
  @moduledoc false
  # Removes private data from a report. A report never has cookies or tokens of its own; text that looks like a token
  # is removed all the same, because a program that failed may have printed it.

  alias K8sConnect.Doctor
  alias K8sConnect.Doctor.Role

  @doc """
  The report without private data.
  """
  @spec report(Doctor.report()) :: Doctor.report()
  def report(report), do: report(report, known(report))

  @doc false
  @spec report(Doctor.report(), [{String.t(), String.t()}]) :: Doctor.report()
  def report(report, known) do
    layers =
      for layer <- report.layers, do: %{layer | checks: Enum.map(layer.checks, &check(&1, known))}

    %{report | layers: layers}
  end

  defp check(check, known) do
    Map.new(check, fn
      {key, text} when key in [:fact, :source, :why, :command] and is_binary(text) ->
        {key, text(text, known)}

      other ->
        other
    end)
  end

  @doc false
  @spec text(String.t(), [{String.t(), String.t()}]) :: String.t()
  def text(text, known) do
    text = Enum.reduce(known, text, fn {word, mark}, text -> replace(text, word, mark) end)

    Enum.reduce(patterns(), text, fn {pattern, mark}, text ->
      Regex.replace(pattern, text, mark)
    end)
  end

  # Anywhere in a text.
  defp patterns do
    [
      {~r/-----BEGIN [^-]*-----.*?(-----END [^-]*-----|\z)/s, "<key>"},
      {~r/\beyJ[\w-]+\.[\w-]+(\.[\w-]*)?/, "<token>"},
      {~r/\b(Bearer|Basic) +[\w.~+\/=-]+/i, "<token>"},
      {~r/\b(token|password|secret|cookie)=[^\s,;]+/i, "\\1=<secret>"},
      {~r"(?<=://)[^/\s@]+@", "<user>@"},
      {~r/[\w.+-]+@[\w-]+(\.[\w-]+)*\.[a-z]{2,}\b/i, "<user>"},
      {~r/\bUser "[^"]*"/, "User <user>"},
      {~r/\barn:aws[\w-]*:[^\s,)"]+/, "<arn>"}
    ]
  end

  # Only whole words: a user may be called `e`. A host name only after an `@`: this machine may be called `vm`.
  defp replace(text, "@" <> host, mark),
    do: Regex.replace(~r/(?<=@)#{Regex.escape(host)}(?![[:alnum:]])/u, text, mark)

  defp replace(text, word, mark) do
    Regex.replace(~r/(?<![[:alnum:]])#{Regex.escape(word)}(?![[:alnum:]])/u, text, mark)
  end

  # The longest first: one may contain another.
  defp known(report) do
    found = server(report) ++ contexts(report) ++ proxy(report) ++ user(report) ++ machine()

    found =
      for {word, mark} <- found, word not in [nil, "", "/", "root", "localhost"], do: {word, mark}

    Enum.sort_by(Enum.uniq(found), fn {word, _mark} -> -byte_size(word) end)
  end

  defp machine do
    {:ok, host} = :inet.gethostname()

    [
      {System.get_env("HOME"), "~"},
      {System.get_env("USER"), "<user>"},
      {"@#{host}", "<host>"}
    ]
  end

  # The contexts in messages, if none was found.
  defp contexts(report) do
    for %{name: "kubeconfig"} = check <- checks(report),
        text <- [check.why, check.command],
        is_binary(text),
        pattern <- [
          ~r/Available contexts: ([^"\n]+)/,
          ~r/context "([^"\n]+)"/,
          ~r/--context (\S+)/
        ],
        [_all, names] <- Regex.scan(pattern, text),
        name <- String.split(names, ", "),
        do: {name, "<context>"}
  end

  defp proxy(report) do
    for %{name: "proxy", fact: fact, source: source} <- checks(report),
        source != nil,
        [_all, host] <- [Regex.run(~r/^(\S+):\d+$/, fact)],
        do: {host, "<proxy>"}
  end

  # The check of the kubeconfig names the context and the server.
  defp server(report) do
    for %{name: name, fact: fact} <- checks(report),
        name in ["kubeconfig"],
        [_all, context, server] <- [
          Regex.run(~r"^context (.*), namespace \S+, \w+://(.+)$", fact)
        ],
        [host | _port] = String.split(server, ~r/:\d+$/),
        word <- [{context, "<context>"}, {host, "<server>"}],
        do: word
  end

  defp user(report) do
    for %{name: "user", fact: fact} <- checks(report),
        [name | _groups] <- [String.split(fact, ", groups ")],
        fact =~ ", groups ",
        # Also as a part of a Role's name.
        word <- [name, String.replace_prefix(Role.name(name), "k8s-connect-", "")],
        do: {word, "<user>"}
  end

  defp checks(report), do: Enum.flat_map(report.layers, & &1.checks)
end
