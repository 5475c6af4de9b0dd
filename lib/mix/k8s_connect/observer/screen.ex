defmodule Mix.K8sConnect.Observer.Screen do
  @moduledoc false
  # The terminal in raw mode, with the alternate screen. A shell sets it and restores it, also when this BEAM is killed:
  # its pipe ends then. Erlang's own terminal driver has a raw mode since OTP 28 only.

  alias Mix.K8sConnect.Observer.Keys

  @enforce_keys [:port]
  defstruct @enforce_keys

  @type t :: %__MODULE__{port: port()}
  @type size :: {columns :: pos_integer(), rows :: pos_integer()}

  # A terminal that does not know its size says 0.
  @default {80, 24}

  # Its standard input and output are the terminal, because the pipes to this BEAM are 3 and 4.
  @script """
  trap '' HUP INT QUIT TERM TSTP TTIN TTOU
  saved=$(stty -g) || exit 1
  stty -icanon -echo -isig -ixon min 1 time 0 || exit 1
  printf '\\033[?1049h\\033[?25l\\033[?7l'
  echo ready >&4
  while read -r line <&3 && [ "$line" = size ]; do stty size >&4; done
  printf '\\033[?7h\\033[?25h\\033[?1049l'
  stty "$saved"
  """

  @doc """
  Takes the terminal.
  """
  @spec open() :: {:ok, t()} | :error
  def open do
    port = shell(@script)
    screen = %__MODULE__{port: port}

    # Before the VM stops, because a shell that shows its prompt has saved the settings of the terminal.
    {:ok, __MODULE__} = System.trap_signal(:sigterm, __MODULE__, fn -> restore(screen) end)

    receive do
      {^port, {:data, {:eol, "ready"}}} ->
        {:ok, screen}

      {^port, {:exit_status, _failed}} ->
        _untrapped = System.untrap_signal(:sigterm, __MODULE__)
        :error
    end
  end

  defp shell(script) do
    Port.open({:spawn_executable, System.find_executable("sh")}, [
      :binary,
      :exit_status,
      :nouse_stdio,
      line: 80,
      args: ["-c", script]
    ])
  end

  @doc """
  Gives the terminal back.
  """
  @spec close(t()) :: :ok
  def close(screen) do
    _known = System.untrap_signal(:sigterm, __MODULE__)
    restore(screen)
  end

  # By any process.
  defp restore(%{port: port}) do
    monitor = Port.monitor(port)
    end_script(port)

    receive do
      {:DOWN, ^monitor, :port, _port, _reason} -> :ok
    after
      2000 -> :ok
    end
  end

  defp end_script(port) do
    Port.command(port, "end\n")
  rescue
    # It has ended.
    ArgumentError -> :ok
  end

  @doc """
  The size of the window now; `:closed` after the terminal was given back, as before the VM stops.
  """
  @spec size(t()) :: size() | :closed
  def size(%{port: port}) do
    Port.command(port, "size\n")

    receive do
      {^port, {:data, {:eol, line}}} -> parse(line)
      {^port, {:exit_status, _ended}} -> :closed
    end
  rescue
    ArgumentError -> :closed
  end

  @doc """
  The size of the terminal, which stays as it is.
  """
  @spec window() :: size()
  def window do
    port = shell("stty size >&4")

    receive do
      {^port, {:data, {:eol, line}}} -> parse(line)
      {^port, {:exit_status, _failed}} -> @default
    end
  end

  defp parse(line) do
    case for word <- String.split(line), do: Integer.parse(word) do
      [{rows, ""}, {columns, ""}] when rows > 0 and columns > 0 -> {columns, rows}
      _unknown -> @default
    end
  end

  @doc """
  Draws all lines. Nothing is cleared first, so that nothing flickers.
  """
  @spec draw([IO.ANSI.ansidata()], size(), styles? :: boolean()) :: :ok
  def draw(lines, {columns, _rows}, styles?) do
    for {line, number} <- Enum.with_index(lines, 1), into: [] do
      ["\e[#{number};1H", IO.ANSI.format(line, styles?), clear(line, columns)]
    end
    |> then(&IO.write([&1, "\e[J"]))
  end

  # After a full line the cursor is still on its last column, which would be cleared.
  defp clear(line, columns) do
    length = line |> IO.ANSI.format(false) |> IO.chardata_to_string() |> String.length()
    if length < columns, do: "\e[K", else: ""
  end

  @doc """
  Starts a process that sends `{:keys, bytes}` to the caller, and `:no_keys` at the end of the input.
  """
  @spec read_keys() :: pid()
  def read_keys do
    owner = self()
    spawn(fn -> read_keys(owner) end)
  end

  defp read_keys(owner) do
    case :io.request(Process.group_leader(), {:get_chars, :latin1, ~c"", 1}) do
      chars when is_binary(chars) or is_list(chars) ->
        send(owner, {:keys, IO.iodata_to_binary(chars)})
        read_keys(owner)

      _end_or_error ->
        send(owner, :no_keys)
    end
  end

  # How long the bytes of one key can be apart, over a slow connection.
  @pause 100

  @doc """
  The keys of bytes that were read, and bytes that may be the beginning of one. For those the caller gets
  `{:pending, bytes}` after a pause.
  """
  @spec keys(binary()) :: {[Keys.key()], binary()}
  def keys(bytes) do
    {keys, rest} = Keys.parse(bytes)
    _timer = if rest != "", do: Process.send_after(self(), {:pending, rest}, @pause)
    {keys, rest}
  end
end
