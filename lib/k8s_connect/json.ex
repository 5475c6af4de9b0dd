defmodule K8sConnect.JSON do
  @moduledoc false
  # A JSON encoder for plain data: Elixir before 1.18 and OTP before 27 have none.

  @doc """
  Encodes maps with atom or string keys, lists, strings, atoms, numbers, booleans and `nil`. Keys are sorted, so
  that equal terms give equal text. Invalid UTF-8 is replaced by U+FFFD.
  """
  @spec encode(term()) :: iodata()
  def encode(nil), do: "null"
  def encode(value) when is_boolean(value), do: Atom.to_string(value)
  def encode(value) when is_atom(value), do: string(Atom.to_string(value))
  def encode(value) when is_integer(value), do: Integer.to_string(value)
  def encode(value) when is_float(value), do: Float.to_string(value)
  def encode(value) when is_binary(value), do: string(value)

  def encode(value) when is_list(value),
    do: [?[, value |> Enum.map(&encode/1) |> Enum.intersperse(?,), ?]]

  def encode(%{} = value) do
    pairs = value |> Enum.map(fn {key, value} -> {to_string(key), value} end) |> Enum.sort()
    [?{, pairs |> Enum.map(&pair/1) |> Enum.intersperse(?,), ?}]
  end

  defp pair({key, value}), do: [string(key), ?:, encode(value)]

  defp string(text), do: [?", escape(text, []), ?"]

  defp escape(<<>>, done), do: Enum.reverse(done)
  defp escape(<<?", rest::binary>>, done), do: escape(rest, ["\\\"" | done])
  defp escape(<<?\\, rest::binary>>, done), do: escape(rest, ["\\\\" | done])
  defp escape(<<?\n, rest::binary>>, done), do: escape(rest, ["\\n" | done])

  defp escape(<<char, rest::binary>>, done) when char < 0x20,
    do: escape(rest, [code(char) | done])

  # JSON allows them, and a terminal obeys some of them.
  defp escape(<<char::utf8, rest::binary>>, done) when char in 0x7F..0x9F,
    do: escape(rest, [code(char) | done])

  defp escape(<<char::utf8, rest::binary>>, done), do: escape(rest, [<<char::utf8>> | done])
  defp escape(<<_byte, rest::binary>>, done), do: escape(rest, ["\uFFFD" | done])

  defp code(char), do: ["\\u", char |> Integer.to_string(16) |> String.pad_leading(4, "0")]
end
