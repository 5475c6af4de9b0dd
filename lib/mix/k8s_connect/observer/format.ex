defmodule Mix.K8sConnect.Observer.Format do
  @moduledoc false
  # Numbers and columns.

  @doc """
  A text of exactly or at most so many columns; what is cut ends with an ellipsis.
  """
  @spec cut(String.t(), non_neg_integer()) :: String.t()
  def cut(text, columns) do
    if String.length(text) <= columns,
      do: text,
      else: String.slice(text, 0, max(columns - 1, 0)) <> if(columns > 0, do: "…", else: "")
  end

  @spec left(String.t(), non_neg_integer()) :: String.t()
  def left(text, columns), do: text |> cut(columns) |> String.pad_trailing(columns)

  @spec right(String.t(), non_neg_integer()) :: String.t()
  def right(text, columns), do: text |> cut(columns) |> String.pad_leading(columns)

  @doc """
  `1.5 MB`
  """
  @spec bytes(non_neg_integer()) :: String.t()
  def bytes(bytes) when bytes < 1000, do: "#{bytes} B"
  def bytes(bytes), do: scaled(bytes / 1000, ~w(kB MB GB TB PB EB))

  defp scaled(value, [unit | [_ | _] = larger]) do
    if value < 999.95, do: "#{tenths(value)} #{unit}", else: scaled(value / 1000, larger)
  end

  defp scaled(value, [unit]), do: "#{tenths(value)} #{unit}"

  @spec tenths(float()) :: String.t()
  def tenths(value), do: :erlang.float_to_binary(value * 1.0, decimals: 1)

  @doc """
  `12 345`
  """
  @spec number(non_neg_integer()) :: String.t()
  def number(number) do
    number |> Integer.to_string() |> String.replace(~r/\B(?=(\d{3})+\z)/, " ")
  end

  @doc """
  `3d 04:05:06`
  """
  @spec duration(non_neg_integer()) :: String.t()
  def duration(ms) do
    seconds = div(ms, 1000)
    days = div(seconds, 86_400)

    clock =
      [div(rem(seconds, 86_400), 3600), div(rem(seconds, 3600), 60), rem(seconds, 60)]
      |> Enum.map_join(":", &String.pad_leading("#{&1}", 2, "0"))

    if days > 0, do: "#{days}d #{clock}", else: clock
  end
end
