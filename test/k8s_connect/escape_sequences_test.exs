defmodule K8sConnect.EscapeSequencesTest do
  use ExUnit.Case, async: true

  alias K8sConnect.EscapeSequences

  import EscapeSequences, only: [format: 2, write: 1]

  defp strip(text), do: text |> EscapeSequences.strip() |> binary()

  defp binary(text) do
    case is_list(text) and :unicode.characters_to_binary(text) do
      binary when is_binary(binary) -> binary
      _no_text -> text
    end
  end

  test "text and colours stay" do
    assert EscapeSequences.strip("50 %\r100 %\r\n") == ~c"50 %100 %\r\n"

    for text <- ["", "plain\tüber\r\n", "\e[1;31mred\e[0m", "\e[m", "\e[38:5:1mx", "日本 👍"],
        do: assert(strip(text) == text)
  end

  test "sequences that act on the terminal are removed" do
    for {text, kept} <- [
          {"a\e]0;title\ab", "ab"},
          {"a\e]52;c;aGk=\e\\b", "ab"},
          {"a\u009D52;c;aGk=\u009Cb", "ab"},
          {"a\ePq#0\e\\b", "ab"},
          {"a\e_x\e\\b\e^y\e\\c\eXz\e\\d", "abcd"},
          {"a\e[2J\e[H\e[3;4Hb", "ab"},
          {"a\u009B2Jb", "ab"},
          {"a\e[?1049hb", "ab"},
          {"a\e[>4;2mb", "ab"},
          {"a\e[1 mb", "ab"},
          {"a\ecb\e7c\e(0d", "abcd"},
          {"a\b\b\0\vb", "ab"},
          {"\e[31mred\e[2K", "\e[31mred"},
          # What has no end
          {"a\e]0;title", "a"},
          {"a\e[12", "a"},
          {"a\e", "a"},
          {"a\e[\nb", "a\nb"}
        ],
        do: assert(strip(text) == kept, inspect(text))
  end

  test "nothing that was removed comes back together" do
    assert strip("\e\e]0;x\a]0;title\a") =~ ~r/\A[^\e]*\z/
    assert strip("\e[\e[2J2J") =~ ~r/\A[^\e]*\z/
  end

  test "chardata of any form is text" do
    assert strip([~c"a", ["\e]0;", [?x], "\a"], ?ü]) == "aü"
    assert strip(<<"a", 0xFC, 0x9B, "2Jb">>) == "aüb"
    assert EscapeSequences.text(:latin1, [0xFC, <<0xFC>>]) == [0xFC, <<0xFC>>]
    assert EscapeSequences.text(:latin1, [0xFC, <<0xFC>>, "\e[2J"]) == [0xFC, 0xFC]
    assert EscapeSequences.text(:latin1, "ü\e[2J") == [0xC3, 0xBC]
    assert strip(:prompt) == :prompt
    assert EscapeSequences.strip([:no_text]) == [:no_text]
  end

  test "text that is not UTF-8 becomes text" do
    for text <- [
          <<0xE9, "a\n">>,
          [<<0xE9>>, "a\n"],
          <<"a", 0xE2, 0x82>>,
          <<0xFF, 0xFE>>,
          [<<0xE9>>, 8364]
        ] do
      printed = EscapeSequences.text(:unicode, text)
      assert is_binary(:unicode.characters_to_binary(printed)), inspect(text)
      assert is_list(printed) or String.valid?(printed), inspect(text)
    end

    assert EscapeSequences.text(:unicode, <<0xE9, "a">>) == "éa"
    assert EscapeSequences.text(:unicode, <<0xE9, "\e[2Ja">>) == ~c"éa"
  end

  test "each byte is read once" do
    for part <- ["a\e", "\e[", "\e[1;2", "\e[31m", "\e]", "\r", "\e\e[1 "] do
      reductions = fn count ->
        text = String.duplicate(part, count)
        {:reductions, before} = Process.info(self(), :reductions)
        EscapeSequences.text(:unicode, text)
        {:reductions, later} = Process.info(self(), :reductions)
        later - before
      end

      reductions.(1000)
      assert reductions.(40_000) < 20 * reductions.(4000), inspect(part)
    end
  end

  test "what is formatted is text" do
    assert format(~c"~ts and ~c~n", ["\e]0;x\a", 27]) == ~c" and \n"
    assert binary(format(~c"~p", [[27, :a]])) == "[27,a]"
    assert binary(write("\e")) == "<<27>>"
  end
end
