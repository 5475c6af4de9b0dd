defmodule K8sConnect.EscapeSequences do
  @moduledoc false
  # Text from a pod for the terminal of the user. Escape sequences can change the title of the terminal, read and set its
  # clipboard, or move the cursor to make other text unreadable. Only colours and styles (SGR) stay.
  #
  # The sequences: https://ecma-international.org/publications-and-standards/standards/ecma-48/

  # All control characters but tab, newline and bell, of one byte or of two in UTF-8. A carriage return moves the cursor,
  # unless a newline follows.
  @control ~r/[\x00-\x06\x08\x0B\x0C\x0E-\x1F\x7F]|\r(?!\n)|\xC2[\x80-\x9F]/

  @doc """
  Removes the escape sequences and control characters from chardata. What has none is returned as it is, and so is a
  term that is no chardata. Text that is not UTF-8 is read as Latin-1: a group leader checks no binary that a function
  returns, and its terminal ends at one that is not UTF-8.
  """
  @spec strip(term(), :unicode | :latin1) :: term()
  def strip(text, encoding \\ :unicode)

  def strip(text, encoding) when is_binary(text) or is_list(text) do
    case :unicode.characters_to_binary(text, encoding) do
      binary when is_binary(binary) ->
        # Characters, because they are the same in each encoding.
        if binary =~ @control, do: binary |> remove() |> String.to_charlist(), else: text

      {_kind, _valid, _rest} when encoding == :unicode ->
        text |> latin1() |> strip()

      {_kind, _valid, _rest} ->
        []
    end
  rescue
    # No chardata
    ArgumentError -> text
  end

  def strip(other, _encoding), do: other

  defp latin1(text) do
    case :unicode.characters_to_binary(text, :latin1) do
      binary when is_binary(binary) -> binary
      {_kind, _valid, _rest} -> ""
    end
  end

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
      text =~ @control -> remove(text)
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

  # One pass, because the group leader of the user's shell does it, and a pod can send 256 MiB.
  defp remove(text), do: plain(text, text, 0, "")

  # The first `size` bytes of `from` are kept as they are.
  defp plain(<<"\r\n", rest::binary>>, from, size, kept), do: plain(rest, from, size + 2, kept)

  defp plain(<<char, _rest::binary>> = text, from, size, kept)
       when char in 0x00..0x06 or char in [0x08, 0x7F] or char in 0x0B..0x1F,
       do: control(text, append(kept, from, size))

  # Two bytes in UTF-8
  defp plain(<<0xC2, char, _rest::binary>> = text, from, size, kept) when char in 0x80..0x9F,
    do: control(text, append(kept, from, size))

  defp plain(<<_char, rest::binary>>, from, size, kept), do: plain(rest, from, size + 1, kept)
  defp plain(<<>>, from, size, kept), do: append(kept, from, size)

  defp append(kept, from, size), do: <<kept::binary, binary_part(from, 0, size)::binary>>

  # CSI, as two characters or as one; OSC, DCS, SOS, PM and APC, which end with ST or BEL.
  defp control(<<"\e[", rest::binary>>, kept), do: sequence(rest, rest, kept)
  defp control(<<"\u009B", rest::binary>>, kept), do: sequence(rest, rest, kept)

  defp control(<<?\e, start, rest::binary>>, kept) when start in ~c"]PX^_",
    do: rest |> after_string() |> continue(kept)

  defp control(<<start::utf8, rest::binary>>, kept) when start in [0x90, 0x98, 0x9D, 0x9E, 0x9F],
    do: rest |> after_string() |> continue(kept)

  # Others have intermediate characters and a final one.
  defp control(<<?\e, rest::binary>>, kept), do: rest |> after_escape() |> continue(kept)
  defp control(<<_control::utf8, rest::binary>>, kept), do: continue(rest, kept)

  defp continue(text, kept), do: plain(text, text, 0, kept)

  # Parameters, intermediate characters, and a final one, which is `m` for SGR.
  defp sequence(<<char, rest::binary>>, from, kept) when char in 0x20..0x3F,
    do: sequence(rest, from, kept)

  defp sequence(<<?m, rest::binary>>, from, kept) do
    parameters = binary_part(from, 0, byte_size(from) - byte_size(rest) - 1)

    if sgr?(parameters),
      do: continue(rest, <<kept::binary, "\e[", parameters::binary, "m">>),
      else: continue(rest, kept)
  end

  defp sequence(<<final, rest::binary>>, _from, kept) when final in 0x40..0x7E,
    do: continue(rest, kept)

  # Not a sequence after all
  defp sequence(rest, _from, kept), do: continue(rest, kept)

  # Digits, colons and semicolons
  defp sgr?(parameters), do: for(<<char <- parameters>>, char not in ?0..?;, do: char) == []

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
