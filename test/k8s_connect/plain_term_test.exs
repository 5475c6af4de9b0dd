defmodule K8sConnect.PlainTermTest do
  use ExUnit.Case, async: true

  import K8sConnect.PlainTerm

  test "data is plain" do
    for term <- [
          nil,
          :atom,
          "text",
          <<1::3>>,
          -1,
          0xFFFF_FFFF_FFFF_FFFF,
          1.5,
          self(),
          make_ref(),
          [],
          [1, [2, {3, %{a: [%{}]}}]],
          {},
          %{{1, 2} => 'text'}
        ],
        do: assert(plain?(term), inspect(term))
  end

  test "what calls a function, or takes minutes to print, is not" do
    for term <- [
          fn -> 1 end,
          &:os.cmd/1,
          ~D[2026-01-01],
          %{__struct__: :lists},
          {:__struct__, :lists},
          [1 | 2],
          [1 | %{}],
          Bitwise.bsl(1, 64),
          -Bitwise.bsl(1, 64)
        ],
        hostile <- [term, [term], {1, term}, %{a: term}, %{term => 1}, [1, {%{a: [term]}}]],
        do: refute(plain?(hostile), inspect(hostile))
  end

  test "a large term is shown as its size, and a struct without its module" do
    assert K8sConnect.PlainTerm.show(%{__struct__: Date, year: 1}) =~ "__struct__: Date"
    assert K8sConnect.PlainTerm.show(Bitwise.bsl(1, 4_000_000)) =~ ~r/^a term of 500\d\d\d bytes$/
  end
end
