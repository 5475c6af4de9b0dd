defmodule Mix.K8sConnect.Bridge do
  @moduledoc false
  # A shell of another node, shown by this one, whatever their releases are. What is typed is parsed
  # where the terminal is, by a function that the shell names, and completed by one that it sends:
  # both are of the other side's release, and this side's may have neither. So they are called there.
  #
  # The I/O protocol: https://www.erlang.org/doc/apps/stdlib/io_protocol.html

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
  Starts the shell, from inside of the process that shows it, as `:group` calls it; answers the
  shell's process.
  """
  @spec start(node(), mfa :: {module(), atom(), [term()]}) :: pid()
  def start(node, {module, function, arguments}) do
    shown_by = self()
    before = Process.group_leader()
    # What is started over there has the group leader of who starts it.
    Process.group_leader(self(), spawn(fn -> pass(shown_by, node) end))
    shell = :erpc.call(node, module, function, arguments)
    Process.group_leader(self(), before)
    shell
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
