defmodule Mix.K8sConnect.Table do
  @moduledoc false
  # Tables as kubectl prints them: aligned columns, three spaces between them.

  alias K8sConnect.Error

  # East Asian wide and fullwidth characters, and emoji: two columns on a terminal.
  # https://www.unicode.org/reports/tr11/
  @wide [
    0x1100..0x115F,
    0x2E80..0x303E,
    0x3041..0xA4CF,
    0xAC00..0xD7A3,
    0xF900..0xFAFF,
    0xFE30..0xFE6F,
    0xFF00..0xFF60,
    0xFFE0..0xFFE6,
    0x1F300..0x1F64F,
    0x1F900..0x1F9FF,
    0x20000..0x3FFFD
  ]
  # Zero width space to right-to-left mark, and the byte order mark
  @invisible [0x200B..0x200F, 0xFEFF..0xFEFF]

  @doc """
  The lines of a table whose first row is the header. Cells are printed without control characters.
  """
  @spec lines([[String.t(), ...], ...]) :: [String.t()]
  def lines(rows) do
    rows = for row <- rows, do: Enum.map(row, &cell/1)
    widths = rows |> Enum.zip_with(fn column -> column |> Enum.map(&width/1) |> Enum.max() end)
    Enum.map(rows, &line(&1, widths))
  end

  defp cell(text), do: text |> Error.printable() |> String.replace(~r/[\t\n]/, " ")

  defp line(row, widths) do
    row
    |> Enum.zip_with(widths, &(&1 <> String.duplicate(" ", &2 - width(&1))))
    |> Enum.join("   ")
    |> String.trim_trailing()
  end

  @doc """
  How many columns of a terminal a text takes.
  """
  @spec width(String.t()) :: non_neg_integer()
  def width(text), do: text |> String.graphemes() |> Enum.reduce(0, &(columns(&1) + &2))

  # Combining characters belong to the grapheme of the first one.
  defp columns(<<char::utf8, _combining::binary>>) do
    cond do
      Enum.any?(@invisible, &(char in &1)) -> 0
      Enum.any?(@wide, &(char in &1)) -> 2
      true -> 1
    end
  end

  @doc """
  A duration in seconds as kubectl's column AGE has it: `5m`, `2d3h`. From `HumanDuration` of apimachinery:
  https://github.com/kubernetes/apimachinery/blob/master/pkg/util/duration/duration.go
  """
  @spec age(integer()) :: String.t()
  def age(seconds) do
    {minutes, hours, days} = {div(seconds, 60), div(seconds, 3600), div(seconds, 86_400)}

    cond do
      seconds < -1 -> "<invalid>"
      seconds < 0 -> "0s"
      seconds < 120 -> "#{seconds}s"
      minutes < 10 -> two(minutes, "m", rem(seconds, 60), "s")
      minutes < 180 -> "#{minutes}m"
      hours < 8 -> two(hours, "h", rem(minutes, 60), "m")
      hours < 48 -> "#{hours}h"
      days < 8 -> two(days, "d", rem(hours, 24), "h")
      days < 730 -> "#{days}d"
      days < 2920 -> two(div(days, 365), "y", rem(days, 365), "d")
      true -> "#{div(days, 365)}y"
    end
  end

  defp two(large, unit, 0, _smaller), do: "#{large}#{unit}"
  defp two(large, unit, small, smaller), do: "#{large}#{unit}#{small}#{smaller}"
end
