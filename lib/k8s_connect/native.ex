defmodule K8sConnect.Native do
  @moduledoc false
  # One stub for each function of native/nif. A function with a reference returns `:ok` at once. Its task sends
  # `{reference, result}` to the caller exactly once, even if it crashes.
  #
  # There is no `@on_load`: an embedded release loads every module at boot, and an application with this
  # dependency must boot without the native library. The first call loads the library.

  import Bitwise

  alias K8sConnect.{Error, Temporary}

  @typedoc "A port-forward connection to a pod. It closes when the process that attached it exits."
  @type pod_connection :: reference()

  @doc """
  Calls a native function that takes a reference, and waits for its result. The native side enforces the
  timeouts.
  """
  @spec call(atom(), [term()]) :: {:ok, term()} | {:error, Error.t()}
  def call(function, arguments) do
    reference = make_ref()

    with :ok <- start(function, [reference | arguments]) do
      receive do
        {^reference, {:ok, value}} -> {:ok, value}
        {^reference, {:error, {stage, reason}}} -> {:error, Error.new(stage, reason)}
      end
    end
  end

  @doc """
  Loads the library and returns its path.
  """
  @spec library() :: {:ok, Path.t()} | {:error, Error.t()}
  def library, do: with(:ok <- load(), do: {:ok, library_path() <> ".so"})

  @doc """
  Whether the routes that need Linux can be used. `K8S_CONNECT_PORTABLE` makes Linux behave like other systems, for
  tests.
  """
  @spec linux?() :: boolean()
  def linux?,
    do: :os.type() == {:unix, :linux} and System.get_env("K8S_CONNECT_PORTABLE") == nil

  @doc """
  The path of a program of this build. `mix archive.install` does not keep the permission to execute it.
  """
  @spec program(String.t()) :: Path.t()
  def program(name) do
    path = Path.join([:code.priv_dir(:k8s_connect), "native", name])

    # If that fails, so does the start of the program, with an error of its own.
    with {:ok, %{mode: mode}} when (mode &&& 0o100) == 0 <- File.stat(path),
         do: File.chmod(path, mode ||| 0o755)

    path
  end

  @doc """
  Adds the environment to the options of the API server. Each call passes it, because a NIF does not see
  `System.put_env/2`, and because no process should keep its secrets.
  """
  @spec with_environment(map()) :: map()
  def with_environment(options) do
    # OTP returns it as lists of characters.
    Map.put(options, :environment, Temporary.run(&System.get_env/0))
  end

  @spec list_pods(reference(), map(), map()) :: :ok
  def list_pods(_reference, _options, _query), do: :erlang.nif_error(:nif_not_loaded)

  @spec resolve(reference(), map()) :: :ok
  def resolve(_reference, _options), do: :erlang.nif_error(:nif_not_loaded)

  @spec attach(reference(), map(), map()) :: :ok
  def attach(_reference, _options, _target), do: :erlang.nif_error(:nif_not_loaded)

  @spec reattach(reference(), pod_connection()) :: :ok
  def reattach(_reference, _pod_connection), do: :erlang.nif_error(:nif_not_loaded)

  @spec watch(reference(), map(), map()) :: :ok
  def watch(_reference, _options, _target), do: :erlang.nif_error(:nif_not_loaded)

  @typedoc """
  What the connections of one session share that do not trust the pod. Without a guard the pod is trusted.
  """
  @type guard :: reference()

  @spec guard(
          atoms :: pos_integer(),
          message :: pos_integer(),
          calls :: [String.t()] | nil,
          audit :: {file :: String.t(), arguments :: boolean()} | nil
        ) :: {:ok, guard()} | {:error, {atom(), {atom(), map()}}}
  def guard(_atoms, _message, _calls, _audit), do: :erlang.nif_error(:nif_not_loaded)

  @spec servers(pids :: binary()) :: :ok
  def servers(_pids), do: :erlang.nif_error(:nif_not_loaded)

  @spec add_server(pid :: binary()) :: :ok
  def add_server(_pid), do: :erlang.nif_error(:nif_not_loaded)

  @spec guard_events(reference(), guard()) :: :ok
  def guard_events(_reference, _guard), do: :erlang.nif_error(:nif_not_loaded)

  @spec guard_counts(guard()) :: [{kind :: atom(), pos_integer()}]
  def guard_counts(_guard), do: :erlang.nif_error(:nif_not_loaded)

  @spec guard_failure(guard()) :: :ok | {:error, {atom(), {atom(), map()}}}
  def guard_failure(_guard), do: :erlang.nif_error(:nif_not_loaded)

  @spec guard_judge(guard(), pid :: binary()) :: boolean()
  def guard_judge(_guard, _pid), do: :erlang.nif_error(:nif_not_loaded)

  @spec dial(
          reference(),
          pod_connection(),
          String.t(),
          linux :: boolean(),
          guard() | nil,
          cookies()
        ) :: :ok
  def dial(_reference, _pod_connection, _directory, _linux, _guard, _cookies),
    do: :erlang.nif_error(:nif_not_loaded)

  @typedoc "That of the node, and that which this VM has for it."
  @type cookies :: {node :: binary(), local :: String.t()}

  @doc """
  The cookie that this VM has for the name of a node in a pod. No pod and no other machine knows it.
  """
  @spec local_cookie(String.t()) :: String.t()
  def local_cookie(_node), do: :erlang.nif_error(:nif_not_loaded)

  @doc """
  A text that nobody can guess.
  """
  @spec secret() :: String.t()
  def secret, do: :erlang.nif_error(:nif_not_loaded)

  @spec rejection(reference(), pod_connection(), String.t()) :: :ok
  def rejection(_reference, _pod_connection, _name), do: :erlang.nif_error(:nif_not_loaded)

  @spec closed(reference(), pod_connection()) :: :ok
  def closed(_reference, _pod_connection), do: :erlang.nif_error(:nif_not_loaded)

  @spec close(pod_connection()) :: :ok
  def close(_pod_connection), do: :erlang.nif_error(:nif_not_loaded)

  @typedoc "Two loopback ports that forward to a pod. They close when their owner exits."
  @type listener :: reference()

  @spec listen(
          reference(),
          pod_connection(),
          owner :: pid(),
          guard() | nil,
          visible :: boolean(),
          cookies() | nil
        ) :: :ok
  def listen(_reference, _pod_connection, _owner, _guard, _visible, _cookies),
    do: :erlang.nif_error(:nif_not_loaded)

  @spec unlisten(listener()) :: :ok
  def unlisten(_listener), do: :erlang.nif_error(:nif_not_loaded)

  @spec refused(listener()) :: non_neg_integer()
  def refused(_listener), do: :erlang.nif_error(:nif_not_loaded)

  @typedoc "A command on the terminal of this BEAM. It ends when the process that started it exits."
  @type command :: reference()

  @spec exec(reference(), map()) :: :ok
  def exec(_reference, _options), do: :erlang.nif_error(:nif_not_loaded)

  @spec exec_ended(reference(), command()) :: :ok
  def exec_ended(_reference, _command), do: :erlang.nif_error(:nif_not_loaded)

  @spec exec_write(reference(), command(), binary()) :: :ok
  def exec_write(_reference, _command, _bytes), do: :erlang.nif_error(:nif_not_loaded)

  @spec exec_close_input(reference(), command()) :: :ok
  def exec_close_input(_reference, _command), do: :erlang.nif_error(:nif_not_loaded)

  @spec exec_end(command()) :: :ok
  def exec_end(_command), do: :erlang.nif_error(:nif_not_loaded)

  # Frames of the helper's protocol

  @spec hello_frame(non_neg_integer()) :: binary()
  def hello_frame(_pid), do: :erlang.nif_error(:nif_not_loaded)

  @spec apply_frame(non_neg_integer(), [{String.t(), :inet.port_number()}]) :: binary()
  def apply_frame(_id, _redirects), do: :erlang.nif_error(:nif_not_loaded)

  @spec status_frame(non_neg_integer()) :: binary()
  def status_frame(_id), do: :erlang.nif_error(:nif_not_loaded)

  @spec stop_frame(non_neg_integer()) :: binary()
  def stop_frame(_id), do: :erlang.nif_error(:nif_not_loaded)

  @spec read_frame(binary()) :: tuple()
  def read_frame(_frame), do: :erlang.nif_error(:nif_not_loaded)

  # Diagnosis

  @typedoc "A cluster under diagnosis."
  @type diagnosis :: reference()
  @typedoc "A pod of that cluster."
  @type diagnosed_pod :: reference()
  @typedoc "A port-forward connection to that pod."
  @type diagnosed_port_forward :: reference()

  @spec diagnose(reference(), map()) :: :ok
  def diagnose(_reference, _options), do: :erlang.nif_error(:nif_not_loaded)

  @spec diagnose_server(reference(), diagnosis()) :: :ok
  def diagnose_server(_reference, _diagnosis), do: :erlang.nif_error(:nif_not_loaded)

  @spec diagnose_user(reference(), diagnosis()) :: :ok
  def diagnose_user(_reference, _diagnosis), do: :erlang.nif_error(:nif_not_loaded)

  @spec diagnose_permissions(
          reference(),
          diagnosis(),
          [{verb :: String.t(), resource :: String.t(), name :: String.t() | nil}]
        ) :: :ok
  def diagnose_permissions(_reference, _diagnosis, _permissions),
    do: :erlang.nif_error(:nif_not_loaded)

  @spec diagnose_pod(reference(), diagnosis(), map()) :: :ok
  def diagnose_pod(_reference, _diagnosis, _target), do: :erlang.nif_error(:nif_not_loaded)

  @spec diagnose_port_forward(reference(), diagnosed_pod(), map()) :: :ok
  def diagnose_port_forward(_reference, _pod, _target), do: :erlang.nif_error(:nif_not_loaded)

  @spec diagnose_epmd(reference(), diagnosed_port_forward()) :: :ok
  def diagnose_epmd(_reference, _port_forward), do: :erlang.nif_error(:nif_not_loaded)

  @spec diagnose_node(reference(), diagnosed_port_forward(), map()) :: :ok
  def diagnose_node(_reference, _port_forward, _target), do: :erlang.nif_error(:nif_not_loaded)

  @spec cookie(pod_connection()) :: binary() | nil
  def cookie(_pod_connection), do: :erlang.nif_error(:nif_not_loaded)

  @doc """
  Calls a native function. The first call loads the library.
  """
  @spec start(atom(), [term()]) :: term() | {:error, Error.t()}
  def start(function, arguments) do
    apply(__MODULE__, function, arguments)
  catch
    :error, :nif_not_loaded ->
      with :ok <- load(), do: start(function, arguments)

    :error, reason ->
      :erlang.raise(:error, reason, Enum.map(__STACKTRACE__, &without_arguments/1))
  end

  # A crash report shows the arguments of the failed call, and the environment has secrets.
  defp without_arguments({module, function, arguments, location}) when is_list(arguments),
    do: {module, function, length(arguments), location}

  defp without_arguments(entry), do: entry

  defp load do
    path = library_path()

    case :erlang.load_nif(String.to_charlist(path), 0) do
      :ok ->
        :ok

      # Another process was faster.
      {:error, {:reload, _text}} ->
        :ok

      # The module was loaded again. The library can be loaded once nothing runs the old version.
      {:error, {:upgrade, _text}} ->
        if :code.soft_purge(__MODULE__),
          do: load(),
          else: {:error, Error.new(:native, {:in_use, %{path: path <> ".so"}})}

      {:error, {kind, text}} ->
        {:error, Error.new(:native, {:not_loaded, details(path, kind, text)})}
    end
  end

  defp library_path, do: Path.join([:code.priv_dir(:k8s_connect), "native", "k8s_connect_nif"])

  defp details(path, kind, text), do: %{path: path <> ".so", problem: "#{text} (#{kind})"}
end
