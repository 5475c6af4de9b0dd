defmodule K8sConnect.Helper.Program do
  @moduledoc false
  # One run of the helper: its port and the frames of native/wire. The process that starts the helper calls
  # all functions and traps exits: a port whose program exits before it has read everything sends an exit
  # signal.

  alias K8sConnect.{Error, Native}

  # The file has capabilities, so root owns it and all folders above.
  @path "/usr/local/libexec/k8s_connect_helper"

  @timeout 5_000
  # A killed helper exits within this time.
  @kill_timeout 1_000
  @attempts 3

  @enforce_keys [:port, :pid, :sudo]
  defstruct @enforce_keys ++ [next: 1]

  @type t :: %__MODULE__{
          port: port(),
          pid: non_neg_integer() | nil,
          sudo: boolean(),
          next: pos_integer()
        }

  @doc """
  The path of an installed helper.
  """
  @spec path() :: String.t()
  def path, do: @path

  @spec installed?() :: boolean()
  def installed?, do: File.regular?(@path)

  @doc """
  The helper of this build.
  """
  @spec built() :: String.t()
  def built, do: Native.program("k8s_connect_helper")

  @doc """
  Starts the helper, with sudo if `sudo` is true, and waits for its first frame: then its programs are
  attached and tested, and it has no privileges any more. Nothing is redirected yet.
  """
  @spec start(boolean()) :: {:ok, t(), map()} | {:error, Error.t()}
  def start(sudo), do: start(sudo, @attempts)

  defp start(sudo, attempts) do
    with {:ok, {executable, arguments}} <- command(sudo),
         {:ok, frame} <- frame(:hello_frame, [String.to_integer(System.pid())]),
         {:ok, port} <- spawn_port(executable, arguments) do
      program = %__MODULE__{port: port, pid: os_pid(port), sudo: sudo}
      send_frame(port, frame)

      case await(port, &match?({:ready, _map}, &1)) do
        {:ready, ready} ->
          {:ok, program, ready}

        # What it had to say was lost with the pipe that the frame was written to.
        {:exited, :not_read} when attempts > 1 ->
          start(sudo, attempts - 1)

        other ->
          ensure_exited(other, program)
          {:error, failure(other, program)}
      end
    end
  end

  @doc """
  Sends a request, named by the function that encodes its frame, and waits for the answer. After `:gone` the
  helper has exited, and the kernel has removed its redirects.
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
        ensure_exited(other, program)
        {:gone, failure(other, program)}
    end
  end

  @doc """
  Stops the helper, and waits until the kernel has detached its programs.
  """
  @spec stop(t()) :: :ok
  def stop(%__MODULE__{port: port, next: id} = program) do
    {:ok, frame} = frame(:stop_frame, [id])
    send_frame(port, frame)
    if await_exit(port), do: :ok, else: kill(program)
  end

  @doc """
  How the helper exited, from a message of its port; `nil` for any other message.
  """
  @spec exit_reason(t() | nil, term()) :: String.t() | nil
  def exit_reason(%__MODULE__{port: port}, {port, {:exit_status, status}}), do: describe(status)
  def exit_reason(%__MODULE__{port: port}, {:EXIT, port, _reason}), do: describe(:not_read)
  def exit_reason(_program, _message), do: nil

  # The VM's forker adds 128 to a signal, as a shell does.
  defguardp is_signal(status) when is_integer(status) and status > 128

  defp describe(:not_read), do: "exited before it read its input"
  defp describe(status) when is_signal(status), do: "was killed by signal #{status - 128}"
  defp describe(status), do: "exited with status #{status}"

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
    # Under `sudo iex` they come from that sudo, not from the one that runs the helper.
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

  # The helper may have just exited; then its last message is in the mailbox.
  defp send_frame(port, frame) do
    Port.command(port, frame)
  rescue
    ArgumentError -> false
  end

  defp await(port, expected?) do
    receive do
      {^port, {:data, frame}} ->
        {:ok, answer} = frame(:read_frame, [frame])

        # A rejection has no ID if the helper could not start, or could not read the frame.
        if expected?.(answer) or match?({:refused, nil, _reason}, answer) or
             match?({:unreadable, _problem}, answer),
           do: answer,
           else: await(port, expected?)

      {^port, {:exit_status, status}} ->
        {:exited, status}

      {:EXIT, ^port, _reason} ->
        {:exited, :not_read}
    after
      @timeout -> :timed_out
    end
  end

  defp await_exit(port) do
    receive do
      {^port, {:data, _last_frame}} -> await_exit(port)
      {^port, {:exit_status, _status}} -> true
      {:EXIT, ^port, _reason} -> true
    after
      @timeout -> false
    end
  end

  defp ensure_exited({:exited, _status}, _program), do: :ok
  defp ensure_exited(_other, program), do: kill(program)

  # A helper that does not answer may have been stopped by a signal. This user cannot kill a helper that sudo runs;
  # it exits when its input is closed.
  defp kill(%__MODULE__{port: port, pid: pid}) do
    _ = pid && System.cmd("sh", ["-c", "kill -KILL #{pid}"], stderr_to_stdout: true)
    receive(do: ({^port, {:exit_status, _status}} -> :ok), after: (@kill_timeout -> :ok))
    _ = Port.info(port) && Port.close(port)
    :ok
  end

  defp failure(:timed_out, _program),
    do: Error.new(:helper, {:timed_out, %{timeout_ms: @timeout}})

  # If the helper was killed, sudo ends with the same signal.
  defp failure({:exited, status}, %{sudo: true, next: 1}) when not is_signal(status),
    do: Error.new(:helper, {:sudo, %{}})

  defp failure({:exited, status}, _program),
    do: Error.new(:helper, {:exited, %{reason: describe(status), times: 1}})

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
