# usage: elixir native/fuzz/seeds.exs
#
# Writes the recorded messages from a pod to native/fuzz/corpus/guard, with the names and identifiers that the target
# `guard` gives out.
defmodule Seeds do
  @captures Path.expand("../core/tests/captures", __DIR__)
  @corpus Path.expand("corpus/guard", __DIR__)
  @reference <<90, 3::16, 119, 3, "l@h", 7::32, 1::32, 2::32, 3::32>>

  def run do
    File.mkdir_p!(@corpus)
    files = for file <- File.ls!(@captures), do: {file, File.read!(Path.join(@captures, file))}

    for {file, records} <- files, {packet, at} <- records |> packets() |> Enum.with_index() do
      # No cut, then the packet
      File.write!(
        Path.join(@corpus, "#{file}-#{at}"),
        <<0::16, byte_size(packet)::32, packet::binary>>
      )
    end
  end

  defp packets(<<2, size::32, record::binary-size(size), rest::binary>>) do
    case record do
      <<_length::32, 112, _::binary>> = packet ->
        [renamed(binary_part(packet, 4, size - 4)) | packets(rest)]

      _handshake ->
        packets(rest)
    end
  end

  defp packets(<<1, size::32, _record::binary-size(size), rest::binary>>), do: packets(rest)
  defp packets(<<>>), do: []

  # An I/O request goes to the group leader.
  defp renamed(packet) do
    id = if packet =~ "io_request", do: 2, else: 1
    local = <<119, 16, "laptop@127.0.0.1">>
    pid = ~r/X\x{77}\x{10}laptop@127.0.0.1.{12}/s
    reference = ~r/Z\x{00}\x{03}\x{77}\x{10}laptop@127.0.0.1.{16}/s
    given = <<88, 119, 3, "l@h", id::32, 0::32, 7::32>>

    packet
    |> replace(pid, given)
    |> replace(reference, @reference)
    |> :binary.replace(local, <<119, 3, "l@h">>, [:global])
    |> :binary.replace(<<119, 13, "app@127.0.0.1">>, <<119, 3, "p@h">>, [:global])
  end

  defp replace(packet, pattern, new), do: Regex.replace(pattern, packet, fn _all -> new end)
end

Seeds.run()
