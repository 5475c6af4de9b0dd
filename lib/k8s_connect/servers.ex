defmodule K8sConnect.Servers do
  @moduledoc false
  # The processes of OTP, of Elixir and of this library. A pod may answer them, but has no reason to send them anything
  # else, and no list has every command that they handle.

  alias K8sConnect.{Error, Native, Temporary}

  @table __MODULE__
  @kept {__MODULE__, :kept}

  @applications [:kernel, :stdlib, :compiler, :sasl, :os_mon, :runtime_tools, :tools] ++
                  [:crypto, :asn1, :public_key, :ssl, :ssh, :inets, :mnesia, :syntax_tools] ++
                  [:elixir, :eex, :logger, :ex_unit, :iex, :mix, :hex, :k8s_connect]

  @doc """
  The calling process owns the table of `add/0`, with what `keep/0` has kept.
  """
  @spec new() :: :ok
  def new do
    @table = :ets.new(@table, [:named_table, :public])
    true = :ets.insert(@table, for(pid <- before_applications(), do: {pid, :before}))
    true = :ets.insert(@table, :persistent_term.get(@kept, []))
    _ = :persistent_term.erase(@kept)
    :ok
  end

  @doc """
  Keeps the processes in supervision trees of the user for the next start of the application. They outlive its end.
  """
  @spec keep() :: :ok
  def keep do
    case added() do
      [] -> :ok
      entries -> :persistent_term.put(@kept, entries)
    end
  end

  @doc """
  The calling process is one of this library, maybe in a supervision tree of the user. Its pid is in every `Connection`,
  which code may give to a pod.
  """
  @spec add() :: :ok
  def add do
    true = :ets.insert(@table, {self(), :added})
    :ok
  end

  @doc """
  Sends the current list to the guards of all sessions.
  """
  @spec share() :: :ok | {:error, Error.t()}
  def share, do: await(start_sharing())

  @doc """
  Starts `share/0` in another process.
  """
  @spec start_sharing() :: {pid(), reference()}
  def start_sharing do
    # Of two lists that are made at the same time, the later one counts.
    order = System.unique_integer([:monotonic])
    Temporary.start(fn -> Native.start(:servers, [order, :erlang.term_to_binary(pids())]) end)
  end

  @doc """
  Waits for `start_sharing/0`.
  """
  @spec await({pid(), reference()} | nil) :: :ok | {:error, Error.t()}
  def await(nil), do: :ok
  def await(sharing), do: Temporary.await(sharing)

  @doc """
  Shares the list after a restart of the application, if sessions have outlived it.
  """
  @spec restarted() :: :ok | {:error, Error.t()}
  def restarted, do: if(added() == [], do: :ok, else: share())

  @doc """
  The processes that are there now, some of them twice: those of these applications, those that have called `add/0`,
  and those that the VM has started before any application.
  """
  @spec pids() :: [pid()]
  def pids do
    # The processes of an application have its master as group leader.
    masters = Map.new(@applications, &{:application_controller.get_master(&1), &1})

    of_applications =
      Enum.filter(Process.list(), fn pid ->
        case :erlang.process_info(pid, :group_leader) do
          {:group_leader, leader} -> is_map_key(masters, leader)
          :undefined -> false
        end
      end)

    for({pid, _since} <- entries(), do: pid) ++ of_applications
  end

  defp before_applications do
    first = number(Process.whereis(:application_controller))
    Enum.filter(Process.list(), &(number(&1) <= first))
  end

  defp added, do: for({_pid, :added} = entry <- entries(), do: entry)

  defp entries do
    {alive, dead} =
      @table |> :ets.tab2list() |> Enum.split_with(fn {pid, _since} -> Process.alive?(pid) end)

    Enum.each(dead, fn {pid, _since} -> :ets.delete(@table, pid) end)
    alive
  rescue
    # The table ends with the application, which a session in a supervision tree of the user outlives.
    ArgumentError -> []
  end

  defp number(pid) do
    # NEW_PID_EXT ends like this: https://www.erlang.org/doc/apps/erts/erl_ext_dist.html#new_pid_ext
    binary = :erlang.term_to_binary(pid)
    <<id::32, serial::32, _creation::32>> = binary_part(binary, byte_size(binary), -12)
    {serial, id}
  end
end
