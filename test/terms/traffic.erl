%% What the recorded nodes do: ordinary use of a node in a pod, and what code there may try.
-module(traffic).
-export([local/1, attack/4]).

%% On the local node.
local(Pod) ->
    pong = net_adm:ping(Pod),
    Ended = spawn(fun() -> receive stop -> ok end end),
    Given = spawn(fun() -> receive stop -> ok end end),
    use(Pod),
    Guessed = spawn(fun() -> receive stop -> ok end end),
    [catch erpc:call(Pod, ?MODULE, attack, [N, node(), Given, pid_to_list(Guessed)], 3000)
     || N <- lists:seq(1, 33)],
    Given ! stop,
    Ended ! stop,
    halt().

use(Pod) ->
    Me = self(),
    Pod = erpc:call(Pod, erlang, node, []),
    Pod = rpc:call(Pod, erlang, node, []),
    catch erpc:call(Pod, erlang, error, [boom]),
    Request = erpc:send_request(Pod, erlang, node, []),
    Pod = erpc:receive_response(Request),
    _ = gen_server:call({kernel_sup, Pod}, which_children),
    Sup = erpc:call(Pod, erlang, whereis, [kernel_sup]),
    {status, _, _, _} = sys:get_status(Sup),
    process_flag(trap_exit, true),
    Linked = spawn_link(Pod, erlang, exit, [boom]),
    receive {'EXIT', Linked, boom} -> ok end,
    Monitored = spawn(Pod, timer, sleep, [20]),
    monitor(process, Monitored),
    receive {'DOWN', _, _, Monitored, _} -> ok end,
    Sleeper = spawn(Pod, timer, sleep, [infinity]),
    link(Sleeper),
    exit(Sleeper, kill),
    receive {'EXIT', Sleeper, _} -> ok end,
    spawn(Pod, erlang, send, [Me, {hello, 42, 1.5, #{a => <<"b">>}, "text"}]),
    receive {hello, _, _, _, _} -> ok end,
    Alias = alias(),
    spawn(Pod, erlang, send, [Alias, by_alias]),
    receive by_alias -> ok end,
    erpc:call(Pod, io, put_chars, ["text\n"]),
    erpc:call(Pod, io, format, ["~ts ~p~n", ["text", {a, 1}]]),
    erpc:call(Pod, io, write, [ok]),
    erpc:call(Pod, io, getopts, []),
    erpc:call(Pod, io, columns, []),
    pong = erpc:call(Pod, net_adm, ping, [node()]).

%% On the node in the pod.
attack(N, Here, Given, GuessedText) ->
    Own = group_leader(),
    Guessed = guess(Own, GuessedText),
    attempt(N, Here, Given, Guessed, Own, self()).

attempt(1, Here, _, _, _, _) -> erpc:call(Here, os, cmd, ["true"], 500);
attempt(2, Here, _, _, _, _) -> rpc:call(Here, os, cmd, ["true"], 500);
attempt(3, Here, _, _, _, _) -> spawn(Here, os, cmd, ["true"]);
attempt(4, Here, _, _, _, _) -> spawn_opt(Here, os, cmd, ["true"], [monitor]);
attempt(5, Here, _, _, _, _) -> spawn_request(Here, os, cmd, ["true"], []);
attempt(6, Here, _, _, Own, Me) ->
    {net_kernel, Here} ! {'$gen_call', {Me, make_ref()}, {spawn, os, cmd, ["true"], Own}};
attempt(7, _, _, _, Own, Me) -> io(Own, Me, {put_chars, unicode, os, cmd, ["true"]});
attempt(8, _, _, _, Own, Me) -> io(Own, Me, {put_chars, os, cmd, ["true"]});
attempt(9, _, _, _, Own, Me) -> io(Own, Me, {get_until, unicode, "", os, cmd, ["true"]});
attempt(10, _, _, _, Own, Me) ->
    io(Own, Me, {requests, [{put_chars, unicode, ""}, {put_chars, unicode, os, cmd, ["true"]}]});
attempt(11, _, _, Guessed, _, Me) -> Guessed ! {'$gen_call', {Me, make_ref()}, {start_child, x}};
attempt(12, _, _, Guessed, _, _) -> gen_server:call(Guessed, {start_child, x}, 500);
attempt(13, _, Given, _, _, Me) -> Given ! {'$gen_call', {Me, make_ref()}, {start_child, x}};
attempt(14, _, Given, _, _, Me) ->
    Given ! {system, {Me, make_ref()}, {replace_state, fun erlang:display/1}};
attempt(15, _, Given, _, _, _) -> gen_server:cast(Given, stop);
attempt(16, _, _, _, Own, Me) -> Own ! {Me, {data, "id\n"}};
attempt(17, _, _, _, Own, Me) -> io(Own, Me, {setopts, [{expand_fun, fun os:cmd/1}]});
attempt(18, _, _, _, Own, Me) ->
    Options = [{reserved_word_fun, fun os:cmd/1}],
    io(Own, Me, {get_until, unicode, "", erl_scan, tokens, [1, Options]});
attempt(19, _, _, _, Own, Me) ->
    io(Own, Me, {put_chars, unicode, io_lib, format, ["~1000000000c", [$a]]});
attempt(20, _, _, _, Own, Me) ->
    io(Own, Me, {get_line, unicode, {format, "~1000000000c", [$a]}});
attempt(21, Here, _, _, _, _) -> gen_server:call({code_server, Here}, x, 500);
attempt(22, Here, _, _, _, _) -> {logger, Here} ! {log, error, "x", [], #{}};
attempt(23, Here, _, _, _, _) -> {init, Here} ! {nothing, nothing};
attempt(24, _, _, Guessed, _, _) -> exit(Guessed, kill);
attempt(25, _, _, Guessed, _, _) -> link(Guessed);
attempt(26, _, Given, _, _, _) -> link(Given), unlink(Given);
attempt(27, _, Given, _, _, Me) -> group_leader(Me, Given);
attempt(28, _, Given, _, _, Me) -> Given ! {'EXIT', Me, boom};
attempt(29, _, Given, _, _, Me) -> Given ! {'DOWN', make_ref(), process, Me, x};
attempt(30, _, _, Guessed, _, Me) -> Guessed ! {code_call, Me, {load_binary, x, "", <<>>}};
attempt(31, _, _, _, Own, _) -> Own ! {io_request, Own, x, {get_line, unicode, ""}};
attempt(32, _, Given, _, _, _) -> demonitor(monitor(process, Given));
attempt(33, _, Given, _, _, _) -> exit(Given, boom).

io(Leader, Me, Request) ->
    Reference = make_ref(),
    Leader ! {io_request, Me, Reference, Request},
    receive {io_reply, Reference, Reply} -> Reply after 300 -> nothing end.

%% A process by its number, which this node was not told of.
guess(Own, Text) ->
    [_, Id, Serial] = string:tokens(Text, "<.>"),
    Binary = term_to_binary(Own),
    Size = byte_size(Binary) - 12,
    <<Head:Size/binary, _:64, Creation:32>> = Binary,
    {I, S} = {list_to_integer(Id), list_to_integer(Serial)},
    binary_to_term(<<Head/binary, I:32, S:32, Creation:32>>).
