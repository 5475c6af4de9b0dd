defmodule Mix.K8sConnect.Bridge do
  @moduledoc false
  # Shows a shell of another node on this terminal, with any two releases of Elixir and OTP. The side with the terminal
  # parses and completes input, with functions that the shell chooses. This node may not have them, so they are
  # called on the shell's node.
  #
  # The I/O protocol: https://www.erlang.org/doc/apps/stdlib/io_protocol.html

  alias K8sConnect.{EscapeSequences, Session}

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
  Starts the shell, and returns its process. `:group` calls it, in the process that serves the terminal.
  """
  @spec start(session :: pid(), node(), mfa :: {module(), atom(), [term()]}) :: pid()
  def start(session, node, {module, function, arguments}) do
    group = self()
    before = Process.group_leader()
    forward = spawn(fn -> forward(group, node) end)
    :ok = Session.disable_io_check(session, forward)
    # The remote shell inherits the group leader of this process.
    Process.group_leader(self(), forward)
    shell = :erpc.call(node, module, function, arguments)
    Process.group_leader(self(), before)
    shell
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
        case remote(request, {node, from}) do
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
  defp remote({:put_chars, encoding, :io_lib, function, arguments}, _shell)
       when function in [:format, :fwrite] and length(arguments) == 2
       when function == :write and length(arguments) == 1 do
    {:ok, {:put_chars, encoding, EscapeSequences.strip(apply(:io_lib, function, arguments))}}
  rescue
    _invalid_format -> :refused
  end

  defp remote({:put_chars, _encoding, _module, _function, _arguments}, _shell), do: :refused
  defp remote({:put_chars, _module, _function, _arguments}, _shell), do: :refused

  defp remote({:put_chars, encoding, text}, _shell),
    do: {:ok, {:put_chars, encoding, EscapeSequences.text(encoding, text)}}

  defp remote({:put_chars, text}, _shell),
    do: {:ok, {:put_chars, :latin1, EscapeSequences.text(:latin1, text)}}

  defp remote({request, encoding, prompt}, _shell) when request in [:get_line, :get_password],
    do: {:ok, {request, encoding, EscapeSequences.prompt(encoding, prompt)}}

  defp remote({:get_chars, encoding, prompt, count}, _shell),
    do: {:ok, {:get_chars, encoding, EscapeSequences.prompt(encoding, prompt), count}}

  defp remote({:get_until, encoding, prompt, module, function, arguments}, {node, _shell}) do
    arguments = [node, module, function, arguments]

    {:ok,
     {:get_until, encoding, EscapeSequences.prompt(encoding, prompt), __MODULE__, :parse,
      arguments}}
  end

  defp remote({:get_until, prompt, module, function, arguments}, shell),
    do: remote({:get_until, :latin1, prompt, module, function, arguments}, shell)

  defp remote({:requests, requests}, shell) when length(requests) >= 0 do
    requests = Enum.map(requests, &remote(&1, shell))

    if :refused in requests,
      do: :refused,
      else: {:ok, {:requests, for({:ok, request} <- requests, do: request)}}
  end

  defp remote({:setopts, options}, shell) when length(options) >= 0,
    do: {:ok, {:setopts, Enum.flat_map(options, &remote_option(&1, shell))}}

  defp remote(request, _shell) do
    kind = if is_tuple(request) and request != {}, do: elem(request, 0), else: request
    if kind in @forwarded, do: {:ok, request}, else: :refused
  end

  # The shell's node calls its own function.
  defp remote_option({:expand_fun, fun}, shell) when is_function(fun, 1),
    do: [expand_fun: fn text -> expand(shell, fun, [text]) end]

  defp remote_option({:expand_fun, fun}, shell) when is_function(fun, 2),
    do: [expand_fun: fn text, options -> expand(shell, fun, [text, options]) end]

  defp remote_option({:expand_fun, _fun}, _shell), do: []
  defp remote_option(option, _shell), do: [option]

  # `{yes | no, insertion, completions}`. A completion is text, text with options, or since OTP 26 a section of them.
  defp expand(shell, fun, arguments) do
    with {found, insertion, completions} when found in [:yes, :no] and is_list(completions) <-
           complete(shell, fun, arguments) do
      {found, plain(insertion), Enum.map(completions, &completion/1)}
    else
      _other -> {:no, ~c"", []}
    end
  end

  # The function of IEx looks for the shell beside its group leader: on this node, where it is not.
  defp complete({node, shell}, fun, [text | _options] = arguments) do
    case :erlang.fun_info(fun, :module) do
      {:module, IEx.Autocomplete} -> :erpc.call(node, IEx.Autocomplete, :expand, [text, shell])
      _other -> :erpc.call(node, :erlang, :apply, [fun, arguments])
    end
  end

  defp completion(%{elems: elements} = section) when is_list(elements),
    do: %{title: plain(section[:title]), elems: Enum.map(elements, &completion/1), options: []}

  defp completion({text, options}) when is_list(options),
    do: {plain(text), for({:ending, ending} <- options, do: {:ending, plain(ending)})}

  defp completion(text), do: plain(text)

  defp plain(text), do: to_charlist(EscapeSequences.prompt(:unicode, text))
end
