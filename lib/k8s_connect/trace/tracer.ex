defmodule K8sConnect.Trace.Tracer do
  @moduledoc false
  # The two processes of a trace on the pod's node. The node evaluates them with `erl_eval`, so that no module is loaded
  # there, and so that they run without Elixir.
  #
  # The tracer gets the trace messages, counts them, and sends them as text. The guardian sets the trace patterns, and
  # clears them when the tracer, the local process or the connection is gone, or when the time is over: OTP clears the
  # trace flags of a tracer that has died, but not its patterns. The tracer clears them if the guardian has died. From
  # OTP 27 on they are those of a trace session, which no other tracer shares.

  # Of the tracer: more messages than it can handle, more memory (in words) than a pod can spare, how long it
  # waits for returns after the last call, and how long it may take to send what it has.
  @limits %{queue: 10_000, heap: 8_000_000, grace: 1000, linger: 30_000, functions: 1000}

  @source ~S"""
  (fun() ->
    #{limit := Limit, time := Time, local := Local, returns := Returns, arguments := Arguments, queue := MaxQueue,
      heap := MaxHeap, grace := Grace, linger := Linger, functions := MaxFunctions} = Options,
    Scope = case Local of true -> [local]; false -> [] end,

    %% A process evaluates the program itself: functions that are sent to another process are copied once for each
    %% place where they occur.
    Bindings = fun(Next) ->
      #{'Options' => Options, 'Owner' => Owner, 'Patterns' => Patterns, 'Process' => Process, 'Ref' => Ref,
        'Program' => Program, 'Role' => Next}
    end,

    Exists = fun(Name) -> try binary_to_existing_atom(Name, utf8) catch error:_ -> undefined end end,

    Names = fun(Module, Kind) ->
      [Function || {Name, _} = Function <- erlang:get_module_info(Module, Kind),
                   Name =/= module_info, Name =/= '__info__']
    end,

    Matching = fun(Module, Kind, Name, Arity) ->
      [{Module, F, A} || {F, A} <- Names(Module, Kind),
                         Name =:= any orelse atom_to_binary(F, utf8) =:= Name, Arity =:= any orelse A =:= Arity]
    end,

    Resolve = fun({ModuleName, Name, Arity}) ->
      Module = Exists(ModuleName),
      erlang:module_loaded(Module) orelse
        throw({case code:where_is_file(unicode:characters_to_list(<<ModuleName/binary, ".beam">>)) of
                 non_existing -> no_such_module;
                 _ -> module_not_loaded
               end, #{module => ModuleName}}),
      case Matching(Module, case Local of true -> functions; false -> exports end, Name, Arity) of
        [] ->
          Private = not Local andalso Matching(Module, functions, Name, Arity) =/= [],
          Others = [{atom_to_binary(F, utf8), A} || {F, A} <- lists:sublist(lists:sort(Names(Module, exports)), 100)],
          throw({no_such_function, #{module => ModuleName, function => Name, arity => Arity, private => Private,
                                     others => Others}});
        Found ->
          Any = fun(any) -> '_'; (Text) when is_binary(Text) -> Exists(Text); (Number) -> Number end,
          {{Module, Any(Name), Any(Arity)}, Found}
      end
    end,

    Tracee = fun() ->
      Found = case Process of
        all -> processes;
        {pid, Text} -> catch list_to_pid(Text);
        {name, Name} -> whereis(Exists(Name))
      end,
      Found =:= processes orelse (is_pid(Found) andalso is_process_alive(Found)) orelse throw({no_such_process, #{}}),
      Found
    end,

    %% Without sessions there is one tracer for each process, and one pattern for each function.
    Busy = fun(Functions) ->
      [throw({already_traced, #{}}) || What <- [new_processes | processes()],
                                       {tracer, T} <- [erlang:trace_info(What, tracer)], T =/= []],
      [throw({already_traced, #{}}) || Function <- Functions,
                                       {traced, S} <- [erlang:trace_info(Function, traced)], S =/= false],
      ok
    end,

    Set = fun(none, Function, Match) -> erlang:trace_pattern(Function, Match, Scope);
             (Session, Function, Match) -> trace:function(Session, Function, Match, Scope)
    end,

    Clear = fun(Session, Functions) -> [Set(Session, Function, false) || Function <- Functions], ok end,

    %% By the tracer, which is never traced itself. The others would trace how they are evaluated.
    Flag = fun(Session, Who, How) ->
      Flags = [call, timestamp] ++ case Arguments of true -> []; false -> [arity] end,
      case Session of
        none -> erlang:trace(Who, How, [{tracer, self()} | Flags]);
        _ -> trace:process(Session, Who, How, Flags)
      end
    end,

    %% Of a dead tracer, where OTP clears them only when the process is traced again.
    Unflag = fun(none) -> [erlang:trace_info(What, tracer) || What <- [new_processes | processes()]];
                (Session) -> trace:session_destroy(Session)
    end,

    Show = case erlang:function_exported('Elixir.Kernel', inspect, 2) of
      true -> fun(Term) -> 'Elixir.Kernel':inspect(Term, [{limit, 10}, {printable_limit, 200}]) end;
      false -> fun(Term) -> unicode:characters_to_binary(io_lib:format("~0tp", [Term], [{chars_limit, 400}])) end
    end,

    Text = fun(Term) ->
      case try Show(Term) catch _:_ -> <<"...">> end of
        <<Head:1000/binary, _/binary>> -> <<Head/binary, "...">>;
        Short -> Short
      end
    end,

    Micros = fun({Mega, Seconds, Micro}) -> (Mega * 1000000 + Seconds) * 1000000 + Micro end,

    Event = fun({Kind, Pid, {M, F, A}, Value, At, Took}, Registered) ->
      Common = #{event => Kind, pid => list_to_binary(pid_to_list(Pid)), name => maps:get(Pid, Registered, nil),
                 module => atom_to_binary(M, utf8), function => atom_to_binary(F, utf8), arity => A, at => At},
      case {Kind, Value} of
        {call, Values} when is_list(Values) -> Common#{arguments => [Text(V) || V <- Values]};
        {call, _} -> Common;
        {return, _} -> Common#{took => Took, result => Text(Value)};
        {exception, {Class, Reason}} -> Common#{took => Took, class => atom_to_binary(Class, utf8), reason => Text(Reason)}
      end
    end,

    Now = fun() -> erlang:monotonic_time(millisecond) end,

    Finish = fun(#{why := Why, pending := Pending, calls := Calls, names := Registered}) ->
      Reason = case Calls < Limit of true -> Why; false -> limit end,
      [erlang:send(Owner, {Ref, Event(E, Registered)}, [noconnect]) || E <- queue:to_list(Pending)],
      erlang:send(Owner, {Ref, #{event => stopped, reason => Reason, calls => Calls}}, [noconnect]),
      exit(normal)
    end,

    %% From here on without patterns of maps, which `erl_eval` lints at each match.
    %% Sends one event, unless the connection is busy: a process that waits for it does not count.
    Flush = fun(State) ->
      {{value, First}, Rest} = queue:out(maps:get(pending, State)),
      case erlang:send(Owner, {Ref, Event(First, maps:get(names, State))}, [noconnect, nosuspend]) of
        nosuspend -> State#{wait := 50};
        _ -> State#{pending := Rest, wait := case queue:is_empty(Rest) of true -> infinity; false -> 0 end}
      end
    end,

    Stop = fun(State) -> Clear(maps:get(session, State), maps:get(functions, State)) end,

    Add = fun(E, State) -> State#{pending := queue:in(E, maps:get(pending, State)), wait := 0} end,

    Call = fun(Pid, {M, F, A}, Timestamp, State) ->
      Stacks = maps:get(stacks, State),
      Open = maps:get(open, State),
      Calls = maps:get(calls, State),
      At = Micros(Timestamp),
      Function = {M, F, case is_list(A) of true -> length(A); false -> A end},
      Counts = Calls < Limit,
      Stack = maps:get(Pid, Stacks, []),
      Pushed = case Returns of
        true -> State#{stacks := Stacks#{Pid => [{Function, At, Counts} | Stack]}};
        false -> State
      end,
      case Counts of
        false -> Pushed;
        true ->
          Opened = case Returns of true -> Open + 1; false -> 0 end,
          Added = Add({call, Pid, Function, A, At, 0}, Pushed#{calls := Calls + 1, open := Opened}),
          case Calls + 1 of
            Limit -> Stop(State), Added#{until := Now() + Grace};
            _ -> Added
          end
      end
    end,

    Return = fun(Kind, Pid, Function, Value, Timestamp, State) ->
      Stacks = maps:get(stacks, State),
      Open = maps:get(open, State),
      At = Micros(Timestamp),
      case lists:keytake(Function, 1, maps:get(Pid, Stacks, [])) of
        {value, {_, Start, Counts}, Rest} ->
          Left = case Rest of [] -> maps:remove(Pid, Stacks); _ -> Stacks#{Pid := Rest} end,
          case Counts of
            true -> Add({Kind, Pid, Function, Value, At, At - Start}, State#{stacks := Left, open := Open - 1});
            false -> State#{stacks := Left}
          end;
        false -> State
      end
    end,

    Handle = fun(Message, State) ->
      case Message of
        {trace_ts, Pid, call, MFA, At} -> Call(Pid, MFA, At, State);
        {trace_ts, Pid, return_from, MFA, Value, At} -> Return(return, Pid, MFA, Value, At, State);
        {trace_ts, Pid, exception_from, MFA, Value, At} -> Return(exception, Pid, MFA, Value, At, State);
        {Ref, finish} -> Finish(State);
        {'DOWN', _, process, _Guardian, _} -> Stop(State), exit(guardian_died);
        _ -> State
      end
    end,

    %% With too many messages no more are made, and those that are there may reach the limit.
    Check = fun(State) ->
      {message_queue_len, Length} = process_info(self(), message_queue_len),
      case Length > MaxQueue andalso maps:get(calls, State) < Limit andalso maps:get(why, State) =:= time of
        true -> Stop(State), State#{why := overload, until := Now() + Grace};
        false -> State
      end
    end,

    %% A message that tells the end would be the last of all.
    Loop = fun Loop(State) ->
      Checked = Check(State),
      Wait = maps:get(wait, Checked),
      Left = maps:get(until, Checked) - Now(),
      (Left =< 0 orelse (maps:get(calls, Checked) >= Limit andalso maps:get(open, Checked) =:= 0)) andalso Finish(Checked),
      receive
        Message -> Loop(Handle(Message, Checked))
      after min(Wait, Left) ->
        case Wait of infinity -> Loop(Checked); _ -> Loop(Flush(Checked)) end
      end
    end,

    Tracer = fun(Guardian, Starter, Patterns, Who) ->
      monitor(process, Guardian),
      Registered = maps:from_list([{whereis(Name), atom_to_binary(Name, utf8)} || Name <- registered()]),
      receive
        {Ref, session, Session} ->
          Match = case Returns of true -> [{'_', [], [{exception_trace}]}]; false -> true end,
          [Set(Session, Function, Match) || Function <- Patterns],
          Flag(Session, Who, true),
          Who =:= processes andalso [catch Flag(Session, Other, false) || Other <- [Guardian, Starter]],
          Guardian ! {Ref, started},
          Loop(#{guardian => Guardian, session => Session, functions => Patterns, names => Registered,
                 pending => queue:new(), stacks => #{}, open => 0, calls => 0, wait => infinity,
                 until => Now() + Time, why => time});
        {'DOWN', _, process, Guardian, _} -> ok
      end
    end,

    Wait = fun(Monitor, OwnerMonitor, Timeout) ->
      receive
        {'DOWN', Monitor, process, _, Reason} -> Reason;
        {'DOWN', OwnerMonitor, process, _, _} -> owner
      after Timeout -> timeout
      end
    end,

    Guard = fun(Session, Functions, Pid, Monitor, OwnerMonitor) ->
      Reason = case Wait(Monitor, OwnerMonitor, Time) of
        timeout ->
          Clear(Session, Functions),
          Pid ! {Ref, finish},
          Wait(Monitor, OwnerMonitor, Linger);
        Other -> Other
      end,
      Clear(Session, Functions),
      exit(Pid, kill),
      Ended = case Reason of
        _ when Reason =:= timeout; Reason =:= owner -> receive {'DOWN', Monitor, process, _, Why} -> Why end;
        _ -> Reason
      end,
      Unflag(Session),
      exit(case Ended of normal -> normal; _ -> tracer_died end)
    end,

    Start = fun(Wanted, Functions, Who, Starter) ->
      Guardian = self(),
      OwnerMonitor = monitor(process, Owner),
      {Pid, Monitor} = spawn_opt(erl_eval, exprs, [Program, Bindings({tracer, Guardian, Starter, Wanted, Who})],
        [monitor, {priority, high}, {message_queue_data, off_heap}, {max_heap_size, #{size => MaxHeap, kill => true, error_logger => false}}]),
      Session = try trace:session_create(k8s_connect, Pid, []) catch error:undef -> none end,
      try
        Session =:= none andalso (catch register(k8s_connect_trace, Guardian)) =/= true andalso
          throw({already_traced, #{}}),
        Session =:= none andalso Busy(Functions)
      of _ ->
        Pid ! {Ref, session, Session},
        receive
          {Ref, started} -> Starter ! {Ref, {ok, Guardian, length(Functions)}};
          {'DOWN', Monitor, process, _, Why} ->
            self() ! {'DOWN', Monitor, process, Pid, Why}
        end,
        Guard(Session, Wanted, Pid, Monitor, OwnerMonitor)
      catch throw:Reason -> exit(Pid, kill), Starter ! {Ref, Reason}
      end
    end,

    Begin = fun() -> try
      Resolved = [Resolve(Pattern) || Pattern <- Patterns],
      Functions = lists:usort(lists:append([Found || {_, Found} <- Resolved])),
      length(Functions) > MaxFunctions andalso
        throw({too_many_functions, #{count => length(Functions), max => MaxFunctions}}),
      Who = Tracee(),
      Starter = self(),
      {_, Started} = spawn_monitor(erl_eval, exprs,
        [Program, Bindings({guardian, [Wanted || {Wanted, _} <- Resolved], Functions, Who, Starter})]),
      receive
        {Ref, Result} -> demonitor(Started, [flush]), Result;
        {'DOWN', Started, process, _, Reason} -> {failed, #{problem => Text(Reason)}}
      end
    catch throw:Thrown -> Thrown
    end end,

    case Role of
      begin_trace -> Begin();
      {guardian, Some, All, One, Caller} -> Start(Some, All, One, Caller);
      {tracer, By, Caller, Some, One} -> Tracer(By, Caller, Some, One)
    end
  end)().
  """

  {:ok, tokens, _end} = :erl_scan.string(to_charlist(@source))
  {:ok, forms} = :erl_parse.parse_exprs(tokens)
  @forms forms

  @doc """
  Starts a trace on `node`, which sends its events to the calling process, as `{reference, event}`. Raises as
  `:erpc.call/5` does.
  """
  @spec start(node(), reference(), map()) :: {:ok, pid(), pos_integer()} | {atom(), map()}
  def start(node, reference, options) do
    {patterns, options} = Map.pop!(options, :patterns)
    {process, options} = Map.pop!(options, :process)

    # As a map, and not as an `orddict`, with which `erl_eval` takes 15 times as long.
    bindings = %{
      Options: Map.merge(@limits, options),
      Owner: self(),
      Patterns: patterns,
      Process: process,
      Program: @forms,
      Ref: reference,
      Role: :begin_trace
    }

    {:value, result, _bindings} = :erpc.call(node, :erl_eval, :exprs, [@forms, bindings], 30_000)
    result
  end
end
