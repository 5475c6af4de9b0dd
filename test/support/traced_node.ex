defmodule K8sConnect.TracedNode do
  @moduledoc """
  A node that is traced, what is evaluated there, and what a trace leaves there.
  """

  import ExUnit.Callbacks
  import K8sConnect.Laptop, only: [await: 1]

  @doc """
  As a setup_all: makes this VM a node, and starts another one as `node`. Both end after the tests.
  """
  def start_node(_context) do
    unless epmd?() do
      {_output, 0} = System.cmd("epmd", ["-daemon"])
      # It refuses while other nodes use it.
      on_exit(fn -> System.cmd("epmd", ["-kill"]) end)
      await(&epmd?/0)
    end

    name = :"trace#{System.pid()}@127.0.0.1"
    {:ok, _pid} = :net_kernel.start([name, :longnames])
    on_exit(fn -> :net_kernel.stop() end)
    %{node: start_peer()}
  end

  defp epmd?, do: match?({_names, 0}, System.cmd("epmd", ["-names"], stderr_to_stdout: true))

  # A peer without Elixir.
  defp start_peer do
    name = :peer.random_name()
    cookie = Atom.to_charlist(Node.get_cookie())

    {:ok, peer, node} =
      :peer.start(%{
        name: name,
        host: ~c"127.0.0.1",
        longnames: true,
        connection: :standard_io,
        args: [~c"-hidden", ~c"-setcookie", cookie]
      })

    on_exit(fn -> :peer.stop(peer) end)
    node
  end

  @doc """
  Evaluates Erlang code there in a process of its own, and answers its pid. It is ended after the test.
  """
  def evaluate(node, code) do
    pid = Node.spawn(node, :erl_eval, :exprs, [forms(code), []])
    on_exit(fn -> Process.exit(pid, :kill) end)
    pid
  end

  # The value of an expression there: one call, where the node is busy.
  defp value(node, code) do
    {:value, value, _bindings} = :erpc.call(node, :erl_eval, :exprs, [forms(code), []])
    value
  end

  defp forms(code) do
    {:ok, tokens, _end} = :erl_scan.string(to_charlist(code))
    {:ok, forms} = :erl_parse.parse_exprs(tokens)
    forms
  end

  @doc """
  The processes of traces there, each with what it is: `:tracer` or `:guardian`.
  """
  # The tracer has a high priority, and is monitored by the guardian.
  def running(node) do
    value(node, """
    lists:append([[{Pid, tracer} | [{By, guardian} || By <- MonitoredBy]] ||
      Pid <- processes(),
      {max_heap_size, \#{size := 8000000}} <- [process_info(Pid, max_heap_size)],
      {monitored_by, MonitoredBy} <- [process_info(Pid, monitored_by)]]).
    """)
  end

  @doc """
  Whether nothing of a trace is there.
  """
  def clean?(node) do
    nothing =
      value(node, """
      [] =:= [F || F <- [{lists, seq, 2}, {lists, reverse, 1}],
                   erlang:trace_info(F, traced) =/= {traced, false}] andalso
      erlang:trace_info(new_processes, flags) =:= {flags, []} andalso
      [] =:= [Pid || Pid <- processes(),
                     not lists:member(erlang:trace_info(Pid, flags), [{flags, []}, undefined])] andalso
      undefined =:= whereis(k8s_connect_trace).
      """)

    nothing and running(node) == [] and sessions(node) == 0
  end

  @doc """
  Whether each trace there has a session of its own: OTP 27 and newer.
  """
  def sessions?(node), do: :erpc.call(node, :code, :which, [:trace]) != :non_existing

  # One is the VM's own.
  defp sessions(node) do
    if sessions?(node), do: length(:erpc.call(node, :trace, :session_info, [:all])) - 1, else: 0
  end
end
