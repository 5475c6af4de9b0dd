defmodule K8sConnect.EscapeSequences do
  @moduledoc false
  # Text from a pod for the terminal of the user. Escape sequences can change the title of the terminal, read and set its
  # clipboard, or move the cursor to make other text unreadable. Only colours and styles (SGR) stay.
  #
  # The sequences: https://ecma-international.org/publications-and-standards/standards/ecma-48/

  # All control characters but tab, newline and bell, of one byte or of two in UTF-8. A carriage return moves the cursor, unless a newline
  # follows.
  @control ~r/[\x00-\x06\x08\x0B\x0C\x0E-\x1F\x7F]|\r(?!\n)|\xC2[\x80-\x9F]/

  @doc """
  Removes the escape sequences and control characters from chardata. What has none is returned as it is, and so is a
  term that is no chardata.
  """
  @spec strip(term(), :unicode | :latin1) :: term()
  def strip(text, encoding \\ :unicode)

  def strip(text, encoding) when is_binary(text) or is_list(text) do
    case :unicode.characters_to_binary(text, encoding) do
      binary when is_binary(binary) ->
        # Characters, because they are the same in each encoding.
        if binary =~ @control, do: binary |> remove([]) |> String.to_charlist(), else: text

      {_kind, _valid, _rest} when encoding == :unicode ->
        strip(text, :latin1)

      {_kind, _valid, _rest} ->
        []
    end
  rescue
    # No chardata
    ArgumentError -> text
  end

  def strip(other, _encoding), do: other

  # A group leader calls these for a pod, see `native/core/src/endpoint/guard/io_request.rs`.

  @doc """
  The text of a request to print it.
  """
  @spec text(term(), term()) :: term()
  def text(:latin1, text), do: strip(text, :latin1)

  # Text can be large, and a list of its characters is 16 times larger.
  def text(_unicode, text) when is_binary(text) do
    cond do
      not String.valid?(text) -> strip(text)
      text =~ @control -> remove(text, [])
      true -> text
    end
  end

  def text(_unicode, text), do: strip(text)

  @doc """
  A prompt. One that is no text, as `{:format, format, arguments}`, is empty.
  """
  @spec prompt(term(), term()) :: :unicode.chardata()
  def prompt(encoding, prompt) when is_atom(prompt), do: text(encoding, Atom.to_string(prompt))

  def prompt(encoding, prompt) when is_binary(prompt) or is_list(prompt) do
    text = text(encoding, prompt)
    if is_list(:unicode.characters_to_list(text)), do: text, else: ""
  rescue
    ArgumentError -> ""
  end

  def prompt(_encoding, _prompt), do: ""

  @doc """
  The text of a term.
  """
  @spec write(term()) :: term()
  def write(term), do: strip(:io_lib.write(term))

  @doc """
  Formats as `:io_lib.format/2`, and strips the text.
  """
  @spec format(:io.format(), [term()]) :: term()
  def format(format, arguments), do: strip(:io_lib.format(format, arguments))

  # Text up to the next control character is kept as it is.
  defp remove(text, kept) do
    case Regex.run(@control, text, return: :index) do
      nil ->
        IO.iodata_to_binary([kept, text])

      [{at, _length}] ->
        <<plain::binary-size(at), rest::binary>> = text
        control(rest, [kept, plain])
    end
  end

  # CSI, as two characters or as one; OSC, DCS, SOS, PM and APC, which end with ST or BEL.
  defp control(<<"\e[", rest::binary>>, kept), do: sequence(rest, rest, kept)
  defp control(<<"\u009B", rest::binary>>, kept), do: sequence(rest, rest, kept)

  defp control(<<?\e, start, rest::binary>>, kept) when start in ~c"]PX^_",
    do: rest |> after_string() |> remove(kept)

  defp control(<<start::utf8, rest::binary>>, kept) when start in [0x90, 0x98, 0x9D, 0x9E, 0x9F],
    do: rest |> after_string() |> remove(kept)

  # Others have intermediate characters and a final one.
  defp control(<<?\e, rest::binary>>, kept), do: rest |> after_escape() |> remove(kept)
  defp control(<<_control::utf8, rest::binary>>, kept), do: remove(rest, kept)

  # Parameters, intermediate characters, and a final one, which is `m` for SGR.
  defp sequence(<<char, rest::binary>>, from, kept) when char in 0x20..0x3F,
    do: sequence(rest, from, kept)

  defp sequence(<<?m, rest::binary>>, from, kept) do
    parameters = binary_part(from, 0, byte_size(from) - byte_size(rest) - 1)

    if parameters =~ ~r/\A[0-9;:]*\z/,
      do: remove(rest, [kept, "\e[", parameters, "m"]),
      else: remove(rest, kept)
  end

  defp sequence(<<final, rest::binary>>, _from, kept) when final in 0x40..0x7E,
    do: remove(rest, kept)

  # Not a sequence after all
  defp sequence(rest, _from, kept), do: remove(rest, kept)

  defp after_string(text) do
    case :binary.match(text, ["\a", "\e\\", "\u009C"]) do
      {at, length} -> binary_part(text, at + length, byte_size(text) - at - length)
      :nomatch -> ""
    end
  end

  defp after_escape(<<char, rest::binary>>) when char in 0x20..0x2F, do: after_escape(rest)
  defp after_escape(<<final, rest::binary>>) when final in 0x30..0x7E, do: rest
  defp after_escape(rest), do: rest
end
