defmodule K8sConnect.Error do
  @moduledoc """
  What went wrong, for programs and for people.

    * `:stage` - how far we came: `:options`, `:native` (the library itself), `:config` (the
      kubeconfig), `:cluster` (the API server), `:target` (the pod), `:node` (what answers in it),
      `:cookie`, `:outlet`, `:helper` and `:route` (the way from there to this BEAM), `:connect`,
      `:exec` (a command that was to be run), or `:remote` (what was wanted of the node).
    * `:reason` - `{kind, details}`, a term to match on.

  `message/1` makes the sentence: what was tried, what was seen, and what to do next. It is a pure
  function of the reason. Text that came from outside loses its control characters on the way.
  `guides/troubleshooting.md` has all of them.

  | stage | kinds |
  |---|---|
  #{K8sConnect.Error.Catalogue.table()}
  """

  alias K8sConnect.Error.Catalogue

  @enforce_keys [:stage, :reason]
  defexception @enforce_keys

  @type stage ::
          :options
          | :native
          | :config
          | :cluster
          | :target
          | :node
          | :cookie
          | :outlet
          | :helper
          | :route
          | :connect
          | :exec
          | :remote
  @type t :: %__MODULE__{stage: stage(), reason: {kind :: atom(), details :: map()}}

  @doc false
  @spec new(stage(), {atom(), map()}) :: t()
  def new(stage, reason), do: %__MODULE__{stage: stage, reason: reason}

  @doc """
  The sentence for people.
  """
  @spec message(t()) :: String.t()
  @impl true
  def message(%__MODULE__{} = error) do
    case entry(error) do
      {says, nil} -> says
      {says, {words, command}} -> "#{stop(says)} #{words}: #{command}"
      {says, words} -> "#{stop(says)} #{words}"
    end
    |> printable()
  end

  @doc """
  The sentence without what to do next.
  """
  @spec says(t()) :: String.t()
  def says(%__MODULE__{} = error), do: error |> entry() |> elem(0) |> printable()

  @doc """
  A command that can be pasted to see more, or to mend it; `nil` where there is none.
  """
  @spec command(t()) :: String.t() | nil
  def command(%__MODULE__{} = error) do
    case entry(error) do
      {_says, {_words, command}} -> printable(command)
      {_says, _words} -> nil
    end
  end

  @doc """
  The exit code of a program that gives up because of it: 2 for a usage error; 127 and 126, as a shell
  has them, for a command that was not found or is not executable; otherwise 1.
  """
  @spec exit_code(t()) :: 1 | 2 | 126 | 127
  def exit_code(%__MODULE__{stage: stage, reason: {kind, _details}}),
    do: Catalogue.exit_code(stage, kind)

  @doc """
  All of it for another program, as JSON has it.
  """
  @spec to_map(t()) :: map()
  def to_map(%__MODULE__{stage: stage, reason: {kind, details}} = error) do
    %{
      stage: stage,
      kind: kind,
      details: Map.new(details, fn {key, value} -> {key, plain(value)} end),
      message: message(error),
      command: command(error),
      exit_code: exit_code(error)
    }
  end

  defp entry(%__MODULE__{stage: stage, reason: {kind, details}}),
    do: Catalogue.entry(stage, kind, details)

  # A question keeps its mark.
  defp stop(says), do: if(String.ends_with?(says, "?"), do: says, else: says <> ".")

  @doc false
  # Escape sequences first, as a whole, then whatever else could move a cursor.
  @spec printable(String.t()) :: String.t()
  def printable(text) do
    text
    |> String.codepoints()
    |> Enum.map_join(&if(String.valid?(&1), do: &1, else: "\uFFFD"))
    |> String.replace(~r/\e\[[0-9;?]*[ -\/]*[@-~]|\e\][^\a\e]*(\a|\e\\)?/, "")
    |> String.replace(~r/[\x00-\x08\x0b-\x1f\x7f]|[\x{80}-\x{9f}]/u, "")
  end

  defp plain(text) when is_binary(text), do: printable(text)
  defp plain(list) when is_list(list), do: Enum.map(list, &plain/1)
  defp plain(value) when is_number(value) or is_atom(value), do: value
  defp plain(other), do: inspect(other)
end
