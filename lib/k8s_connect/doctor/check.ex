defmodule K8sConnect.Doctor.Check do
  @moduledoc false
  # What one check has found, and how a failure of the library becomes one.

  alias K8sConnect.{Doctor, Error}

  # From the least to the most; what was skipped is told only where there is nothing else.
  @order [:skipped, :ok, :warning, :failed, :crashed]

  @typedoc "What a check answers; its name is added."
  @type finding :: %{
          optional(:name) => String.t(),
          status: Doctor.status(),
          fact: String.t(),
          source: String.t() | nil,
          why: String.t() | nil,
          command: String.t() | nil
        }

  @spec ok(String.t(), String.t() | nil) :: finding()
  def ok(fact, source \\ nil), do: finding(:ok, fact, source, nil, nil)

  @spec skipped(String.t()) :: finding()
  def skipped(fact), do: finding(:skipped, fact, nil, nil, nil)

  @spec crashed(String.t()) :: finding()
  def crashed(problem) do
    why = "this is a fault of k8s_connect, and says nothing about the rest. Please report it"
    finding(:crashed, "the check itself failed: #{problem}", nil, why, "mix k8s.doctor --report")
  end

  @spec warning(String.t(), String.t() | nil, String.t(), String.t()) :: finding()
  def warning(fact, source, why, command), do: finding(:warning, fact, source, why, command)

  @spec failed(String.t(), String.t() | nil, String.t(), String.t()) :: finding()
  def failed(fact, source, why, command), do: finding(:failed, fact, source, why, command)

  @doc """
  A failure of the library: its sentence is the reason.
  """
  @spec failure(String.t(), Error.t(), map()) :: finding()
  def failure(fact, %Error{} = error, context) do
    failed(fact, nil, Error.says(error), command(error, context))
  end

  # What a pod says of itself can be long.
  @longest 2_000

  @doc """
  The same finding without what could move a cursor: names in epmd, for one, are the pod's own words.
  """
  @spec printable(finding()) :: finding()
  def printable(finding) do
    Map.new(finding, fn
      {:command, command} when is_binary(command) ->
        {:command, plain(command, ~r/[^\P{Cc}\n]/u)}

      {key, text} when is_binary(text) ->
        {key, text |> String.slice(0, @longest) |> plain(~r/\p{Cc}/u)}

      other ->
        other
    end)
  end

  defp plain(text, unwanted) do
    text
    |> String.codepoints()
    |> Enum.map_join(&if(String.valid?(&1), do: &1, else: "\uFFFD"))
    |> String.replace(unwanted, "")
  end

  @doc """
  The worst status of several; of nothing it is `:ok`.
  """
  @spec worst([%{status: Doctor.status()}]) :: Doctor.status()
  def worst([]), do: :ok

  def worst(parts) do
    parts |> Enum.map(& &1.status) |> Enum.max_by(fn s -> Enum.find_index(@order, &(&1 == s)) end)
  end

  @doc """
  The line that repeats this examination, with more words.
  """
  @spec again(map(), [String.t()]) :: String.t()
  def again(context, more \\ []) do
    target = if context.asked, do: [context.asked], else: []
    words = switches(context, selector: "-l", namespace: "-n")
    line = ["mix", "k8s.doctor"] ++ target ++ words ++ access(context) ++ more
    Enum.map_join(line, " ", &word/1)
  end

  @doc """
  The same finding, with kubectl told which cluster it is about where that is not its own choice.
  """
  @spec about(finding(), map()) :: finding()
  def about(%{command: "kubectl " <> rest} = finding, context) do
    if rest =~ ~r/\n|--context|--kubeconfig/,
      do: finding,
      else: %{finding | command: kubectl(rest, access(context))}
  end

  def about(finding, _context), do: finding

  defp kubectl(rest, access),
    do: Enum.join(["kubectl" | Enum.map(access, &word/1)] ++ [rest], " ")

  defp access(context), do: switches(context, kubeconfig: "--kubeconfig", context: "--context")

  defp switches(%{options: options}, known) do
    for {option, switch} <- known, value = options[option], word <- [switch, value], do: word
  end

  defp switches(_context, _known), do: []

  defp word(word) do
    if word =~ ~r/[^\w\/.,=@%+:-]/,
      do: "'" <> String.replace(word, "'", "'\\''") <> "'",
      else: word
  end

  defp command(error, context),
    do: better(error, context) || mend(Error.command(error), context) || otherwise(error, context)

  # What the running node has is the surest.
  defp better(
         %Error{stage: :connect, reason: {:refused, _}},
         %{wish: %{cookie: :spec}} = context
       ),
       do: again(context, ["--cookie-from", "exec"])

  # The doctor is at work already, and prints the Role.
  defp better(%Error{reason: {:forbidden, %{message: message} = details}}, _context) do
    if message =~ "cannot impersonate",
      do: nil,
      else: "kubectl auth can-i #{details.verb} #{details.resource} -n #{details.namespace}"
  end

  defp better(%Error{reason: {:forbidden_both_ways, details}}, _context),
    do: "kubectl auth can-i create #{details.resource} -n #{details.namespace}"

  defp better(_error, _context), do: nil

  # An option that mends it is tried by the doctor first.
  defp mend("mix k8s.connect " <> words, context) do
    case String.split(words, " --", parts: 2) do
      [_target, options] -> again(context, String.split("--" <> options, " "))
      [_target] -> nil
    end
  end

  defp mend(command, _context), do: command

  defp otherwise(%Error{reason: {_kind, %{pod: pod, namespace: namespace}}}, _context),
    do: "kubectl describe pod #{pod} -n #{namespace}"

  defp otherwise(%Error{stage: stage, reason: {kind, %{context: name}}}, _context)
       when stage in [:config, :cluster] and kind != :unknown_context,
       do: "kubectl config view --minify --context #{name}"

  defp otherwise(%Error{stage: stage}, _context) when stage in [:config, :cluster],
    do: "kubectl config get-contexts"

  defp otherwise(%Error{stage: :target}, context), do: again(context, [])
  defp otherwise(%Error{stage: :options}, _context), do: "mix help k8s.doctor"
  defp otherwise(_error, context), do: again(context, ["--report"])

  defp finding(status, fact, source, why, command),
    do: %{status: status, fact: fact, source: source, why: why, command: command}
end
