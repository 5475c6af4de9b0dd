defmodule Mix.K8sConnect.Bridge do
  @moduledoc false
  # A shell of another node, shown by this one, whatever their releases are. What is typed is parsed
  # where the terminal is, by a function that the shell names, and completed by one that it sends:
  # both are of the other side's release, and this side's may have neither. So they are called there.
  #
  # The I/O protocol: https://www.erlang.org/doc/apps/stdlib/io_protocol.html

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
        # The answer goes straight to who asks.
        send(shown_by, {:io_request, from, reference, there(request, node)})
        loop(shown_by, node)

      other ->
        send(shown_by, other)
        loop(shown_by, node)
    end
  end

  defp there({:get_until, encoding, prompt, module, function, arguments}, node) do
    {:get_until, encoding, prompt, __MODULE__, :parse, [node, module, function, arguments]}
  end

  defp there({:setopts, options}, node) do
    {:setopts, for(option <- options, do: option_there(option, node))}
  end

  defp there(request, _node), do: request

  defp option_there({:expand_fun, fun}, node) when is_function(fun, 1),
    do: {:expand_fun, fn text -> :erpc.call(node, :erlang, :apply, [fun, [text]]) end}

  defp option_there(option, _node), do: option
end
