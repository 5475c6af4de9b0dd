defmodule K8sConnect.Servers do
  @moduledoc false
  # The processes of OTP, of Elixir and of this library. A pod may answer them, but has no reason to send them anything
  # else, and no list has every command that they handle. The guards of all sessions share one list.
  #
  # Making the list is a scan of all processes of the VM. So a connect makes it only if the last one is older than a tenth
  # of a second, and otherwise adds its session. After that time the list is made again, with what has started since.

  use GenServer

  alias K8sConnect.{Error, Native}

  @kept {__MODULE__, :kept}
  @interval 100

  @applications [:kernel, :stdlib, :compiler, :sasl, :os_mon, :runtime_tools, :tools] ++
                  [:crypto, :asn1, :public_key, :ssl, :ssh, :inets, :mnesia, :syntax_tools] ++
                  [:elixir, :eex, :logger, :ex_unit, :iex, :mix, :hex, :k8s_connect]

  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(_options), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @doc """
  Adds `pid` to the list. It is a process of this library, maybe in a supervision tree of the user, and is in every
  `Connection`, which code may give to a pod. Returns when all guards have it.
  """
  @spec add(pid()) :: :ok | {:error, Error.t()}
  def add(pid), do: pid |> start_adding() |> await()

  @doc """
  Starts `add/1`, which another process does.
  """
  @spec start_adding(pid()) :: :gen_server.request_id()
  def start_adding(pid), do: :gen_server.send_request(__MODULE__, {:add, pid})

  @doc """
  Waits for `start_adding/1`.
  """
  @spec await(:gen_server.request_id()) :: :ok | {:error, Error.t()}
  def await(request) do
    case :gen_server.wait_response(request, :infinity) do
      {:reply, result} -> result
      {:error, {reason, _server}} -> exit(reason)
    end
  end

  @doc """
  Makes the list now: many processes have started.
  """
  @spec share() :: :ok | {:error, Error.t()}
  def share, do: GenServer.call(__MODULE__, :share, :infinity)

  # added: pid => monitor. timer: of the last list, until the next. due?: whether there are new processes since.

  @impl true
  def init([]) do
    # `terminate/2` must run when the application stops.
    Process.flag(:trap_exit, true)
    kept = :persistent_term.get(@kept, [])
    _ = :persistent_term.erase(@kept)
    state = %{before: before_applications(), added: %{}, timer: nil, due?: false}
    {:ok, Enum.reduce(kept, state, &monitor/2), {:continue, kept}}
  end

  @impl true
  def handle_continue([], state), do: {:noreply, state}

  def handle_continue(_kept, state) do
    {_result, state} = make(state)
    {:noreply, state, :hibernate}
  end

  @impl true
  def handle_call({:add, pid}, _from, state) do
    state = %{monitor(pid, state) | due?: true}

    if state.timer,
      do: {:reply, Native.start(:add_server, [:erlang.term_to_binary(pid)]), state},
      else: reply(make(state))
  end

  def handle_call(:share, _from, state) do
    _ = state.timer && Process.cancel_timer(state.timer)
    reply(make(state))
  end

  @impl true
  def handle_info(:interval_over, %{due?: false} = state), do: {:noreply, %{state | timer: nil}}

  def handle_info(:interval_over, state) do
    {_result, state} = make(%{state | due?: false})
    {:noreply, state, :hibernate}
  end

  def handle_info({:DOWN, _monitor, :process, pid, _reason}, state),
    do: {:noreply, %{state | added: Map.delete(state.added, pid)}}

  def handle_info(_other, state), do: {:noreply, state}

  # Processes in supervision trees of the user outlive the application.
  @impl true
  def terminate(_reason, %{added: added}) do
    case added |> Map.keys() |> Enum.filter(&Process.alive?/1) do
      [] -> :ok
      pids -> :persistent_term.put(@kept, pids)
    end
  end

  defp monitor(pid, state),
    do: %{state | added: Map.put_new_lazy(state.added, pid, fn -> Process.monitor(pid) end)}

  defp reply({result, state}), do: {:reply, result, state, :hibernate}

  defp make(state) do
    result = Native.start(:servers, [:erlang.term_to_binary(pids(state))])
    timer = if result == :ok, do: Process.send_after(self(), :interval_over, @interval)
    {result, %{state | timer: timer}}
  end

  # Those that the VM has started before any application, those of these applications, and those that are added.
  defp pids(%{before: before, added: added}) do
    # The processes of an application have its master as group leader.
    masters = Map.new(@applications, &{:application_controller.get_master(&1), &1})

    of_applications =
      Enum.filter(Process.list(), fn pid ->
        case :erlang.process_info(pid, :group_leader) do
          {:group_leader, leader} -> is_map_key(masters, leader) and not is_map_key(added, pid)
          :undefined -> false
        end
      end)

    before ++ Map.keys(added) ++ of_applications
  end

  defp before_applications do
    first = number(Process.whereis(:application_controller))
    Enum.filter(Process.list(), &(number(&1) <= first))
  end

  defp number(pid) do
    # NEW_PID_EXT ends like this: https://www.erlang.org/doc/apps/erts/erl_ext_dist.html#new_pid_ext
    binary = :erlang.term_to_binary(pid)
    <<id::32, serial::32, _creation::32>> = binary_part(binary, byte_size(binary), -12)
    {serial, id}
  end
end
