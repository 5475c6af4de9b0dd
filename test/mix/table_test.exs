defmodule Mix.K8sConnect.TableTest do
  use ExUnit.Case, async: true

  alias Mix.K8sConnect.Table

  test "columns are aligned by display width, and no line ends with spaces" do
    assert Table.lines([["NAME", "AGE"], ["app-0", "5m"], ["日本", "1d"], ["e\u0301", ""]]) ==
             ["NAME    AGE", "app-0   5m", "日本    1d", "e\u0301"]
  end

  test "cells have no control characters" do
    assert Table.lines([["a\e[2Jb\n\tc\u009B1m", "x"]]) == ["ab  c1m   x"]
    assert Table.lines([["a\xffb", "x"]]) == ["a\uFFFDb   x"]
  end

  test "the width of text" do
    for {text, width} <- [{"", 0}, {"abc", 3}, {"日本", 4}, {"e\u0301", 1}, {"a\u200Bb", 2}],
        do: assert(Table.width(text) == width)
  end

  # The cases of kubectl's tests: TestHumanDuration
  test "ages are those of kubectl" do
    {minute, hour, day} = {60, 3600, 86_400}

    for {seconds, text} <- [
          {-2, "<invalid>"},
          {-1, "0s"},
          {0, "0s"},
          {1, "1s"},
          {70, "70s"},
          {119, "119s"},
          {190, "3m10s"},
          {5 * minute, "5m"},
          {70 * minute, "70m"},
          {179 * minute, "179m"},
          {3 * hour, "3h"},
          {4 * hour + 17 * minute, "4h17m"},
          {47 * hour, "47h"},
          {2 * day, "2d"},
          {2 * day + 3 * hour, "2d3h"},
          {8 * day, "8d"},
          {47 * day, "47d"},
          {729 * day, "729d"},
          {2 * 365 * day, "2y"},
          {(2 * 365 + 15) * day, "2y15d"},
          {8 * 365 * day, "8y"},
          {(8 * 365 + 15) * day, "8y"}
        ],
        do: assert({seconds, Table.age(seconds)} == {seconds, text})
  end
end
