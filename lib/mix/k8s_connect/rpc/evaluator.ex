defmodule Mix.K8sConnect.Rpc.Evaluator do
  @moduledoc false
  # The process that evaluates expressions on a node, one after the other, with the variables of the ones before.
  #
  # It is Erlang, as abstract forms for `:erl_eval`: the node has none of our modules, and perhaps no Elixir. It answers
  # the calls `{:rpc, file, source}`, which `:erl_eval` makes there, so that an audit log says that code was evaluated. A
  # second process kills it when this side has ended, or is no longer connected: code that traps exits would ignore
  # another exit signal.

  # Evaluate(File, Source, Context) returns {Value, Context}. Collect(Fun) returns {Result, Notes}, with the diagnostics
  # of the compiler.
  @elixir ~S"""
  code:ensure_loaded('Elixir.Code'),
  IsExported = fun(Name, Arity) -> erlang:function_exported('Elixir.Code', Name, Arity) end,
  Parse = fun(File, Source) -> 'Elixir.Code':'string_to_quoted!'(Source, [{file, File}]) end,
  {New, Evaluate} = case IsExported(eval_quoted_with_env, 3) of
      true ->
          {{[], 'Elixir.Code':env_for_eval([])}, fun(File, Source, {Bindings, Env}) ->
              FileEnv = Env#{file := File, line := 1},
              {Value, NewBindings, NewEnv} =
                  'Elixir.Code':eval_quoted_with_env(Parse(File, Source), Bindings, FileEnv),
              {Value, {NewBindings, NewEnv}}
          end};
      %% Before Elixir 1.14
      false ->
          {[], fun(File, Source, Bindings) ->
              'Elixir.Code':eval_quoted(Parse(File, Source), Bindings, [{file, File}])
          end}
  end,
  Show = fun(Value) ->
      'Elixir.Kernel':inspect(Value, [{pretty, true}, {limit, infinity}, {printable_limit, infinity}])
  end,
  Explain = fun(Class, Reason, Stack) -> 'Elixir.Exception':format(Class, Reason, Stack) end,
  %% Since Elixir 1.15 the node would print them to its own standard error.
  Collect = case IsExported(with_diagnostics, 2) of
      true ->
          Note = fun(#{severity := Severity, message := Message, file := File, position := Position}) ->
              Line = case Position of {Number, _} -> Number; _ -> Position end,
              unicode:characters_to_binary(io_lib:format("~ts: ~ts (~ts:~w)", [Severity, Message, File, Line]))
          end,
          fun(Fun) ->
              {Result, Diagnostics} = 'Elixir.Code':with_diagnostics([{log, false}], Fun),
              {Result, [Note(Diagnostic) || Diagnostic <- Diagnostics]}
          end;
      false -> fun(Fun) -> {Fun(), []} end
  end,
  """

  @erlang ~S"""
  Binary = fun(Text) -> unicode:characters_to_binary(Text) end,
  New = erl_eval:new_bindings(),
  Fail = fun(File, {Line, Module, Problem}) ->
      throw({Evaluator, io_lib:format("~ts:~w: ~ts", [File, Line, Module:format_error(Problem)])})
  end,
  Evaluate = fun(File, Source, Bindings) ->
      Tokens = case erl_scan:string(unicode:characters_to_list(Source)) of
          {ok, Scanned, _} -> Scanned;
          {error, ScanError, _} -> Fail(File, ScanError)
      end,
      %% Expressions that end with dots are a sequence. The last dot may be missing.
      Sequence = [case Token of {dot, Dot} -> {',', Dot}; _ -> Token end || Token <- Tokens],
      Complete = case lists:reverse(Sequence) of
          [{',', End} | Reversed] -> lists:reverse(Reversed, [{dot, End}]);
          [Last | _] -> Sequence ++ [{dot, element(2, Last)}];
          [] -> [{dot, 1}]
      end,
      case erl_parse:parse_exprs(Complete) of
          {ok, Parsed} ->
              {value, Value, NewBindings} = erl_eval:exprs(Parsed, Bindings),
              {Value, NewBindings};
          {error, ParseError} ->
              Fail(File, ParseError)
      end
  end,
  Show = fun(Value) -> Binary(io_lib:format("~tp", [Value])) end,
  Format = fun(Term, Column) -> io_lib:format("~*.*tP", [80, Column, Term, 50]) end,
  Explain = fun
      (throw, {Pid, Text}, _) when Pid =:= Evaluator ->
          Binary(Text);
      (Class, Reason, Stack) ->
          Binary(["** ", erl_error:format_exception(Class, Reason, Stack, #{format_fun => Format})])
  end,
  Collect = fun(Fun) -> {Fun(), []} end,
  """

  @start ~S"""
  Evaluator = self(),
  spawn(fun() ->
      OwnerMonitor = monitor(process, Owner),
      EvaluatorMonitor = monitor(process, Evaluator),
      receive
          {'DOWN', OwnerMonitor, process, _, _} -> exit(Evaluator, kill);
          {'DOWN', EvaluatorMonitor, process, _, _} -> ok
      end
  end),
  """

  @loop ~S"""
  Answer = fun(File, Source, Context) ->
      try
          {Value, NewContext} = Evaluate(File, Source, Context),
          case erlang:external_size(Value) of
              Size when Size > Limit ->
                  {{too_large, Size}, NewContext};
              _ ->
                  %% Deep terms are mostly indentation.
                  case Show(Value) of
                      Shown when byte_size(Shown) > 64 * Limit -> {{too_large, byte_size(Shown)}, NewContext};
                      Shown -> {{value, Shown}, NewContext}
                  end
          end
      catch
          Class:Reason:Stack ->
              %% Without the frames of this code
              Frames = lists:dropwhile(fun(Frame) -> element(1, Frame) =:= erl_eval end, lists:reverse(Stack)),
              Text = Explain(Class, Reason, lists:reverse(Frames)),
              {{raised, string:slice(Text, 0, Limit)}, Context}
      end
  end,
  Loop = fun Loop(Context) ->
      receive
          {'$gen_call', From, {rpc, File, Source}} ->
              {{Reply, NewContext}, Notes} = Collect(fun() -> Answer(File, Source, Context) end),
              gen_server:reply(From, {Reply, Notes}),
              Loop(NewContext)
      end
  end,
  Loop(New).
  """

  @forms (for {language, source} <- [elixir: @elixir, erlang: @erlang], into: %{} do
            text = String.to_charlist(@start <> source <> @loop)
            {:ok, tokens, _line} = :erl_scan.string(text)
            {:ok, forms} = :erl_parse.parse_exprs(tokens)
            {language, forms}
          end)

  {:ok, tokens, _line} = :erl_scan.string(~c"gen_server:call(Evaluator, Request, infinity).")
  {:ok, forms} = :erl_parse.parse_exprs(tokens)
  @call forms

  @doc """
  Starts the process on a node, for the calling process, whose group leader it has. `limit` is the largest value that it
  shows, in bytes of the external term format. Raises as `:erpc.call/5` does.
  """
  @spec start(node(), :elixir | :erlang, pos_integer(), timeout()) :: pid()
  def start(node, language, limit, timeout) do
    arguments = [@forms[language], [Owner: self(), Limit: limit]]
    # `spawn/4` logs all of it where the connection is lost.
    :erpc.call(node, :erlang, :spawn, [:erl_eval, :exprs, arguments], timeout)
  end

  @doc """
  Evaluates the source on the evaluator's node, and returns its answer. Raises as `:erpc.call/5` does.
  """
  @spec evaluate(pid(), String.t(), String.t(), timeout()) :: term()
  def evaluate(evaluator, file, source, timeout) do
    arguments = [@call, [Request: {:rpc, file, source}, Evaluator: evaluator]]

    {:value, answer, _bindings} =
      :erpc.call(node(evaluator), :erl_eval, :exprs, arguments, timeout)

    answer
  end
end
