defmodule K8sConnect.Attacks do
  @moduledoc """
  What code in a pod may try against the node that is connected to it.
  """

  import K8sConnect.GuardCase, only: [victim: 0]

  # For the code of the attacks.
  @tools """
  own = Process.group_leader()
  me = self()
  command = fn -> ~c"touch " ++ to_charlist(file) end

  # A process of that node by its number, which the pod was not told of.
  guess = fn text ->
    [_dot, id, serial] = text |> to_string() |> String.trim(">") |> String.split(".")
    binary = :erlang.term_to_binary(own)
    size = byte_size(binary) - 12
    <<head::binary-size(size), _id::32, _serial::32, creation::32>> = binary
    :erlang.binary_to_term(<<head::binary, String.to_integer(id)::32, String.to_integer(serial)::32, creation::32>>)
  end

  request = fn to, request ->
    reference = make_ref()
    send(to, {:io_request, me, reference, request})
    receive do
      {:io_reply, ^reference, reply} -> reply
    after
      1000 -> :nothing
    end
  end

  child = fn -> {{:attack, make_ref()}, {:os, :cmd, [command.()]}, :temporary, 1000, :worker, []} end
  """

  @doc """
  `{name, kind that is counted, code in the pod}`. The command of the code creates a file here. `:refused` is for code
  that leaves no mark with `trust: true`, and `:vm` for code that only the vm route refuses.
  """
  def all do
    [
      {"erpc", :spawn, ":erpc.call(here, :os, :cmd, [command.()], 2000)"},
      {"rpc", :spawn, ":rpc.call(here, :os, :cmd, [command.()], 2000)"},
      {"spawn", :spawn, "Node.spawn(here, :os, :cmd, [command.()])"},
      {"spawn_monitor", :spawn, ":erlang.spawn_opt(here, :os, :cmd, [command.()], [:monitor])"},
      {"spawn_request", :spawn, ":erlang.spawn_request(here, :os, :cmd, [command.()], [])"},
      {"a spawn by net_kernel", :name,
       "send({:net_kernel, here}, {:\"$gen_call\", {me, make_ref()}, {:spawn, :os, :cmd, [command.()], own}})"},
      {"put_chars by a function", :io_request,
       "request.(own, {:put_chars, :unicode, :os, :cmd, [command.()]})"},
      {"put_chars in the old form", :io_request,
       "request.(own, {:put_chars, :os, :cmd, [command.()]})"},
      {"get_until by a function", :io_request,
       "request.(own, {:get_until, :unicode, ~c\"\", :os, :cmd, [command.()]})", :refused},
      {"requests", :io_request,
       "request.(own, {:requests, [{:put_chars, :unicode, \"\"}, {:put_chars, :unicode, :os, :cmd, [command.()]}]})"},
      {"a child of a guessed supervisor", :monitor,
       ":gen_server.call(guess.(supervisor), {:start_child, child.()}, 1000)"},
      {"a child without a monitor", :send,
       "send(guess.(supervisor), {:\"$gen_call\", {me, make_ref()}, {:start_child, child.()}})"},
      {"a child of a supervisor that was given out", :message,
       "send(given, {:\"$gen_call\", {me, make_ref()}, {:start_child, child.()}})"},
      {"a function for sys", :message,
       "send(given_server, {:system, {me, make_ref()}, {:replace_state, &:erlang.apply(:os, :cmd, [~c\"touch \#{file}\" | tl([&1])])}})",
       :refused},
      {"a function by sys at a guessed process", :send,
       "send(guess.(server), {:system, {me, make_ref()}, {:replace_state, :erlang.make_fun(:erlang, :display, 1)}})",
       :refused},
      {"keys", :group_leader, "send(own, {me, {:data, ~c\"os:cmd(id).\\n\"}})", :refused},
      {"an expand_fun", :io_request,
       "request.(own, {:setopts, [expand_fun: :erlang.make_fun(:os, :cmd, 1)]})", :refused},
      {"a terminal without echo", :io_request, "request.(own, {:setopts, [echo: false]})",
       :refused},
      {"a function in the options of a parser", :io_request,
       "request.(own, {:get_until, :unicode, ~c\"\", :erl_scan, :tokens, [1, [{:reserved_word_fun, :erlang.make_fun(:os, :cmd, 1)}]]})",
       :refused},
      {"a format that fills the memory", :io_request, ":io.format(own, ~c\"~1000000000c\", [?a])",
       :refused},
      {"a format behind an empty list, which is a character for OTP", :io_request,
       ":io.format(own, [[] | ~c\"~1000000000c\"], [?a])", :refused},
      {"a prompt that is formatted", :io_request,
       "request.(own, {:get_line, :unicode, {:format, ~c\"~1000000000c\", [?a]}})", :refused},
      {"code_server by name", :monitor, ":gen_server.call({:code_server, here}, :x, 1000)",
       :refused},
      {"a handler of an event manager that was given out", :message,
       """
       handler = {%{strategy: :one_for_one}, [%{id: :x, start: {:os, :cmd, [command.()]}}]}
       order = {:add_handler, :supervisor, {:self, Supervisor.Default, {:ok, handler}}}
       send(given_events, {me, {me, make_ref()}, order})
       """},
      {"a handler behind what the guard does not look at", :message,
       """
       handler = {%{strategy: :one_for_one}, [%{id: :x, start: {:os, :cmd, [command.()]}}]}
       order = {:add_handler, :supervisor, {:self, Supervisor.Default, {:ok, handler}}}
       send(given_events, {:binary.copy(<<0>>, 70_000), {me, make_ref()}, order})
       """},
      {"a call of rpc's server behind what the guard does not look at", :message,
       "send(given_rex, {Enum.to_list(1..70_000), {:call, :os, :cmd, [command.()], own}})",
       :refused},
      {"a call of rpc's server that was given out", :message,
       "send(given_rex, {me, {:call, :os, :cmd, [command.()], own}})"},
      {"the same from what looks like an answer", :message,
       "send(given_rex, {make_ref(), {:call, :os, :cmd, [command.()], own}})"},
      {"a message to a process of OTP that was given out", :message,
       "send(given_rex, {:anything, :at, :all})", :refused, :vm},
      {"another node for a connection that was given out", :message,
       "send(given_session, {guess.(server), {:up, %{node: node()}}})", :refused, :vm},
      {"an event of the logger that was given out", :message,
       """
       report = %{report_cb: fn _ -> :os.cmd(command.()) && {~c"x", []} end}
       send(given_logger, {:log, :error, %{}, report})
       """, :refused},
      {"a trace token", :other, ":seq_trace.set_token(:send, true); send(given_victim, :hello)",
       :refused},
      {"formatted text that the printer does not see", :io_request,
       "request.(own, {:requests, [{:put_chars, :unicode, :io_lib, :format, [~c\"~ts\", [~c\"x\"]]}]})",
       :refused},
      {"an answer of a group leader for another process", :message,
       "send(given_victim, {:reply, {{me, :x}, :y}})", :refused},
      {"an expression for a shell that was given out", :message,
       "send(given_victim, {:eval, given_victim, \"1\", %{}})", :refused},
      {"a format that calls a function", :io_request,
       """
       keys = %{:erlang.make_fun(:os, :cmd, 1) => 1, [command.()] => 2}
       request.(own, {:put_chars, :unicode, :io_lib, :format, [~c"~Kp", [&:erlang.apply/2, keys]]})
       """, if(System.otp_release() < "26", do: :refused)},
      {"a format that calls a function behind an empty list", :io_request,
       """
       keys = %{:erlang.make_fun(:os, :cmd, 1) => 1, [command.()] => 2}
       request.(own, {:put_chars, :unicode, :io_lib, :format, [[[] | ~c"~Kp"], [&:erlang.apply/2, keys]]})
       """, if(System.otp_release() < "26", do: :refused)},
      {"a request that no group leader knows", :io_request,
       "request.(own, {:requests, [{:get_line, :unicode, \"\"}]})", :refused},
      {"a name", :name, "send({:logger, here}, {:log, :error, ~c\"x\", [], %{}})", :refused},
      {"the end of the VM by name", :name, "send({:init, here}, {:stop, :stop})", :refused},
      {"the end of the VM by number", :send, "send(guess.(~c\"<0.0.0>\"), {:stop, :stop})",
       :refused},
      {"the end of a guessed process", :exit, "Process.exit(guess.(victim), :kill)", :refused},
      {"a link", :link, "Process.link(guess.(victim)); Process.exit(me, :kill)", :refused},
      {"a link to what was given out", :link,
       "spawn(fn -> Process.link(given_victim); Process.exit(self(), :boom) end)", :refused},
      {"another group leader", :set_group_leader, "Process.group_leader(given_victim, me)",
       :refused},
      {"an 'EXIT' as a message", :message, "send(given_victim, {:EXIT, me, :boom})", :refused},
      {"a 'DOWN' as a message", :message,
       "send(given_victim, {:DOWN, make_ref(), :process, me, :x})", :refused},
      {"code", :send,
       "send(guess.(code_server), {:code_call, me, {:load_binary, :x, ~c\"\", \"\"}})", :refused},
      {"an answer for another process", :io_request,
       "send(own, {:io_request, own, :x, {:get_line, :unicode, ~c\"\"}})", :refused}
    ]
  end

  @doc """
  Runs the code on the pod's node. Names of processes are only text there, unless they are given out.
  """
  def run(node, code, file) do
    {:ok, supervisor} = Supervisor.start_link([], strategy: :one_for_one)
    {:ok, agent} = Agent.start_link(fn -> nil end)
    {:ok, events} = :gen_event.start_link()

    bindings = [
      here: Node.self(),
      file: file,
      supervisor: :erlang.pid_to_list(supervisor),
      server: :erlang.pid_to_list(agent),
      victim: :erlang.pid_to_list(victim()),
      code_server: :erlang.pid_to_list(Process.whereis(:code_server))
    ]

    given =
      for {name, pid} <- [
            given: supervisor,
            given_server: agent,
            given_events: events,
            given_victim: victim(),
            given_rex: Process.whereis(:rex),
            given_logger: Process.whereis(:logger),
            given_session: hd(K8sConnect.connections()).session
          ],
          code =~ ~r/\b#{name}\b/,
          do: {name, pid}

    result =
      try do
        {value, _bindings} =
          :erpc.call(node, Code, :eval_string, [@tools <> code, bindings ++ given], 20_000)

        value
      catch
        kind, reason -> {kind, reason}
      end

    Supervisor.stop(supervisor)
    Agent.stop(agent)
    :gen_event.stop(events)
    result
  end
end
