defmodule Mix.K8sConnect.Observer.Live do
  @moduledoc false
  # The terminal view while it runs. Other processes ask the node, so that keys work while the node does not answer.

  alias K8sConnect.{Connection, Error, Snapshot}
  alias Mix.K8sConnect.Observer.{Keys, Screen, View}

  # asking: whether a snapshot is on its way; again: whether it is already out of date; typed: an incomplete key
  defstruct [:screen, :connection, :reference, :monitor, :options, :styles?, :view] ++
              [asking: false, again: false, timer: nil, typed: ""]

  # The first picture comes soon.
  @first_window 200
  # The process on the node works at most for a tenth of the time.
  @share 10
  @longest_pause 60_000

  @doc """
  Shows the node until the user quits, or until the connection is lost. Options: `:interval`, `:limit` and `:sort`.
  """
  @spec run(Connection.t(), keyword()) :: :ok | {:error, Error.t()}
  def run(connection, options) do
    reference = K8sConnect.subscribe(connection)

    case Screen.open() do
      {:ok, screen} ->
        try do
          start(screen, connection, reference, options)
        after
          Screen.close(screen)
        end

      :error ->
        no_terminal("stty could not set it to raw mode")
    end
  rescue
    # `subscribe/1`: the connection has ended already.
    error in Error -> {:error, error}
  end

  defp no_terminal(problem), do: {:error, Error.new(:remote, {:no_terminal, %{problem: problem}})}

  defp start(screen, connection, reference, options) do
    Screen.read_keys()

    %__MODULE__{
      screen: screen,
      connection: connection,
      reference: reference,
      monitor: Process.monitor(connection.session),
      options: options,
      styles?: System.get_env("NO_COLOR", "") == "",
      view: %View{sort: options[:sort]}
    }
    |> ask(@first_window)
    |> loop()
  end

  defp loop(state) do
    case Screen.size(state.screen) do
      :closed ->
        closed(state)

      size ->
        Screen.draw(View.lines(state.view, size), size, state.styles?)
        await(state, size)
    end
  end

  # The VM stops soon, unless somebody has ended the shell that holds the terminal.
  defp closed(%{monitor: monitor} = state) do
    receive do
      {:DOWN, ^monitor, :process, _session, _reason} -> ended(:init.get_status(), state)
    after
      5000 -> no_terminal("the program that held it was ended")
    end
  end

  defp await(state, size) do
    %{reference: reference, monitor: monitor} = state

    receive do
      {:keys, bytes} ->
        {keys, typed} = Screen.keys(state.typed <> bytes)
        keys(keys, %{state | typed: typed}, size)

      {:pending, bytes} when bytes == state.typed and bytes != "" ->
        bytes |> Keys.pending() |> keys(%{state | typed: ""}, size)

      :no_keys ->
        :ok

      {:snapshot, answer} ->
        answer |> answered(state) |> loop()

      {:details, pid, answer} ->
        loop(%{state | view: details(state.view, pid, answer)})

      :ask ->
        state |> ask(state.options[:interval]) |> loop()

      {:k8s_connect, ^reference, {:down, error}} ->
        {:error, error || lost(state)}

      {:DOWN, ^monitor, :process, _session, _reason} ->
        ended(:init.get_status(), state)

      _other ->
        loop(state)
    end
  end

  # The VM is stopping, and with it the connection. Its exit code is that of the stop.
  defp ended({:stopping, _progress}, _state), do: Process.sleep(:infinity)
  defp ended(_status, state), do: {:error, lost(state)}

  defp lost(%{connection: %{node: node}}),
    do: Error.new(:connect, {:lost, %{node: node, reason: nil}})

  defp keys([], state, _size), do: loop(state)

  defp keys([key | keys], state, {_columns, rows} = size) do
    case View.key(state.view, key, rows) do
      {:quit, _view} -> :ok
      {:ok, view} -> keys(keys, %{state | view: view}, size)
      {:ask, view} -> keys(keys, ask_now(%{state | view: view}), size)
    end
  end

  # Asking

  defp ask_now(%{view: %{page: {:process, _pid}}} = state), do: ask_details(state)
  defp ask_now(%{asking: true} = state), do: %{state | again: true}
  defp ask_now(state), do: ask(state, @first_window)

  defp ask(state, window) do
    _left = state.timer && Process.cancel_timer(state.timer)
    %{view: view, connection: %{node: node}} = state
    tables = view.page == :tables

    spawn_for(fn ->
      options = [sort: view.sort, limit: state.options[:limit], window: window, tables: tables]
      {:snapshot, Snapshot.take(node, options)}
    end)

    ask_details(%{state | asking: true, again: false, timer: nil})
  end

  defp ask_details(%{view: %{page: {:process, pid}}, connection: %{node: node}} = state) do
    spawn_for(fn -> {:details, pid, Snapshot.process(node, pid)} end)
    state
  end

  defp ask_details(state), do: state

  # It ends with the view.
  defp spawn_for(fun) do
    owner = self()
    spawn_link(fn -> send(owner, fun.()) end)
  end

  defp answered(answer, state) do
    %{state | asking: false, view: snapshot(state.view, answer)} |> ask_later(answer)
  end

  defp ask_later(%{again: true} = state, _answer), do: ask(state, @first_window)

  defp ask_later(%{options: options} = state, answer) do
    pause =
      case answer do
        {:ok, snapshot} -> snapshot |> pause() |> Kernel.-(options[:interval]) |> max(0)
        {:error, _error} -> options[:interval]
      end

    %{state | timer: Process.send_after(self(), :ask, pause)}
  end

  # The node says what it costs.
  defp pause(%{cost_ms: cost}), do: min((@share - 1) * cost, @longest_pause)

  # Answers

  defp snapshot(view, {:ok, snapshot}), do: View.put(view, snapshot)
  defp snapshot(view, {:error, error}), do: %{view | notice: Error.summary(error, :cli)}

  defp details(%{page: {:process, pid}} = view, pid, {:ok, details}),
    do: %{view | details: details || :ended}

  # Of a process that is not shown any more, or not known: the next snapshot reports a failure.
  defp details(view, _pid, _answer), do: view
end
