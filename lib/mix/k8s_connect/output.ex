defmodule Mix.K8sConnect.Output do
  @moduledoc false
  # What the commands print: people read standard error, programs read standard output.

  alias K8sConnect.{Connection, JSON}

  @doc """
  Prints an object to standard output.
  """
  @spec print(map()) :: :ok
  def print(object), do: object |> JSON.encode() |> IO.puts()

  @doc """
  Prints a line to standard error.
  """
  @spec say(String.t()) :: :ok
  def say(text), do: IO.puts(:stderr, text)

  @doc """
  A connection as JSON.
  """
  @spec object(Connection.t()) :: map()
  def object(connection), do: connection |> Map.from_struct() |> Map.delete(:session)
end
