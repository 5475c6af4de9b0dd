# The messages that processes of OTP and Elixir handle by a tag, read from the code of their modules: the patterns of
# `receive`, of `handle_info`, and of the functions and `case` that a received message is given to. A message that a
# function passes on within another term is not followed.
#
# Each is a shape: the tags of a pattern, and `:_` for all else. If the first element is a tag, only the size counts
# beside it: `{:file_request, :_, :_, :_}`. If not, the tags behind it count: `{:_, :close}`, `{:_, {:open, :_, :_}}`.
defmodule Handled do
  @erlang ["erts", "kernel", "stdlib"]
  @elixir ["elixir", "iex", "logger", "mix"]

  @doc """
  Each shape with the modules that handle it.
  """
  def shapes(beams \\ beams()) do
    pairs = for beam <- beams, shape <- beam |> forms() |> handled(), do: {shape, module(beam)}
    Enum.group_by(Enum.uniq(pairs), &elem(&1, 0), &elem(&1, 1))
  end

  defp beams do
    elixir = Path.dirname(to_string(:code.lib_dir(:elixir)))

    Enum.flat_map(@erlang, &Path.wildcard("#{:code.root_dir()}/lib/#{&1}-*/ebin/*.beam")) ++
      Enum.flat_map(@elixir, &Path.wildcard("#{elixir}/#{&1}/ebin/*.beam"))
  end

  defp module(beam), do: beam |> Path.basename(".beam") |> String.to_atom()

  defp forms(beam) do
    {:ok, {module, [debug_info: {:debug_info_v1, backend, data}]}} =
      :beam_lib.chunks(to_charlist(beam), [:debug_info])

    # A few modules of Elixir's bootstrap have none.
    case data != :none and backend.debug_info(:erlang_v1, module, data, []) do
      {:ok, forms} -> forms
      _none -> []
    end
  end

  defp handled(forms) do
    functions =
      for {:function, _, name, arity, clauses} <- forms, into: %{}, do: {{name, arity}, clauses}

    state = %{functions: functions, seen: MapSet.new(), shapes: MapSet.new()}
    state = Enum.reduce(Map.values(functions), state, &received/2)
    whole = fn shape -> shape end
    state = argument({:handle_info, 2}, 0, whole, state)
    # Of `gen_statem`
    clauses = for {_function, clauses} <- functions, clause <- clauses, do: clause

    clauses
    |> Enum.reduce(state, fn
      {:clause, _, [{:atom, _, :info}, message | _], _, body}, state ->
        matched(message, body, whole, state)

      _other, state ->
        state
    end)
    |> Map.fetch!(:shapes)
  end

  # Each `receive` in this code, and what is done with the message that it returns
  defp received([{:match, _, {:var, _, name}, value} = first | rest], state) do
    state = received(first, state)
    state = if message?(value, state), do: given(name, rest, & &1, state), else: state
    received(rest, state)
  end

  defp received([first | rest], state), do: received(rest, received(first, state))

  defp received({:receive, _, clauses} = code, state),
    do: received(Tuple.to_list(code), clauses(clauses, & &1, state))

  defp received({:receive, _, clauses, _after, _body} = code, state),
    do: received(Tuple.to_list(code), clauses(clauses, & &1, state))

  defp received({:case, _, value, clauses} = code, state) do
    state = if message?(value, state), do: clauses(clauses, & &1, state), else: state
    received(Tuple.to_list(code), state)
  end

  defp received({:call, _, {:atom, _, function}, arguments} = code, state) do
    arguments
    |> Enum.with_index()
    |> Enum.filter(fn {argument, _at} -> message?(argument, state) end)
    |> Enum.reduce(received(Tuple.to_list(code), state), fn {_argument, at}, state ->
      argument({function, length(arguments)}, at, & &1, state)
    end)
  end

  defp received(code, state) when is_tuple(code), do: received(Tuple.to_list(code), state)
  defp received(_other, state), do: state

  defp message?({:call, _, {:atom, _, function}, arguments}, state) do
    for {:clause, _, _, _, body} <- Map.get(state.functions, {function, length(arguments)}, []),
        last = List.last(body),
        reduce: false,
        do: (found -> found or receives?(last))
  end

  defp message?(value, _state), do: receives?(value)

  defp receives?(code) do
    is_tuple(code) and elem(code, 0) == :receive and
      Enum.any?(elem(code, 2), &match?({:clause, _, [{:var, _, name}], _, [{:var, _, name}]}, &1))
  end

  defp clauses(clauses, context, state) do
    Enum.reduce(clauses, state, fn {:clause, _, [pattern], _, body}, state ->
      matched(pattern, body, context, state)
    end)
  end

  # A message, or a part of it, is matched with a pattern before this code. `context` makes the whole message of it.
  defp matched({:match, _, first, second}, body, context, state),
    do: matched(first, body, context, matched(second, body, context, state))

  defp matched({:var, _, :_}, _body, _context, state), do: state
  defp matched({:var, _, name}, body, context, state), do: given(name, body, context, state)

  defp matched({:tuple, _, elements} = pattern, body, context, state) do
    shapes = Enum.map(elements, &shape/1)
    state = put(context.(shape(pattern)), state)

    # What is behind a first element may be matched later.
    if match?([:_ | _], shapes) and context.(:_) == :_ do
      elements
      |> Enum.with_index()
      |> Enum.reduce(state, fn
        {{:var, _, _} = variable, at}, state when at in [1, 2] ->
          matched(variable, body, &List.to_tuple(List.replace_at(shapes, at, &1)), state)

        _other, state ->
          state
      end)
    else
      state
    end
  end

  defp matched(pattern, _body, context, state), do: put(context.(shape(pattern)), state)

  # A variable of this code has a message or a part of it.
  defp given(name, {:case, _, {:var, _, name}, clauses}, context, state),
    do: given(name, clauses, context, clauses(clauses, context, state))

  defp given(name, {:match, _, pattern, {:var, _, name}}, context, state),
    do: matched(pattern, [], context, state)

  defp given(name, {:call, _, {:atom, _, function}, arguments}, context, state) do
    arguments
    |> Enum.with_index()
    |> Enum.reduce(given(name, arguments, context, state), fn
      {{:var, _, ^name}, at}, state ->
        argument({function, length(arguments)}, at, context, state)

      _other, state ->
        state
    end)
  end

  defp given(name, code, context, state) when is_tuple(code),
    do: given(name, Tuple.to_list(code), context, state)

  defp given(name, [first | rest], context, state),
    do: given(name, rest, context, given(name, first, context, state))

  defp given(_name, _other, _context, state), do: state

  defp argument(function, at, context, state) do
    key = {function, at, context.(:_)}

    if key in state.seen do
      state
    else
      state = %{state | seen: MapSet.put(state.seen, key)}

      state.functions
      |> Map.get(function, [])
      |> Enum.reduce(state, fn {:clause, _, arguments, _, body}, state ->
        matched(Enum.at(arguments, at), body, context, state)
      end)
    end
  end

  defp shape({:atom, _, atom}), do: atom
  defp shape({:match, _, first, second}), do: with(:_ <- shape(first), do: shape(second))

  defp shape({:tuple, _, elements}) do
    case Enum.map(elements, &shape/1) do
      [tag | rest] when is_atom(tag) and tag != :_ ->
        List.to_tuple([tag | Enum.map(rest, fn _ -> :_ end)])

      shapes ->
        shapes |> Enum.map(&tagged/1) |> List.to_tuple()
    end
  end

  defp shape(_other), do: :_

  defp tagged(shape) when is_tuple(shape) and elem(shape, 0) == :_, do: :_
  defp tagged(shape), do: shape

  defp put(shape, state) do
    if tagless?(shape), do: state, else: %{state | shapes: MapSet.put(state.shapes, shape)}
  end

  defp tagless?(shape) when is_tuple(shape), do: Enum.all?(Tuple.to_list(shape), &(&1 == :_))
  defp tagless?(shape), do: shape == :_

  @doc """
  Messages of this shape: with processes of the pod, with processes of this node, and with references for all else.
  """
  def instances(shape) do
    for term <- [pid("app@10.0.0.1"), pid("laptop@127.0.0.1"), reference()], do: fill(shape, term)
  end

  defp fill(:_, term), do: term

  defp fill(shape, term) when is_tuple(shape),
    do: shape |> Tuple.to_list() |> Enum.map(&fill(&1, term)) |> List.to_tuple()

  defp fill(tag, _term), do: tag

  defp pid(node),
    do:
      :erlang.binary_to_term(<<131, ?X, 119, byte_size(node), node::binary, 1::32, 0::32, 7::32>>)

  defp reference,
    do: :erlang.binary_to_term(<<131, ?Z, 3::16, 119, 12, "app@10.0.0.1", 7::32, 0::64, 1::32>>)

  @doc """
  Whether a message is one of this shape.
  """
  def matches?(_message, :_), do: true
  def matches?(message, :no_pid), do: not is_pid(message) and not is_port(message)
  def matches?(message, :no_reference), do: not is_reference(message)

  def matches?(message, shape) when is_tuple(shape) do
    is_tuple(message) and tuple_size(message) == tuple_size(shape) and
      Enum.all?(Enum.zip(Tuple.to_list(message), Tuple.to_list(shape)), fn {term, shape} ->
        matches?(term, shape)
      end)
  end

  def matches?(message, shape), do: message === shape
end
