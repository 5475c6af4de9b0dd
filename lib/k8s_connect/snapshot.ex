defmodule K8sConnect.Snapshot do
  @moduledoc """
  What a node does at one moment: memory, run queues, limits, its busiest processes and its largest ETS tables.

      iex> {:ok, snapshot} = K8sConnect.Snapshot.take(connection.node, sort: :memory, limit: 3)
      iex> for process <- snapshot.processes, do: {process.name, process.memory}
      [{":code_server", 427_112}, {"MyApp.Cache", 318_504}, {":application_controller", 264_072}]

  `mix k8s.observer` shows it. Nothing on the node is changed. See the guide [Observer](observer.md) for what a snapshot
  costs the node.

  ## Fields

    * `:node`, `:otp_release`, `:erts` - the name of the node, and its versions
    * `:uptime_ms` - since the start of the node, in milliseconds
    * `:window_ms` - the time in which changes were measured, in milliseconds
    * `:cost_ms` - how long a process on the node worked for the snapshot, in milliseconds
    * `:schedulers` - `:total`, `:online`, `:dirty_cpu` and `:dirty_io`
    * `:utilization` - how busy each scheduler was, from 0.0 to 1.0, or `nil` if the flag `scheduler_wall_time` is off
      on the node. `take/2` does not set it
    * `:cpu` - the CPU time of the operating system process for each second of the window: 1.0 is one core. `nil` if
      the node does not run on Linux
    * `:run_queues` - processes and ports that are ready to run: `:normal`, a list with a number for each scheduler,
      `:dirty_cpu` and `:dirty_io`
    * `:memory` - in bytes, by kind: `:total`, `:processes`, `:binary`, `:ets`, `:code`, `:atom` and `:system`, as in
      `:erlang.memory/0`
    * `:io` - `:in` and `:out`, in bytes for each second, through ports
    * `:garbage_collections` - for each second
    * `:limits` - `:processes`, `:ports`, `:atoms` and `:ets_tables`, each with its `:count` and its `:limit`
    * `:sort` - the sort key of `:processes`
    * `:processes` - a list of `t:process/0`, largest first
    * `:tables` - a list of `t:table/0`, largest first
    * `:applications` - the started applications: `:name`, `:description` and `:version`
  """

  alias K8sConnect.Error
  alias K8sConnect.Snapshot.{Answer, Remote}

  @enforce_keys [:node, :sort]
  defstruct @enforce_keys ++
              [:otp_release, :erts, :uptime_ms, :window_ms, :cost_ms, :schedulers, :utilization] ++
              [:cpu, :run_queues, :memory, :io, :garbage_collections, :limits] ++
              [processes: [], tables: [], applications: []]

  @type t :: %__MODULE__{}

  @typedoc """
  A process:

    * `:pid`, and `:name` - its registered name or else its initial call, as text
    * `:reductions` - for each second of the window; processes that started later or ended earlier are left out
    * `:memory` - in bytes
    * `:messages` - the length of the message queue
    * `:status` - such as `:waiting`
    * `:current_function` - as text
  """
  @type process :: %{
          pid: pid(),
          name: String.t(),
          reductions: non_neg_integer(),
          memory: non_neg_integer(),
          messages: non_neg_integer(),
          status: atom(),
          current_function: String.t()
        }

  @typedoc """
  An ETS table: `:name`, `:memory` in bytes, `:size` in objects, `:type`, `:protection` and the `:owner`.
  """
  @type table :: %{
          name: String.t(),
          memory: non_neg_integer(),
          size: non_neg_integer(),
          type: atom(),
          protection: atom(),
          owner: pid()
        }

  @type sort :: :reductions | :memory | :messages

  @sorts [:reductions, :memory, :messages]

  @doc """
  Takes a snapshot of a connected node.

  ## Options

    * `:sort` - which processes are shown: those with the most `:reductions` in the window (the default), the most
      `:memory`, or the most `:messages` in their queue.
    * `:limit` - how many processes and tables are shown, from 1 to 1000; by default 50.
    * `:window` - the time in which changes are measured, in milliseconds, from 10 to 60 000; by default 1000. The
      call takes this long.
    * `:tables` - `false` leaves `:tables` empty, which is cheaper.
    * `:timeout` - how long to wait for the node after the window, in milliseconds; by default 30 000.

  ## Errors

  `{:error, error}` with a `K8sConnect.Error`; a connection with `read_only: true` does not allow it. Raises
  `ArgumentError` for invalid options.
  """
  @spec take(node(), keyword()) :: {:ok, t()} | {:error, Error.t()}
  def take(node, options \\ []) do
    options = options!(options)

    variables = [
      Sort: if(options[:sort] == :messages, do: :message_queue_len, else: options[:sort]),
      Limit: options[:limit],
      Window: options[:window],
      WithTables: options[:tables]
    ]

    timeout = options[:window] + options[:timeout]

    with {:ok, answer} <- Remote.evaluate(node, :snapshot, variables, timeout) do
      case Answer.snapshot(answer, node, options) do
        {:ok, fields} -> {:ok, struct!(__MODULE__, fields)}
        :error -> malformed(node)
      end
    end
  end

  @doc """
  Returns what one process does, or `nil` if it has ended: the fields of `t:process/0`, with `:reductions` counted since
  its start, and

    * `:stack` - its stack trace, as a list of texts
    * `:links`, `:monitors`, `:monitored_by` - each a map with a `:count`, and the first 50 as texts in `:first`
    * `:heap`, `:stack_size` - in bytes
    * `:priority`, `:trap_exit`, `:group_leader`, `:initial_call`

  Messages, the process dictionary and the state are not read.
  """
  @spec process(node(), pid(), timeout()) :: {:ok, map() | nil} | {:error, Error.t()}
  def process(node, pid, timeout \\ 30_000) do
    with {:ok, answer} <- Remote.evaluate(node, :process, [Pid: pid, Limit: 50], timeout),
         :error <- Answer.process(answer, pid),
         do: malformed(node)
  end

  defp malformed(node), do: Remote.failed(node, "its answer is malformed")

  @doc """
  The snapshot as plain data for JSON: the same fields, with pids as text, as `pid/1` returns them.
  """
  @spec to_map(t()) :: map()
  def to_map(%__MODULE__{} = snapshot) do
    snapshot
    |> Map.from_struct()
    |> Map.update!(:processes, &for(row <- &1, do: %{row | pid: pid(row.pid)}))
    |> Map.update!(:tables, &for(row <- &1, do: %{row | owner: pid(row.owner)}))
  end

  @doc """
  A pid as its own node writes it: `"<0.42.0>"`.
  """
  @spec pid(pid()) :: String.t()
  defdelegate pid(pid), to: Answer

  defp options!(options) do
    defaults = [sort: :reductions, limit: 50, window: 1000, tables: true, timeout: 30_000]
    options = Keyword.validate!(options, defaults)

    for {name, valid?, expected} <- [
          {:sort, options[:sort] in @sorts, inspect(@sorts)},
          {:limit, options[:limit] in 1..1000, "a number from 1 to 1000"},
          {:window, options[:window] in 10..60_000, "a number from 10 to 60000"},
          {:tables, is_boolean(options[:tables]), "a boolean"},
          {:timeout, is_integer(options[:timeout]) and options[:timeout] >= 0, "milliseconds"}
        ],
        not valid? do
      raise ArgumentError,
            "invalid value for #{inspect(name)}: expected #{expected}, got: #{inspect(options[name])}"
    end

    options
  end
end
