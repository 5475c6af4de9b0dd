defmodule Mix.K8sConnect.Output do
  @moduledoc false
  # What the commands print: people read standard error, programs read standard output.

  alias K8sConnect.{Connection, Error, JSON}

  @doc """
  Prints an object to standard output.
  """
  @spec print(map()) :: :ok
  def print(object), do: object |> JSON.encode() |> IO.puts()

  @doc """
  Prints lines to standard error, without control characters: names and messages come from the API server.
  """
  @spec say(String.t()) :: :ok
  def say(text), do: IO.puts(:stderr, Error.printable(text))

  @doc """
  A connection as JSON.
  """
  @spec object(Connection.t()) :: map()
  def object(connection), do: connection |> Map.from_struct() |> Map.delete(:session)
end
