defmodule K8sConnect.Native do
  @moduledoc false
  # The functions of native/nif, one stub each. They answer `:ok` at once and send
  # `{reference, result}` to the caller, once, whatever happens to the work.
  #
  # There is no `@on_load`: an embedded release loads every module at boot, and an application
  # that only has us as a dependency must boot without the library. The first call loads it.

  alias K8sConnect.Error

  @typedoc "A link to a pod; it ends with the process that has attached it."
  @type session :: reference()

  @doc """
  Calls a native function that takes a reference, and waits for its result. The native side keeps
  the time limits.
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
  Loads the library, and says from where.
  """
  @spec library() :: {:ok, Path.t()} | {:error, Error.t()}
  def library, do: with(:ok <- load(), do: {:ok, library_path() <> ".so"})

  @doc """
  The options of the API server as the native side takes them. The environment goes with each call:
  a NIF does not see `System.put_env/2`, and there are secrets in it that no process should keep.
  """
  @spec with_environment(map()) :: map()
  def with_environment(options), do: Map.put(options, :environment, System.get_env())

  @spec list_pods(reference(), map()) :: :ok
  def list_pods(_reference, _options), do: :erlang.nif_error(:nif_not_loaded)

  @spec resolve(reference(), map()) :: :ok
  def resolve(_reference, _options), do: :erlang.nif_error(:nif_not_loaded)

  @spec attach(reference(), map(), map()) :: :ok
  def attach(_reference, _options, _target), do: :erlang.nif_error(:nif_not_loaded)

  @spec reattach(reference(), session()) :: :ok
  def reattach(_reference, _session), do: :erlang.nif_error(:nif_not_loaded)

  @spec watch(reference(), map(), map()) :: :ok
  def watch(_reference, _options, _target), do: :erlang.nif_error(:nif_not_loaded)

  @spec dial(reference(), session(), String.t()) :: :ok
  def dial(_reference, _session, _directory), do: :erlang.nif_error(:nif_not_loaded)

  @spec refusal(reference(), session(), String.t()) :: :ok
  def refusal(_reference, _session, _name), do: :erlang.nif_error(:nif_not_loaded)

  @spec closed(reference(), session()) :: :ok
  def closed(_reference, _session), do: :erlang.nif_error(:nif_not_loaded)

  @spec close(session()) :: :ok
  def close(_session), do: :erlang.nif_error(:nif_not_loaded)

  @typedoc "Two ports on the loopback that lead to a pod; they close with their owner."
  @type listener :: reference()

  @spec listen(reference(), session(), owner :: pid(), visible :: boolean()) :: :ok
  def listen(_reference, _session, _owner, _visible), do: :erlang.nif_error(:nif_not_loaded)

  @spec unlisten(listener()) :: :ok
  def unlisten(_listener), do: :erlang.nif_error(:nif_not_loaded)

  @spec refused(listener()) :: non_neg_integer()
  def refused(_listener), do: :erlang.nif_error(:nif_not_loaded)

  @typedoc "A command that runs on this BEAM's terminal; it ends with the process that has started it."
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

  # The helper's frames

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

  # A doctor's questions

  @typedoc "A cluster, a pod of it, and a link to that, as a doctor has asked for them."
  @type survey :: reference()
  @type surveyed_pod :: reference()
  @type surveyed_link :: reference()

  @spec survey(reference(), map()) :: :ok
  def survey(_reference, _options), do: :erlang.nif_error(:nif_not_loaded)

  @spec survey_server(reference(), survey()) :: :ok
  def survey_server(_reference, _survey), do: :erlang.nif_error(:nif_not_loaded)

  @spec survey_user(reference(), survey()) :: :ok
  def survey_user(_reference, _survey), do: :erlang.nif_error(:nif_not_loaded)

  @spec survey_rights(reference(), survey(), [{String.t(), String.t(), String.t() | nil}]) :: :ok
  def survey_rights(_reference, _survey, _rights), do: :erlang.nif_error(:nif_not_loaded)

  @spec survey_pod(reference(), survey(), map()) :: :ok
  def survey_pod(_reference, _survey, _target), do: :erlang.nif_error(:nif_not_loaded)

  @spec survey_link(reference(), surveyed_pod(), map()) :: :ok
  def survey_link(_reference, _pod, _target), do: :erlang.nif_error(:nif_not_loaded)

  @spec survey_epmd(reference(), surveyed_link()) :: :ok
  def survey_epmd(_reference, _link), do: :erlang.nif_error(:nif_not_loaded)

  @spec survey_node(reference(), surveyed_link(), map()) :: :ok
  def survey_node(_reference, _link, _target), do: :erlang.nif_error(:nif_not_loaded)

  @spec cookie(session()) :: binary() | nil
  def cookie(_session), do: :erlang.nif_error(:nif_not_loaded)

  @doc """
  Calls a native function, and loads the library if that has not been done.
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

  # A report shows what a failed function was called with, and there are secrets in the environment.
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

      {:error, {kind, text}} ->
        {:error, Error.new(:native, {:not_loaded, details(path, kind, text)})}
    end
  end

  defp library_path, do: Path.join([:code.priv_dir(:k8s_connect), "native", "k8s_connect_nif"])

  defp details(path, kind, text), do: %{path: path <> ".so", problem: "#{text} (#{kind})"}
end
