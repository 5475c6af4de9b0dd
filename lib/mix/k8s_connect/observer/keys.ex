defmodule Mix.K8sConnect.Observer.Keys do
  @moduledoc false
  # Keys of a terminal in raw mode. The sequences: https://invisible-island.net/xterm/ctlseqs/ctlseqs.html

  @type key ::
          :up
          | :down
          | :page_up
          | :page_down
          | :home
          | :end
          | :enter
          | :escape
          | :interrupt
          | {:char, char()}

  @sequences [
    {"\e[A", :up},
    {"\e[B", :down},
    {"\eOA", :up},
    {"\eOB", :down},
    {"\e[5~", :page_up},
    {"\e[6~", :page_down},
    {"\e[H", :home},
    {"\e[F", :end},
    {"\eOH", :home},
    {"\eOF", :end},
    {"\e[1~", :home},
    {"\e[4~", :end}
  ]

  @doc """
  The keys of typed bytes, and the bytes that may be the beginning of another key.
  """
  @spec parse(binary()) :: {[key()], binary()}
  def parse(bytes), do: parse(bytes, [])

  for {bytes, key} <- @sequences do
    defp parse(<<unquote(bytes), rest::binary>>, keys), do: parse(rest, [unquote(key) | keys])
  end

  defp parse(<<>>, keys), do: {Enum.reverse(keys), ""}

  defp parse(<<?\e, start, rest::binary>> = bytes, keys) when start in [?[, ?O] do
    case unknown(rest) do
      {:ok, rest} -> parse(rest, keys)
      :incomplete -> {Enum.reverse(keys), bytes}
    end
  end

  defp parse("\e", keys), do: {Enum.reverse(keys), "\e"}
  defp parse(<<?\e, rest::binary>>, keys), do: parse(rest, [:escape | keys])
  defp parse(<<char, rest::binary>>, keys) when char in ~c"\r\n", do: parse(rest, [:enter | keys])
  defp parse(<<3, rest::binary>>, keys), do: parse(rest, [:interrupt | keys])
  defp parse(<<0x7F, rest::binary>>, keys), do: parse(rest, [:escape | keys])

  defp parse(<<char, rest::binary>>, keys) when char in 0x20..0x7E,
    do: parse(rest, [{:char, char} | keys])

  defp parse(<<_other, rest::binary>>, keys), do: parse(rest, keys)

  # A sequence ends with its first byte that is no parameter.
  defp unknown(<<char, rest::binary>>) when char in 0x20..0x3F, do: unknown(rest)
  defp unknown(<<_final, rest::binary>>), do: {:ok, rest}
  defp unknown(<<>>), do: :incomplete

  @doc """
  The keys of bytes to which nothing was added for a while: Escape is the beginning of other keys, too.
  """
  @spec pending(binary()) :: [key()]
  def pending(<<?\e, _rest::binary>>), do: [:escape]
  def pending(_bytes), do: []
end
