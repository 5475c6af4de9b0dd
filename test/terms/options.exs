# usage: elixir test/terms/options.exs FILE
#
# Random texts of option files for TLS distribution, and broken ones, with what this OTP makes of them. A test of
# native/core/src/pod/tls_files/term compares. Each case: text (32 + n), verdict (32 + n).
#
# The verdict is the term, "refused" for a text that is no expression, or "expression" for one that OTP has to evaluate.
defmodule Options do
  @cases 4_000
  @broken 4

  @names ~w(certfile cacertfile keyfile verify verify_peer depth server client a b@c_D 'quoted \\'one' '' 'é' größe
            certs_keys password versions 'tlsv1.3' undefined true)
  # =>:,;.|+-/*"'\\$%&?!^_@ 0179axefnuABXZé日) <> "\n\t\x01\x7f\u00a0\u0085×÷ß\u3000"
  @letters "[]{}()<>#=>:,;.|+-/*\"'\\$%&?!^_@ 0179axefnuABXZé日\n\t\x01\x7f\u00a0\u0085×÷ß\u3000"
  @tokens [
            "fun a:b/1",
            "fun 'A':b/255",
            "fun a:b/256",
            "fun",
            "end",
            "maybe_not",
            "X",
            "_",
            "=>",
            ":=",
            "||",
            "++",
            "--"
          ] ++
            [
              "1 + 2",
              "f()",
              "16#",
              "1.e",
              "1.5e",
              "1_0",
              "1__0",
              "\\x",
              "\\x{",
              "\\^",
              "%",
              "..",
              ". ",
              "#a{}",
              "[].",
              "<<",
              ">>"
            ]

  def run(file) do
    :rand.seed(:exsss, {1, 2, 3})

    File.open!(file, [:write, :raw, :delayed_write], fn file ->
      for _ <- 1..@cases do
        text =
          IO.iodata_to_binary([space(), term(4), space(), ".", Enum.random(["", "\n", " % end"])])

        for text <- [text | for(_ <- 1..@broken, do: broken(text))], not version?(text) do
          IO.binwrite(file, Enum.map([text, verdict(text)], &[<<byte_size(&1)::32>>, &1]))
        end
      end
    end)
  end

  # OTP 27 reads `"a""b"` and `"""` in another way.
  defp version?(text), do: String.contains?(text, ["\"\"", "~", "maybe", "else"])

  defp broken(text) do
    {before, rest} =
      text |> String.codepoints() |> Enum.split(:rand.uniform(String.length(text)) - 1)

    changed =
      case :rand.uniform(6) do
        1 -> tl(rest)
        2 -> [letter() | tl(rest)]
        3 -> [letter() | rest]
        4 -> [hd(rest) | rest]
        5 -> []
        6 -> [Enum.random(@tokens) | rest]
      end

    IO.iodata_to_binary([before | changed])
  end

  defp letter, do: @letters |> String.codepoints() |> Enum.random()

  defp term(0), do: leaf()

  defp term(depth) do
    case :rand.uniform(9) do
      1 ->
        ["[", items(depth), "]"]

      2 ->
        ["[", items(depth), "|", space(), term(depth - 1), "]"]

      3 ->
        ["{", items(depth), "}"]

      4 ->
        ["{", name(), ",", space(), string(), "}"]

      5 ->
        ["{", name(), space(), ", [", items(depth), "]}"]

      6 ->
        [
          "#",
          Enum.random(["", "", " "]),
          "{",
          joined(fn -> [term(depth - 1), " =>", term(depth - 1)] end),
          "}"
        ]

      7 ->
        Enum.random(["[]", "{}", "#{}", "[ ]", "<<>>", "<< >>"])

      _ ->
        leaf()
    end
  end

  defp items(depth), do: joined(fn -> term(depth - 1) end)

  defp joined(item),
    do:
      1..:rand.uniform(3)
      |> Enum.map(fn _ -> [space(), item.(), space()] end)
      |> Enum.intersperse(",")

  defp leaf do
    case :rand.uniform(8) do
      1 -> number()
      2 -> ["$", character()]
      3 -> Enum.random(["fun ssl:check/3", "fun 'A':'b c'/12", "fun\na : b / 0"])
      4 -> ["<<", joined(&segment/0), ">>"]
      5 -> Enum.intersperse([string(), string()], Enum.random([" ", "\n", "%\"\n"]))
      6 -> string()
      _ -> name()
    end
  end

  defp segment do
    case :rand.uniform(6) do
      1 ->
        number()

      2 ->
        ["$", character()]

      3 ->
        [string(), "/utf8"]

      4 ->
        Enum.random([
          "1:4",
          "2/little-integer",
          "3:2/unit:8",
          "1.5/float",
          "\"a\"/utf16-little",
          "<<1>>/binary"
        ])

      _ ->
        string()
    end
  end

  defp number do
    Enum.random(
      ~w(0 7 -1 +12 1_000 16#fF 36#zZ_9 2#0101 1.0 -0.5 1_0.2_5e-1_0 1.0E+3 2.5e308 1.5e309 1#0 37#1 2#2 9#8 -$a) ++
        ["- 1"]
    )
  end

  defp string, do: ["\"", for(_ <- 1..:rand.uniform(6), do: character("\"")), "\""]

  defp character(quote \\ nil) do
    case :rand.uniform(10) do
      1 ->
        [
          "\\",
          Enum.random(~w(n r t v b f e s d " ' \\ % q é ^A ^? ^ 0 12 177 377 777 8) ++ ["\n"])
        ]

      2 ->
        [
          "\\x",
          Enum.random(~w(41 e9 {41} {0000e9} {1F600} {10ffff} {110000} {d800} {fffe} 4 {} {41))
        ]

      3 ->
        Enum.random(~w(é 日 % ' / . [) ++ [" ", "\n", if(quote, do: "x", else: "\"")])

      _ ->
        Enum.random(~w(/ a b c . - _ 0 Z))
    end
  end

  defp name, do: Enum.random(@names)

  defp space, do: Enum.random(["", "", "", "", " ", "\n", "\t ", "% ]\"'\n", "\u00a0"])

  # As ssl_dist_sup does, but for the evaluation.
  defp verdict(text) do
    with {:ok, tokens, _end} <- :erl_scan.string(String.to_charlist(text)),
         {:ok, [form]} <- :erl_parse.parse_exprs(tokens) do
      _term = :erl_parse.normalise(form)
      form |> written() |> IO.iodata_to_binary()
    else
      _error -> "refused"
    end
  rescue
    _no_term -> "expression"
  catch
    _no_term -> "expression"
  end

  defp written({:atom, _, name}), do: text("atom", Atom.to_string(name))
  defp written({:string, _, letters}), do: text("text", List.to_string(letters))
  defp written({:tuple, _, items}), do: ["tuple #{length(items)} ", Enum.map(items, &written/1)]
  defp written({:bin, _, segments}), do: segments |> Enum.map(&letters/1) |> binary()

  defp written({:map, _, pairs}) do
    pairs = for {:map_field_assoc, _, key, value} <- pairs, do: [written(key), written(value)]
    ["map #{length(pairs)} ", pairs]
  end

  defp written(list) when elem(list, 0) in [nil, :cons] do
    items = items_of(list)
    ["list #{length(items)} ", Enum.map(items, &written/1)]
  end

  defp written(_number_or_fun), do: "other "

  defp items_of({nil, _}), do: []
  defp items_of({:cons, _, head, tail}), do: [head | items_of(tail)]
  defp items_of(tail), do: [tail]

  # The native reader takes a string for UTF-8 with and without that type: OTP cuts off what is above a byte.
  defp letters({:bin_element, _, {:string, _, letters}, :default, types})
       when types in [:default, [:utf8]],
       do: letters

  defp letters(_other), do: nil

  defp binary(segments) do
    if Enum.all?(segments), do: text("text", List.to_string(segments)), else: "other "
  end

  defp text(kind, text), do: "#{kind} #{byte_size(text)} #{text}"
end

[file] = System.argv()
Options.run(file)
