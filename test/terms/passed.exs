# usage: elixir --erl "+t 8000000" test/terms/passed.exs FILE
#
# FILE has what passed the guard of recorded and changed messages. OTP decodes it, and what the guard may never pass is
# said here once more, in terms instead of bytes. What processes of OTP and Elixir handle is read from their code, and
# may pass only if reviewed.exs has it. Each record:
#
#   kind (1: 0 a new connection, 1 to the pod, 2 passed), bytes (32 + n)
Code.require_file("handled.ex", __DIR__)

defmodule Passed do
  @local :"laptop@127.0.0.1"
  @keys [:data, :eof, :activate, :reply, :error, :tty_geometry, :get_unicode_state]
  @options [:binary, :list, :encoding, :echo, :onlcr]

  def run(file) do
    {reviewed, _bindings} = Code.eval_file("reviewed.exs", __DIR__)
    Process.put(:reviewed, reviewed)
    handled = Handled.shapes()
    Process.put(:handled, Enum.group_by(handled, fn {shape, _modules} -> tag(shape) end))
    new = %{given: MapSet.new(), leaders: MapSet.new(), links: MapSet.new()}
    {_state, counts} = file |> File.read!() |> each(new, %{decoded: 0, not_decoded: 0})
    all_pass!(reviewed, handled)

    IO.puts(
      "#{counts.decoded} cases: passed and decoded, #{counts.not_decoded} not decoded by OTP"
    )

    if counts.decoded < 1000, do: raise("too few messages passed")
  end

  defp each(<<>>, state, counts), do: {state, counts}

  defp each(<<kind, size::32, bytes::binary-size(size), rest::binary>>, state, counts) do
    case {kind, decode(bytes)} do
      {0, _none} ->
        empty = MapSet.new()
        each(rest, %{state | given: empty, leaders: empty, links: empty}, counts)

      {1, terms} ->
        each(rest, learn(terms, state), counts)

      {2, nil} ->
        each(rest, state, Map.update!(counts, :not_decoded, &(&1 + 1)))

      {2, [control | payload]} ->
        unless allowed?(control, payload, state) and no_error_info?([control | payload]),
          do: raise("passed: #{inspect({control, payload})}, #{inspect(bytes, limit: :infinity)}")

        each(rest, state, Map.update!(counts, :decoded, &(&1 + 1)))
    end
  end

  # A control term, and for some a payload.
  defp decode(<<112, bytes::binary>>) do
    {control, used} = :erlang.binary_to_term(bytes, [:used])

    case binary_part(bytes, used, byte_size(bytes) - used) do
      "" -> [control]
      payload -> [control, :erlang.binary_to_term(payload)]
    end
  rescue
    ArgumentError -> nil
  end

  defp decode(_tick), do: nil

  # The first element, if it is a tag
  defp tag(term) when is_tuple(term) and term != {} and is_atom(elem(term, 0)), do: elem(term, 0)
  defp tag(term) when is_atom(term), do: term
  defp tag(_term), do: :_

  # What the guard refuses by now needs no review. Another release has other modules and messages.
  defp all_pass!(reviewed, handled) do
    refused =
      for {module, shapes} <- reviewed,
          shape <- shapes,
          not Process.get({:passed, module, shape}, false),
          Enum.any?(handled, fn {handled, modules} ->
            module in modules and
              Enum.any?(Handled.instances(handled), &Handled.matches?(&1, shape))
          end),
          do: {module, shape}

    if refused != [], do: raise("refused, and in reviewed.exs: #{inspect(refused)}")
  end

  defp learn([control | _] = terms, state) do
    state = update_in(state.given, &identifiers(terms, &1))

    case control do
      {29, reference, _from, leader, _mfa, options} ->
        linked = :link in options or List.keymember?(options, :link, 0)
        state = update_in(state.leaders, &MapSet.put(&1, leader))
        if linked, do: update_in(state.links, &MapSet.put(&1, reference)), else: state

      {7, leader, _process} ->
        update_in(state.leaders, &MapSet.put(&1, leader))

      _other ->
        state
    end
  end

  defp identifiers(term, found) when is_pid(term) or is_reference(term),
    do: if(node(term) == @local, do: MapSet.put(found, term), else: found)

  defp identifiers([head | tail], found), do: identifiers(tail, identifiers(head, found))
  defp identifiers(term, found) when is_tuple(term), do: identifiers(Tuple.to_list(term), found)
  defp identifiers(term, found) when is_map(term), do: identifiers(Map.to_list(term), found)

  defp identifiers(term, found) when is_function(term) do
    case :erlang.fun_info(term, :env) do
      {:env, values} when is_list(values) -> identifiers(values, found)
      _none -> found
    end
  end

  defp identifiers(_term, found), do: found

  # Whoever formats an exception calls what it names.
  defp no_error_info?(:error_info), do: false
  defp no_error_info?([head | tail]), do: no_error_info?(head) and no_error_info?(tail)
  defp no_error_info?(term) when is_tuple(term), do: no_error_info?(Tuple.to_list(term))
  defp no_error_info?(term) when is_map(term), do: no_error_info?(Map.to_list(term))

  defp no_error_info?(term) when is_function(term) do
    {:env, values} = :erlang.fun_info(term, :env)
    not is_list(values) or no_error_info?(values)
  end

  defp no_error_info?(_term), do: true

  # Messages
  defp allowed?({operation, _from, to}, [message], state) when operation in [2, 22],
    do: message?(to, message, state)

  defp allowed?({operation, _from, to, []}, [message], state) when operation in [12, 23],
    do: message?(to, message, state)

  defp allowed?({33, _from, to}, [message], state), do: message?(to, message, state)
  defp allowed?({34, _from, to, []}, [message], state), do: message?(to, message, state)

  # The end of a process there, and of a monitor of it
  defp allowed?({3, from, _to, _reason}, [], _state), do: theirs?(from)
  defp allowed?({13, from, _to, [], _reason}, [], _state), do: theirs?(from)
  defp allowed?({24, from, _to}, [_reason], _state), do: theirs?(from)
  defp allowed?({25, from, _to, []}, [_reason], _state), do: theirs?(from)
  defp allowed?({21, from, _to, _reference, _reason}, [], _state), do: theirs?(from)
  defp allowed?({28, from, _to, _reference}, [_reason], _state), do: theirs?(from)

  # Monitors of what was given out
  defp allowed?({19, from, to, _reference}, [], state),
    do: theirs?(from) and is_pid(to) and MapSet.member?(state.given, to)

  defp allowed?({20, from, to, _reference}, [], _state), do: theirs?(from) and is_pid(to)

  # Answers to a spawn, and the end of a link
  defp allowed?({31, request, _to, flags, result}, [], state),
    do: theirs?(result) and (Bitwise.band(flags, 1) == 0 or MapSet.member?(state.links, request))

  defp allowed?({32, request, to, flags, result, []}, [], state),
    do: allowed?({31, request, to, flags, result}, [], state)

  defp allowed?({operation, _id, from, _to}, [], _state) when operation in [35, 36],
    do: theirs?(from)

  defp allowed?(_control, _payload, _state), do: false

  defp theirs?(term), do: not is_pid(term) or node(term) != @local

  defp message?([_ | _] = all, message, state),
    do: Enum.all?(all, &(is_pid(&1) and message?(&1, message, state)))

  # Nobody gets it.
  defp message?([], _message, _state), do: true

  defp message?(to, message, state) do
    MapSet.member?(state.given, to) and (harmless?(message) or answer?(message, state)) and
      (not MapSet.member?(state.leaders, to) or match?({:io_request, _, _, _}, message))
  end

  # To a call of this node, whatever it is
  defp answer?({reference, _answer}, state) when is_reference(reference),
    do: MapSet.member?(state.given, reference)

  defp answer?(_message, _state), do: false

  defp harmless?({:io_request, from, _reply_as, request}),
    do: is_pid(from) and node(from) != @local and request?(request)

  defp harmless?({:log, _, _, _, _}), do: false

  # Of another size
  defp harmless?(message) when elem(message, 0) == :io_request, do: false
  defp harmless?(message), do: not keys?(message) and reviewed?(message)

  defp keys?({sender, input}) when is_pid(sender) or is_port(sender) do
    tag = if is_tuple(input) and input != {}, do: elem(input, 0), else: input
    tag in @keys
  end

  defp keys?(_message), do: false

  # Whether each module that handles the message is in the list with it.
  defp reviewed?(message) do
    handled = Process.get(:handled)

    for tag <- Enum.uniq([tag(message), :_]),
        {shape, modules} <- Map.get(handled, tag, []),
        Handled.matches?(message, shape),
        module <- modules,
        reduce: true,
        do: (all -> reviewed?(module, message) and all)
  end

  defp reviewed?(module, message) do
    for {^module, shapes} <- Process.get(:reviewed),
        shape <- shapes,
        Handled.matches?(message, shape),
        reduce: false do
      _found ->
        Process.put({:passed, module, shape}, true)
        true
    end
  end

  defp request?(:getopts), do: true
  defp request?({:get_geometry, _}), do: true
  defp request?({:put_chars, _text}), do: true
  defp request?({:put_chars, _encoding, _text}), do: true

  defp request?({:put_chars, module, function, arguments}),
    do: format?(module, function, arguments)

  defp request?({:put_chars, _encoding, module, function, arguments}),
    do: format?(module, function, arguments)

  defp request?({:get_line, prompt}), do: text?(prompt)
  defp request?({tag, _, prompt}) when tag in [:get_line, :get_password], do: text?(prompt)
  defp request?({:get_chars, prompt, _count}), do: text?(prompt)
  defp request?({:get_chars, _encoding, prompt, _count}), do: text?(prompt)

  defp request?({:get_until, prompt, module, function, arguments}),
    do: text?(prompt) and parser?(module, function, arguments)

  defp request?({:get_until, _encoding, prompt, module, function, arguments}),
    do: text?(prompt) and parser?(module, function, arguments)

  defp request?({:setopts, options}) when is_list(options) do
    Enum.all?(options, fn
      {name, _value} -> name in @options
      name -> name in @options
    end)
  end

  defp request?({:requests, requests}) when is_list(requests),
    do: Enum.all?(requests, &request?/1)

  defp request?(_request), do: false

  defp format?(:io_lib, function, [format, arguments])
       when function in [:format, :fwrite] and not is_function(arguments),
       do: small?(format)

  defp format?(:io_lib, :write, [_term]), do: true
  # What the guard itself puts there
  defp format?(:"Elixir.Printer", function, _arguments), do: function in [:text, :format, :write]
  defp format?(_module, _function, _arguments), do: false

  # No width that fills the memory
  defp small?(format) do
    text = if is_atom(format), do: Atom.to_string(format), else: List.flatten([format])
    text = if is_list(text), do: Enum.map_join(text, &character/1), else: text
    not Regex.match?(~r/~[^a-zA-Z~]*(\*|[0-9]{4})/, text)
  end

  defp character(byte) when byte in 1..127, do: <<byte>>

  defp character(text) when is_binary(text),
    do: for(<<byte <- text>>, into: "", do: character(byte))

  defp character(_other), do: "?"

  defp parser?(module, function, arguments),
    do:
      {module, function} in [{:erl_scan, :tokens}, {:io_lib, :fread}] and not function?(arguments)

  defp function?(term) when is_function(term), do: true
  defp function?([head | tail]), do: function?(head) or function?(tail)
  defp function?(term) when is_tuple(term), do: function?(Tuple.to_list(term))
  defp function?(term) when is_map(term), do: function?(Map.to_list(term))
  defp function?(_term), do: false

  defp text?([head | tail]), do: text?(head) and text?(tail)
  defp text?(term), do: is_binary(term) or is_atom(term) or is_integer(term) or term == []
end

[file] = System.argv()
Passed.run(file)
