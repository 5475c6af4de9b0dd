defmodule Mix.K8sConnect.Bridge do
  @moduledoc false
  # A shell of another node, shown by this one, whatever their releases are. What is typed is parsed
  # where the terminal is, by a function that the shell names, and completed by one that it sends:
  # both are of the other side's release, and this side's may have neither. So they are called there.
  #
  # The I/O protocol: https://www.erlang.org/doc/apps/stdlib/io_protocol.html

  alias K8sConnect.Connection

  # Requests with nothing to call in them.
  @passed [
    :put_chars,
    :get_chars,
    :get_line,
    :get_password,
    :get_geometry,
    :getopts,
    :terminal_state,
    :shell_history
  ]

  @doc """
  Starts the shell, from inside of the process that shows it, as `:group` calls it. What it answers stands for the
  shell and outlives it: when the connection is lost and comes back, there is a new shell in its place.
  """
  @spec start(Connection.t(), mfa :: {module(), atom(), [term()]}) :: pid()
  def start(connection, function) do
    shown_by = self()

    spawn(fn ->
      Process.monitor(shown_by)
      keep(connection, function, shown_by)
    end)
  end

  defp keep(%{node: node} = connection, function, shown_by) do
    shell = start_there(node, function, shown_by)
    monitor = Process.monitor(shell)

    receive do
      {:DOWN, ^monitor, :process, ^shell, :noconnection} ->
        again(connection, function, shown_by)

      {:DOWN, ^monitor, :process, ^shell, reason} ->
        exit(reason)

      {:DOWN, _monitor, :process, ^shown_by, reason} ->
        Process.exit(shell, reason)
    end
  end

  # The pod that replaces the other one may have no IEx, which its shell then says.
  defp again(connection, function, shown_by) do
    case K8sConnect.await_up(connection, :infinity) do
      {:ok, connection} -> keep(connection, function, shown_by)
      {:error, error} -> exit(error)
    end
  end

  # What is started over there has the group leader of who starts it.
  defp start_there(node, {module, function, arguments}, shown_by) do
    Process.group_leader(self(), spawn(fn -> pass(shown_by, node) end))
    :erpc.call(node, module, function, arguments)
  end

  @doc """
  Parses on `node`.
  """
  @spec parse(term(), term(), node(), module(), atom(), [term()]) :: term()
  def parse(continuation, text, node, module, function, arguments),
    do: :erpc.call(node, module, function, [continuation, text | arguments])

  defp pass(shown_by, node) do
    Process.monitor(shown_by)
    loop(shown_by, node)
  end

  defp loop(shown_by, node) do
    receive do
      {:DOWN, _monitor, :process, ^shown_by, _reason} ->
        :ok

      {:io_request, from, reference, request} ->
        # The reply goes straight to the process that asks.
        case there(request, node) do
          {:ok, request} -> send(shown_by, {:io_request, from, reference, request})
          :refused -> send(from, {:io_reply, reference, {:error, :request}})
        end

        loop(shown_by, node)

      other ->
        send(shown_by, other)
        loop(shown_by, node)
    end
  end

  # What a request names is called on the node that asks, or not at all: nothing of its choice runs here.
  # Only what formats a text does, which the other side's `:io.format` leaves to the group leader.
  defp there({:put_chars, encoding, :io_lib, function, arguments}, _node)
       when function in [:format, :fwrite] and length(arguments) == 2
       when function == :write and length(arguments) == 1,
       do: {:ok, {:put_chars, encoding, :io_lib, function, arguments}}

  defp there({:put_chars, _encoding, _module, _function, _arguments}, _node), do: :refused
  defp there({:put_chars, _module, _function, _arguments}, _node), do: :refused

  defp there({:get_until, encoding, prompt, module, function, arguments}, node) do
    arguments = [node, module, function, arguments]
    {:ok, {:get_until, encoding, prompt, __MODULE__, :parse, arguments}}
  end

  defp there({:get_until, prompt, module, function, arguments}, node),
    do: there({:get_until, :latin1, prompt, module, function, arguments}, node)

  defp there({:requests, requests}, node) when length(requests) >= 0 do
    requests = Enum.map(requests, &there(&1, node))

    if :refused in requests,
      do: :refused,
      else: {:ok, {:requests, for({:ok, request} <- requests, do: request)}}
  end

  defp there({:setopts, options}, node) when length(options) >= 0,
    do: {:ok, {:setopts, Enum.flat_map(options, &option_there(&1, node))}}

  defp there(request, _node) do
    kind = if is_tuple(request) and request != {}, do: elem(request, 0), else: request
    if kind in @passed, do: {:ok, request}, else: :refused
  end

  # A function is called where it is from.
  defp option_there({:expand_fun, fun}, node) when is_function(fun, 1),
    do: [expand_fun: fn text -> :erpc.call(node, :erlang, :apply, [fun, [text]]) end]

  defp option_there({:expand_fun, fun}, node) when is_function(fun, 2) do
    [
      expand_fun: fn text, options ->
        :erpc.call(node, :erlang, :apply, [fun, [text, options]])
      end
    ]
  end

  defp option_there({:expand_fun, _fun}, _node), do: []
  defp option_there(option, _node), do: [option]
end
