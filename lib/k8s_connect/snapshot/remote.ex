defmodule K8sConnect.Snapshot.Remote do
  @moduledoc false
  # What is evaluated on the pod's node, as Erlang's abstract format: `:erl_eval` is a part of stdlib, so that nothing
  # is loaded there, and processes are compared there, so that few of them are sent here.
  #
  # It changes nothing: `statistics(wall_clock)`, `statistics(reductions)` and `statistics(runtime)` are not in it,
  # because each call starts the period of the next caller, who may be the pod's own.

  alias K8sConnect.Error

  # The process that evaluates gives way to others, and is killed before it takes more than 256 MB.
  @polite """
    process_flag(priority, low),
    process_flag(max_heap_size, \#{size => 268435456 div erlang:system_info(wordsize), kill => true, error_logger => false}),
  """

  # Where a process of proc_lib was started. Before OTP 26.2 that is only in a copy of its whole dictionary.
  @initial """
    Initial = fun(Pid, Info) ->
      {_, Memory} = lists:keyfind(memory, 1, Info),
      case lists:keyfind(initial_call, 1, Info) of
        {_, {proc_lib, init_p, _} = Call} ->
          try process_info(Pid, {dictionary, '$initial_call'}) of
            {_, {_, _, _} = Translated} -> Translated;
            _ -> Call
          catch
            error:badarg when Memory < 16777216 -> proc_lib:translate_initial_call(Pid);
            error:badarg -> Call
          end;
        {_, Call} -> Call
      end
    end,
  """

  # Processes are compared in parts of 1000, so that only those of one part and the best are in memory. What is done for
  # each process is done by compiled functions where it can be, because `:erl_eval` takes a microsecond for each step.
  # Of equal ones the older comes first: a young process may have ended after the window.
  @snapshot """
  (fun() ->
    #{@polite}
    Now = fun() -> erlang:monotonic_time(microsecond) end,
    Begin = Now(),
    Split = fun(List) -> try lists:split(1000, List) catch error:badarg -> {List, []} end end,
    Largest = fun(Pairs) -> lists:sublist(lists:reverse(lists:keysort(1, lists:reverse(Pairs))), Limit) end,
    Top = fun Top([], _Values, Best) -> Best;
              Top(List, Values, Best) ->
                {Part, Rest} = Split(List),
                Top(Rest, Values, Largest(Best ++ Values(Part)))
          end,
    Infos = fun(Pids, Item) -> lists:zipwith(fun erlang:process_info/2, Pids, lists:duplicate(length(Pids), Item)) end,
    Sample = fun() ->
      Cpu = case prim_file:read_file("/proc/self/stat") of
        {ok, Stat} when byte_size(Stat) < 4096 -> Stat;
        _ -> none
      end,
      {Now(), statistics(io), statistics(garbage_collection), statistics(scheduler_wall_time), Cpu}
    end,
    Reductions = fun(Pids) ->
      Some = Infos(Pids, reductions),
      try lists:zipwith(fun erlang:element/2, lists:duplicate(length(Pids), 2), Some)
      catch error:badarg -> [case Info of {_, Value} -> Value; undefined -> 0 end || Info <- Some]
      end
    end,
    Count = fun Count([]) -> [];
                Count(List) -> {Part, Rest} = Split(List), [Reductions(Part) | Count(Rest)]
            end,
    Used = fun Used([], [], Best) -> Best;
               Used(List, [Old | More], Best) ->
                 {Part, Rest} = Split(List),
                 New = lists:zipwith(fun erlang:'-'/2, Reductions(Part), Old),
                 Used(Rest, More, Largest(Best ++ lists:zip(New, Part)))
           end,
    All = lists:delete(self(), processes()),
    Seen = case Sort of
      reductions -> All;
      _ -> [Pid || {{_, _}, Pid} <- Top(All, fun(Part) -> lists:zip(Infos(Part, Sort), Part) end, [])]
    end,
    First = Sample(),
    Counted = Count(Seen),
    Asleep = Now(),
    receive after Window -> ok end,
    Awake = Now(),
    Second = Sample(),
    Shown = Used(Seen, Counted, []),
    #{@initial}
    Items = [registered_name, initial_call, current_function, status, message_queue_len, memory, reductions],
    Rows = [{Pid, Change, Info, Initial(Pid, Info)} || {Change, Pid} <- Shown, Info <- [process_info(Pid, Items)], Info =/= undefined],
    Tables = case WithTables of
      true ->
        Sizes = fun(Part) -> [{Size, Table} || Table <- Part, Size <- [ets:info(Table, memory)], is_integer(Size)] end,
        [{Size, [ets:info(Table, Item) || Item <- [name, size, type, protection, owner]]} || {Size, Table} <- Top(ets:all(), Sizes, [])];
      false -> none
    end,
    Applications = try application:which_applications(1000) catch _:_ -> [] end,
    System = [{Item, try erlang:system_info(Item) catch _:_ -> none end} || Item <-
      [otp_release, version, wordsize, schedulers, schedulers_online, dirty_cpu_schedulers_online, dirty_io_schedulers,
       process_count, process_limit, port_count, port_limit, atom_count, atom_limit, ets_count, ets_limit]],
    \#{
      system => System,
      uptime => erlang:convert_time_unit(erlang:monotonic_time() - erlang:system_info(start_time), native, millisecond),
      memory => erlang:memory(),
      run_queues => statistics(run_queue_lengths_all),
      samples => {First, Second},
      processes => Rows,
      tables => Tables,
      applications => Applications,
      cost => Now() - Begin - (Awake - Asleep)
    }
  end)().
  """

  @process """
  (fun() ->
    #{@polite}
    #{@initial}
    Some = fun(List) -> {length(List), lists:sublist(List, Limit)} end,
    case process_info(Pid, [registered_name, initial_call, current_function, current_stacktrace, status, priority,
                            trap_exit, message_queue_len, memory, total_heap_size, stack_size, reductions,
                            group_leader, links, monitors, monitored_by]) of
      undefined -> undefined;
      Info ->
        [case Item of
           {Key, List} when Key =:= links; Key =:= monitors; Key =:= monitored_by -> {Key, Some(List)};
           _ -> Item
         end || Item <- Info] ++ [{wordsize, erlang:system_info(wordsize)}, {translated, Initial(Pid, Info)}]
    end
  end)().
  """

  parse = fn text ->
    {:ok, tokens, _end} = text |> String.to_charlist() |> :erl_scan.string()
    {:ok, expressions} = :erl_parse.parse_exprs(tokens)
    Macro.escape(expressions)
  end

  @doc """
  Evaluates `:snapshot` or `:process` on `node`, with the given values of its variables.
  """
  @spec evaluate(node(), :snapshot | :process, keyword(), timeout()) ::
          {:ok, term()} | {:error, Error.t()}
  def evaluate(node, name, variables, timeout) do
    # Only the value returns: variables of a fun stay there.
    {:value, value, _variables} =
      :erpc.call(node, :erl_eval, :exprs, [expressions(name), variables], timeout)

    {:ok, value}
  catch
    :error, {:erpc, :timeout} -> failed(node, "no answer for #{timeout} ms")
    :error, {:erpc, :read_only} -> {:error, Error.new(:remote, {:read_only, %{node: node}})}
    :error, {:erpc, _reason} -> {:error, Error.new(:connect, {:lost, %{node: node, reason: nil}})}
    :exit, {:signal, :killed} -> failed(node, "it needs more than 256 MB there")
    _kind, reason -> failed(node, inspect(reason, limit: 5, printable_limit: 200, structs: false))
  end

  @doc """
  The error of an observation that failed.
  """
  @spec failed(node(), String.t()) :: {:error, Error.t()}
  def failed(node, problem),
    do: {:error, Error.new(:remote, {:not_observed, %{node: node, problem: problem}})}

  defp expressions(:snapshot), do: unquote(parse.(@snapshot))
  defp expressions(:process), do: unquote(parse.(@process))
end
