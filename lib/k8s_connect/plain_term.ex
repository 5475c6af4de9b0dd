defmodule K8sConnect.PlainTerm do
  @moduledoc false
  # What a pod's node answers is used only if it is plain data: `Enum` calls a function or a stream that it gets in place
  # of a list, `Access` and protocols call the module that a struct names, and a number of a million digits takes
  # minutes to print. The guard lets all of these pass in answers.

  # Bytes in the external term format
  @max_shown 64 * 1024

  @doc """
  A term as text, or only its size if it is large. No module of a struct is called.
  """
  @spec show(term()) :: String.t()
  def show(term) do
    case :erlang.external_size(term) do
      size when size > @max_shown -> "a term of #{size} bytes"
      _small -> inspect(term, structs: false, limit: 50, printable_limit: 4096)
    end
  end

  @doc """
  Whether a term has no function, no struct and nothing that makes one, no improper list, and no integer above 64 bits.
  """
  @spec plain?(term()) :: boolean()
  def plain?([head | tail]) when is_list(tail), do: plain?(head) and plain?(tail)
  def plain?([_head | _improper]), do: false
  def plain?(tuple) when is_tuple(tuple), do: tuple |> Tuple.to_list() |> plain?()
  def plain?(map) when is_map(map), do: map |> :maps.to_list() |> plain?()
  def plain?(:__struct__), do: false
  def plain?(integer) when is_integer(integer), do: abs(integer) < 0x1_0000_0000_0000_0000
  def plain?(other), do: not is_function(other)
end
