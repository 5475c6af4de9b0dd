defmodule K8sConnect.FakeLivebook do
  @moduledoc """
  A program `livebook` for tests, where Livebook itself is out of reach. It reads its environment and attaches to the
  node as Livebook 0.19.9 does (lib/livebook/config.ex, lib/livebook/runtime/attached.ex), and prints what it sees.
  """

  @doc """
  Writes it to a folder, and returns the environment with that folder first in PATH. `elixir` is the version of
  Elixir that it says it has.
  """
  def install(directory, elixir \\ nil) do
    file = Path.join(directory, "livebook")
    File.write!(file, program(elixir))
    File.chmod!(file, 0o755)
    {"PATH", "#{directory}:#{System.fetch_env!("PATH")}"}
  end

  defp program(elixir) do
    ~s"""
    #!/usr/bin/env escript
    -include_lib("kernel/include/file.hrl").

    main(["--version"]) ->
        io:format("~s", ["#{elixir && "Elixir #{elixir} (compiled with Erlang/OTP 27)\\n\\nLivebook 0.19.9\\n"}"]);
    main(["server" | Arguments]) ->
        "attached:" ++ Rest = os:getenv("LIVEBOOK_DEFAULT_RUNTIME"),
        [Name, Cookie] = string:split(Rest, ":", trailing),
        {ok, _} = net_kernel:start('livebook@127.0.0.1', \#{name_domain => longnames, dist_listen => false}),
        Node = list_to_atom(Name),
        true = erlang:set_cookie(Node, list_to_atom(Cookie)),
        Attached = net_kernel:hidden_connect_node(Node),
        io:format("arguments ~0p~n", [Arguments]),
        io:format("command lines ~0p~n", [[Line || Line <- command_lines(), string:find(Line, Cookie) =/= nomatch]]),
        io:format("attached ~0p ~0p~n", [Attached, erpc:call(Node, erlang, node, [])]),
        wait(Arguments).

    %% Of this user: those of the pods are in sight as well.
    command_lines() ->
        {ok, \#file_info{uid = Own}} = file:read_file_info("/proc/self"),
        [Line || File <- filelib:wildcard("/proc/[0-9]*/cmdline"),
                 {ok, \#file_info{uid = Uid}} <- [file:read_file_info(File)], Uid =:= Own,
                 {ok, Line} <- [file:read_file(File)]].

    wait(["wait"]) -> receive after infinity -> ok end;
    wait(_Arguments) -> halt(7).
    """
  end
end
