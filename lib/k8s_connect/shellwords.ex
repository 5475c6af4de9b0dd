defmodule K8sConnect.Shellwords do
  @moduledoc false
  # Quoting for a POSIX shell: the one place that builds a line which somebody pastes, or reads one that is not finished.

  @doc """
  Quotes a word, unless no shell gives any of its characters a meaning.
  """
  @spec escape(String.t()) :: String.t()
  def escape(""), do: "''"
  def escape(word), do: if(word =~ ~r/[^\w\/.,=@%+:-]/, do: quoted(word), else: word)

  @doc """
  A command line. A program whose name contains `=` is quoted, because a shell takes it for an assignment.
  """
  @spec join([String.t(), ...]) :: String.t()
  def join([program | arguments]) do
    program = if program =~ "=", do: quoted(program), else: escape(program)
    Enum.join([program | Enum.map(arguments, &escape/1)], " ")
  end

  @doc """
  The words of a line, without their quotes. Nothing is expanded, and a quote may be open.
  """
  @spec split(String.t()) :: [String.t()]
  def split(line), do: split(line, nil, [])

  # The word so far is `nil` between words.
  defp split("", nil, words), do: Enum.reverse(words)
  defp split("", word, words), do: Enum.reverse([word | words])

  defp split(<<space, rest::binary>>, word, words) when space in ~c" \t\n",
    do: split(rest, nil, List.wrap(word) ++ words)

  defp split("'" <> rest, word, words) do
    [inner | rest] = String.split(rest, "'", parts: 2)
    split(Enum.join(rest), (word || "") <> inner, words)
  end

  defp split("\"" <> rest, word, words), do: double(rest, word || "", words)

  defp split(<<?\\, char::utf8, rest::binary>>, word, words),
    do: split(rest, (word || "") <> <<char::utf8>>, words)

  defp split(<<char, rest::binary>>, word, words),
    do: split(rest, (word || "") <> <<char>>, words)

  defp double("\"" <> rest, word, words), do: split(rest, word, words)

  defp double(<<?\\, char, rest::binary>>, word, words) when char in ~c(\"\\$`),
    do: double(rest, word <> <<char>>, words)

  defp double(<<char, rest::binary>>, word, words), do: double(rest, word <> <<char>>, words)
  defp double("", word, words), do: split("", word, words)

  defp quoted(word), do: "'" <> String.replace(word, "'", "'\\''") <> "'"
end
