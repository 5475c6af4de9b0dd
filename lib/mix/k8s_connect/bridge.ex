defmodule Mix.K8sConnect.Bridge do
  @moduledoc false
  # Shows a shell of another node on this terminal, with any two releases of Elixir and OTP. The side with the terminal
  # parses and completes input, with functions that the shell chooses. This node may not have them, so they are
  # called on the shell's node.
  #
  # The I/O protocol: https://www.erlang.org/doc/apps/stdlib/io_protocol.html

  alias K8sConnect.Connection

  # Requests that name no function.
  @forwarded [
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
    Process.group_leader(self(), spawn(fn -> forward(shown_by, node) end))
    :erpc.call(node, module, function, arguments)
  end

  @doc """
  Parses input on `node`.
  """
  @spec parse(term(), term(), node(), module(), atom(), [term()]) :: term()
  def parse(continuation, text, node, module, function, arguments),
    do: :erpc.call(node, module, function, [continuation, text | arguments])

  defp forward(group, node) do
    Process.monitor(group)
    loop(group, node)
  end

  defp loop(group, node) do
    receive do
      {:DOWN, _monitor, :process, ^group, _reason} ->
        :ok

      {:io_request, from, reference, request} ->
        # `group` replies to the caller itself.
        case remote(request, node) do
          {:ok, request} -> send(group, {:io_request, from, reference, request})
          :refused -> send(from, {:io_reply, reference, {:error, :request}})
        end

        loop(group, node)

      other ->
        send(group, other)
        loop(group, node)
    end
  end

  # A function that a request names is called on the shell's node, or not at all: the other node cannot run code
  # here. Exceptions are the formatting functions, which `:io.format` leaves to the group leader.
  defp remote({:put_chars, encoding, :io_lib, function, arguments}, _node)
       when function in [:format, :fwrite] and length(arguments) == 2
       when function == :write and length(arguments) == 1,
       do: {:ok, {:put_chars, encoding, :io_lib, function, arguments}}

  defp remote({:put_chars, _encoding, _module, _function, _arguments}, _node), do: :refused
  defp remote({:put_chars, _module, _function, _arguments}, _node), do: :refused

  defp remote({:get_until, encoding, prompt, module, function, arguments}, node) do
    arguments = [node, module, function, arguments]
    {:ok, {:get_until, encoding, prompt, __MODULE__, :parse, arguments}}
  end

  defp remote({:get_until, prompt, module, function, arguments}, node),
    do: remote({:get_until, :latin1, prompt, module, function, arguments}, node)

  defp remote({:requests, requests}, node) when length(requests) >= 0 do
    requests = Enum.map(requests, &remote(&1, node))

    if :refused in requests,
      do: :refused,
      else: {:ok, {:requests, for({:ok, request} <- requests, do: request)}}
  end

  defp remote({:setopts, options}, node) when length(options) >= 0,
    do: {:ok, {:setopts, Enum.flat_map(options, &remote_option(&1, node))}}

  defp remote(request, _node) do
    kind = if is_tuple(request) and request != {}, do: elem(request, 0), else: request
    if kind in @forwarded, do: {:ok, request}, else: :refused
  end

  # The shell's node calls its own function.
  defp remote_option({:expand_fun, fun}, node) when is_function(fun, 1),
    do: [expand_fun: fn text -> :erpc.call(node, :erlang, :apply, [fun, [text]]) end]

  defp remote_option({:expand_fun, fun}, node) when is_function(fun, 2) do
    [
      expand_fun: fn text, options ->
        :erpc.call(node, :erlang, :apply, [fun, [text, options]])
      end
    ]
  end

  defp remote_option({:expand_fun, _fun}, _node), do: []
  defp remote_option(option, _node), do: [option]
end
