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
  A failure of the library. Its sentence is the reason, and the command in it is the command.
  """
  @spec failure(String.t(), Error.t(), map()) :: finding()
  def failure(fact, %Error{} = error, context) do
    {why, command} = why_and_command(error, context)
    failed(fact, nil, why, command)
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
    words =
      for {option, switch} <- [selector: "-l", namespace: "-n", context: "--context"],
          value = context.options[option],
          do: [switch, value]

    Enum.map_join(
      ["mix", "k8s.doctor", context.asked, words, more] |> List.flatten(),
      " ",
      &word/1
    )
    |> String.replace("  ", " ")
  end

  defp word(nil), do: ""
  defp word(word), do: if(word =~ ~r/[^\w\/.,=@%+:-]/, do: "'#{word}'", else: word)

  # The one place where a sentence is taken apart: it ends in its command, after ": ", or in the
  # option that helps.
  defp why_and_command(%Error{reason: {kind, details}} = error, context) do
    sentence = Exception.message(error)

    pieces =
      String.split(
        sentence,
        ~r/: (?=(kubectl|mix|sudo|ls|wc|ps|pgrep|ss|ip|grep|export|iex|findmnt|getcap|--[a-z]) ?)/
      )

    case {better(kind, details, context), Enum.reverse(pieces)} do
      {command, [_command | why]} when command != nil and why != [] -> {join(why), command}
      {command, _none} when command != nil -> {sentence, command}
      {nil, [_only]} -> {sentence, otherwise(error, context)}
      {nil, ["--" <> _rest = option | why]} -> {join(why), again(context, words_of(option))}
      {nil, [command | why]} -> {join(why), command |> String.split("\n") |> hd()}
    end
  end

  # Where the sentence leaves a choice or a blank, and the details tell more.
  defp better(kind, %{known: [first | _more]}, context)
       when kind in [:no_container, :unknown_node],
       do: again(context, [if(kind == :no_container, do: "-c", else: "--node"), first])

  defp better(kind, _details, %{wish: %{cookie: :spec}} = context)
       when kind in [:refused, :not_found] and is_map_key(context, :node),
       do: again(context, ["--cookie-from", "exec"])

  defp better(_kind, _details, _context), do: nil

  defp join(pieces), do: pieces |> Enum.reverse() |> Enum.join(": ") |> without_lead()

  # "…. Check with" has nothing to say without its command.
  defp without_lead(text), do: String.replace(text, ~r/(?<=[.?]) [A-Z][^.?]*$/, "")

  # `--cookie-file PATH, or the option :cookie_file` → `--cookie-file PATH`
  defp words_of(option), do: option |> String.split(~r/[,.] /) |> hd() |> String.split(" ")

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
