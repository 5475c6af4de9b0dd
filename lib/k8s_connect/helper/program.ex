defmodule K8sConnect.Helper.Program do
  @moduledoc false
  # One run of the helper: its port, and the conversation over it (native/wire). Each function is
  # called by the process that has started it, which traps exits: a port whose program is gone before
  # it has read everything says so by its own.

  alias K8sConnect.{Error, Native}

  # Owned by root, in folders owned by root: the file has capabilities.
  @path "/usr/local/libexec/k8s_connect_helper"

  @timeout 5_000
  # It ends within this when it is killed.
  @kill_timeout 1_000
  @not_read "it ended before it had read its input"

  @enforce_keys [:port, :pid, :sudo]
  defstruct @enforce_keys ++ [next: 1]

  @type t :: %__MODULE__{
          port: port(),
          pid: non_neg_integer() | nil,
          sudo: boolean(),
          next: pos_integer()
        }

  @doc """
  Where the helper is installed, if it is.
  """
  @spec path() :: String.t()
  def path, do: @path

  @spec installed?() :: boolean()
  def installed?, do: File.regular?(@path)

  @doc """
  The helper that was built with this library.
  """
  @spec built() :: String.t()
  def built, do: Path.join([:code.priv_dir(:k8s_connect), "native", "k8s_connect_helper"])

  @doc """
  Starts the helper, by `sudo` if that is asked for. It speaks first, when its programs are attached
  and tested and it has given up every privilege; nothing is redirected yet.
  """
  @spec start(boolean()) :: {:ok, t(), map()} | {:error, Error.t()}
  def start(sudo) do
    with {:ok, {executable, arguments}} <- command(sudo),
         {:ok, frame} <- frame(:hello_frame, [String.to_integer(System.pid())]),
         {:ok, port} <- spawn_port(executable, arguments) do
      program = %__MODULE__{port: port, pid: os_pid(port), sudo: sudo}
      send_frame(port, frame)

      case await(port, &match?({:ready, _map}, &1)) do
        {:ready, ready} ->
          {:ok, program, ready}

        other ->
          ended(other, program)
          {:error, failure(other, program)}
      end
    end
  end

  @doc """
  Asks one thing, by the name of its frame, and waits for the answer. After `:gone` there is no
  program any more, and nothing of what it held.
  """
  @spec ask(t(), atom(), [term()]) ::
          {:ok, map(), t()} | {:refused, Error.t(), t()} | {:gone, Error.t()}
  def ask(%__MODULE__{port: port, next: id} = program, function, arguments) do
    {:ok, frame} = frame(function, [id | arguments])
    send_frame(port, frame)
    program = %{program | next: id + 1}

    case await(port, &match?({_kind, ^id, _rest}, &1)) do
      {:refused, ^id, reason} ->
        {:refused, Error.new(:helper, reason), program}

      {_kind, ^id, answer} ->
        {:ok, answer, program}

      other ->
        ended(other, program)
        {:gone, failure(other, program)}
    end
  end

  @doc """
  Ends it, and waits until the kernel has taken its programs back.
  """
  @spec stop(t()) :: :ok
  def stop(%__MODULE__{port: port, next: id} = program) do
    {:ok, frame} = frame(:stop_frame, [id])
    send_frame(port, frame)
    if await_end(port), do: :ok, else: kill(program)
  end

  @doc """
  The end of a program, as its port tells it, in words; `nil` for any other message.
  """
  @spec end_of(t() | nil, term()) :: String.t() | nil
  def end_of(%__MODULE__{port: port}, {port, {:exit_status, status}}), do: words(status)
  def end_of(%__MODULE__{port: port}, {:EXIT, port, _reason}), do: @not_read
  def end_of(_program, _message), do: nil

  # As a shell has it, the VM's forker adds 128 to a signal.
  defp words(status) when status > 128, do: "it was ended by signal #{status - 128}"
  defp words(status), do: "it ended with status #{status}"

  defp command(true) do
    case System.find_executable("sudo") do
      nil ->
        {:error, Error.new(:helper, {:no_sudo, %{}})}

      sudo ->
        {:ok, {sudo, ["-n", "--", if(installed?(), do: @path, else: built())]}}
    end
  end

  defp command(false) do
    if installed?(),
      do: {:ok, {@path, []}},
      else: {:error, Error.new(:helper, {:not_installed, %{path: @path}})}
  end

  defp spawn_port(executable, arguments) do
    # In a BEAM under `sudo iex` they are of that sudo, and not of one that runs the helper.
    env = [{~c"SUDO_UID", false}, {~c"SUDO_GID", false}]
    options = [:binary, :exit_status, packet: 4, args: arguments, env: env]
    {:ok, Port.open({:spawn_executable, executable}, options)}
  rescue
    error in ErlangError ->
      problem = to_string(:file.format_error(error.original))
      {:error, Error.new(:helper, {:not_started, %{path: executable, problem: problem}})}
  end

  defp os_pid(port) do
    case Port.info(port, :os_pid) do
      {:os_pid, pid} -> pid
      nil -> nil
    end
  end

  # It may have gone a moment ago; its last message is in the mailbox then.
  defp send_frame(port, frame) do
    Port.command(port, frame)
  rescue
    ArgumentError -> false
  end

  defp await(port, wanted?) do
    receive do
      {^port, {:data, frame}} ->
        {:ok, answer} = frame(:read_frame, [frame])

        # A refusal to start, or of a frame that could not be read, has no id.
        if wanted?.(answer) or match?({:refused, nil, _reason}, answer) or
             match?({:unreadable, _problem}, answer),
           do: answer,
           else: await(port, wanted?)

      {^port, {:exit_status, status}} ->
        {:ended, words(status)}

      {:EXIT, ^port, _reason} ->
        {:ended, @not_read}
    after
      @timeout -> :silent
    end
  end

  defp await_end(port) do
    receive do
      {^port, {:data, _last_words}} -> await_end(port)
      {^port, {:exit_status, _status}} -> true
      {:EXIT, ^port, _reason} -> true
    after
      @timeout -> false
    end
  end

  defp ended({:ended, _words}, _program), do: :ok
  defp ended(_something_else, program), do: kill(program)

  # One that does not answer may have been stopped. One of sudo's cannot be killed by us; it ends
  # with its input.
  defp kill(%__MODULE__{port: port, pid: pid}) do
    _ = pid && System.cmd("sh", ["-c", "kill -KILL #{pid}"], stderr_to_stdout: true)
    receive(do: ({^port, {:exit_status, _status}} -> :ok), after: (@kill_timeout -> :ok))
    _ = Port.info(port) && Port.close(port)
    :ok
  end

  defp failure(:silent, _program),
    do: Error.new(:helper, {:silent, %{timeout_ms: @timeout}})

  defp failure({:ended, _words}, %{sudo: true, next: 1}),
    do: Error.new(:helper, {:sudo, %{}})

  defp failure({:ended, words}, _program),
    do: Error.new(:helper, {:died, %{words: words, times: 1}})

  defp failure({:refused, nil, reason}, _program), do: Error.new(:helper, reason)

  defp failure({:unreadable, problem}, _program),
    do: Error.new(:helper, {:unreadable, %{problem: problem}})

  defp frame(function, arguments) do
    case Native.start(function, arguments) do
      {:error, %Error{} = error} -> {:error, error}
      frame -> {:ok, frame}
    end
  end
end
