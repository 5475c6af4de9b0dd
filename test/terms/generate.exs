# usage: elixir test/terms/generate.exs FILE
#
# Random terms in the external format, and broken ones, with what this OTP makes of them. A test of
# native/core/src/endpoint/guard/term compares. Each case:
#
#   intact (1), bytes (32 + n), decoded (1), used bytes (32), shape (16 + n), number of names (16), each name (16 + n)
#
# The names are the atoms of the decoded term, and the nodes of its identifiers. The shape is that of the first levels, as
# text: t2(a,x) for a tuple of an atom and a number, l(a) for a list that begins with an atom, n for the empty list.
defmodule Generate do
  import Bitwise

  @cases 10_000
  @broken 4

  def run(file) do
    :rand.seed(:exsss, {1, 2, 3})

    File.open!(file, [:write, :raw, :delayed_write], fn file ->
      for _ <- 1..@cases do
        bytes = :erlang.term_to_binary(term(3), minor_version: Enum.random(1..2))
        IO.binwrite(file, encoded(1, bytes))
        for _ <- 1..@broken, do: IO.binwrite(file, encoded(0, broken(bytes)))
      end
    end)
  end

  defp encoded(intact, bytes) do
    {decoded, used, shape, names} =
      try do
        {term, used} = :erlang.binary_to_term(bytes, [:used])
        {1, used, shape(term, 2), term |> names() |> Enum.uniq()}
      rescue
        ArgumentError -> {0, 0, "", []}
      end

    names = for name <- names, do: [<<byte_size(name)::16>>, name]
    shape = [<<decoded, used::32, byte_size(shape)::16>>, shape]
    [<<intact, byte_size(bytes)::32>>, bytes, shape, <<length(names)::16>>, names]
  end

  defp shape([], _depth), do: "n"
  defp shape(term, _depth) when is_atom(term), do: "a"
  defp shape(term, 0) when is_list(term), do: "l"
  defp shape([head | _tail], depth), do: "l(#{shape(head, depth - 1)})"
  defp shape(term, 0) when is_tuple(term), do: "t#{tuple_size(term)}"

  defp shape(term, depth) when is_tuple(term) do
    parts = term |> Tuple.to_list() |> Enum.map_join(",", &shape(&1, depth - 1))
    "t#{tuple_size(term)}(#{parts})"
  end

  defp shape(_other, _depth), do: "x"

  # Bytes that are changed, removed or added. A compressed term is not for a reader of messages.
  defp broken(<<131, rest::binary>> = bytes) do
    at = :rand.uniform(byte_size(rest)) - 1
    <<before::binary-size(at), byte, others::binary>> = rest

    changed =
      case :rand.uniform(5) do
        1 ->
          <<before::binary, :rand.uniform(256) - 1, others::binary>>

        2 ->
          <<before::binary, bxor(byte, 1 <<< (:rand.uniform(8) - 1)), others::binary>>

        3 ->
          <<before::binary, others::binary>>

        4 ->
          <<before::binary, Enum.random([byte, 0, 97, 104, 106, 108, 112]), byte, others::binary>>

        # Headers of lists and tuples that have no or few elements
        5 ->
          <<before::binary, Enum.random([108, 105]), :rand.uniform(3) - 1::32, byte,
            others::binary>>
      end

    if match?(<<80, _::binary>>, changed), do: bytes, else: <<131, changed::binary>>
  end

  defp term(0), do: leaf()

  defp term(depth) do
    case :rand.uniform(12) do
      1 -> list(depth)
      2 -> list(depth) ++ term(depth - 1)
      3 -> depth |> list() |> List.to_tuple()
      4 -> Tuple.duplicate(term(0), Enum.random([0, 1, 1, 1, 300]))
      5 -> for _ <- 1..3, into: %{}, do: {term(depth - 1), term(depth - 1)}
      6 -> closure(term(depth - 1), term(depth - 1))
      _ -> leaf()
    end
  end

  defp list(depth), do: for(_ <- 1..:rand.uniform(4), do: term(depth - 1))

  defp closure(one, other), do: fn -> {one, other} end

  defp leaf do
    case :rand.uniform(16) do
      1 -> :rand.uniform(256) - 1
      2 -> -:rand.uniform(1 <<< 31)
      3 -> :rand.uniform(1 <<< 60)
      4 -> -(1 <<< (8 * :rand.uniform(300)))
      5 -> :rand.normal()
      6 -> Enum.random([:a, :ok, :"", :ü, :日本, :"with space", true, nil])
      7 -> :rand.bytes(:rand.uniform(50) - 1)
      8 -> <<:rand.uniform(1 <<< 13)::13>>
      9 -> Enum.map(1..:rand.uniform(20), fn _ -> :rand.uniform(256) - 1 end)
      10 -> []
      11 -> self()
      12 -> make_ref()
      13 -> hd(Port.list())
      14 -> &:erlang.node/0
      15 -> of_another_node(<<88>>, 12)
      16 -> of_another_node(<<90, 0, 3>>, 16)
    end
  end

  defp of_another_node(head, size),
    do:
      :erlang.binary_to_term(
        <<131, head::binary, 119, 3, "a@b", 0, :rand.bytes(size - 1)::binary>>
      )

  defp names(term) when is_atom(term), do: [Atom.to_string(term)]
  defp names([head | tail]), do: names(head) ++ names(tail)
  defp names(term) when is_tuple(term), do: term |> Tuple.to_list() |> names()
  defp names(term) when is_map(term), do: term |> :maps.to_list() |> names()

  defp names(term) when is_pid(term) or is_reference(term) or is_port(term),
    do: term |> node() |> names()

  defp names(term) when is_function(term) do
    {:module, module} = :erlang.fun_info(term, :module)

    case :erlang.fun_info(term, :type) do
      {:type, :external} -> names(module)
      {:type, :local} -> names(module) ++ (term |> :erlang.fun_info(:env) |> elem(1) |> names())
    end
  end

  defp names(_number_or_binary), do: []
end

[file] = System.argv()
Generate.run(file)
