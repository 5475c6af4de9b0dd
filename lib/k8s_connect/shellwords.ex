defmodule K8sConnect.Shellwords do
  @moduledoc false
  # Quoting for a POSIX shell: the one place that builds a line which somebody pastes.

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

  defp quoted(word), do: "'" <> String.replace(word, "'", "'\\''") <> "'"
end
