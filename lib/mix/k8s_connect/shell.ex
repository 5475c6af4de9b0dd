defmodule Mix.K8sConnect.Shell do
  @moduledoc false
  # Starts IEx in a BEAM that was started as `mix`, without a shell.

  alias K8sConnect.{Connection, Error}
  alias Mix.K8sConnect.Bridge

  @doc """
  Whether this BEAM runs IEx, or will run it after the Mix task.
  """
  @spec iex?() :: boolean()
  def iex?, do: Code.ensure_loaded?(IEx) and IEx.started?()

  @doc """
  Whether standard input and output are a terminal.
  """
  @spec terminal?() :: boolean()
  def terminal?, do: Enum.all?([0, 1], &terminal?/1)

  @doc """
  Whether an exec plugin can use the terminal. IEx would read the same input.
  """
  @spec asks?() :: boolean()
  def asks?, do: not iex?() and Enum.all?([0, 2], &terminal?/1)

  defp terminal?(descriptor) do
    case File.read_link("/proc/self/fd/#{descriptor}") do
      {:ok, path} -> String.starts_with?(path, ["/dev/pts/", "/dev/tty", "/dev/console"])
      # Without /proc: only a terminal has a width.
      {:error, _reason} -> match?({:ok, _columns}, :io.columns())
    end
  end

  @doc """
  Starts IEx in this BEAM, and returns the device that prints above its prompt.
  """
  @spec local() :: {:ok, pid()} | {:error, Error.t()}
  def local do
    {:ok, _started} = Application.ensure_all_started(:iex)
    start(start_function(node()))
  end

  @doc """
  Starts IEx on the node of a connection, on this terminal.
  """
  @spec remote(Connection.t()) :: {:ok, pid()} | {:error, Error.t()}
  def remote(%{node: node, session: session}) do
    case remote_function(node) do
      :lost ->
        {:error, Error.new(:connect, {:lost, %{node: node, reason: nil}})}

      nil ->
        {:error, Error.new(:remote, {:no_iex, %{node: node}})}

      function ->
        if terminal?(0),
          do: start({Bridge, :start, [session, node, function]}),
          else: no_terminal()
    end
  end

  # The shell would not end with its input.
  defp no_terminal,
    do: {:error, Error.new(:remote, {:no_shell, %{problem: "standard input is not a terminal"}})}

  # The reason can be of the node's making, and is not shown.
  defp remote_function(node) do
    start_function(node)
  catch
    _kind, _reason -> :lost
  end

  # `:iex.start/0` since Elixir 1.15, `IEx.start/2` before.
  defp start_function(node) do
    cond do
      exported?(node, :iex, :start, 0) -> {:iex, :start, []}
      exported?(node, IEx, :start, 2) -> {IEx, :start, [[], {IEx, :dont_display_result, []}]}
      true -> nil
    end
  end

  defp exported?(node, module, function, arity) do
    :erpc.call(node, :code, :ensure_loaded, [module]) == {:module, module} and
      :erpc.call(node, :erlang, :function_exported, [module, function, arity])
  end

  # Before OTP 26 the terminal driver is started with the shell.
  defp start(mfa) do
    mfa = {__MODULE__, :announced, [self(), mfa]}

    if Code.ensure_loaded?(:shell) and function_exported?(:shell, :start_interactive, 1) do
      case apply(:shell, :start_interactive, [mfa]) do
        :ok -> {:ok, device()}
        {:error, reason} -> {:error, Error.new(:remote, {:no_shell, %{problem: inspect(reason)}})}
      end
    else
      :ok = start_terminal([:"tty_sl -c -e", mfa])
      {:ok, device()}
    end
  end

  @doc false
  # Called by the process that shows the shell.
  @spec announced(pid(), {module(), atom(), [term()]}) :: pid()
  def announced(owner, {module, function, arguments}) do
    send(owner, {__MODULE__, self()})
    apply(module, function, arguments)
  end

  defp device do
    receive do: ({__MODULE__, device} -> device)
  end

  # The new terminal driver takes the terminal from the old one, which logs an error.
  defp start_terminal(arguments) do
    %{level: level} = :logger.get_primary_config()
    :ok = :logger.set_primary_config(:level, :none)
    _pid = apply(:user_drv, :start, [arguments])
    restore_level(level)
  end

  defp restore_level(level) do
    spawn(fn ->
      # Nothing signals that the old driver has logged it.
      Process.sleep(500)
      :logger.set_primary_config(:level, level)
    end)

    :ok
  end
end
