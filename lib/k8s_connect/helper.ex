defmodule K8sConnect.Helper do
  @moduledoc false
  # The helper, a port program that may change what the kernel does with this user's connections
  # (native/helper), and what it was asked to do: one whole set, of all that sessions have claimed.
  #
  # It is started with the first claim and ended with the last. One that dies is started again and
  # given the whole set; after three deaths in a minute the claims are lost, and who made them gets
  # `{:redirects_lost, key, error}`. What a helper held in the kernel has gone with it each time.

  use GenServer

  alias K8sConnect.Error
  alias K8sConnect.Helper.Program

  # Root's, in folders of root's, and nobody else's to change: it may have a capability.
  @path "/usr/local/libexec/k8s_connect_helper"
  @deaths 3
  @minute 60_000

  defstruct program: nil, sudo: false, claims: [], deaths: []

  @type redirect :: {address :: String.t(), via :: :inet.port_number()}

  @doc """
  Where the helper is installed, if it is.
  """
  @spec path() :: String.t()
  def path, do: @path

  @spec installed?() :: boolean()
  def installed?, do: File.regular?(@path)

  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(_options), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @doc """
  Redirects the user's connections, until the calling process releases `key` or dies. Of two claims
  to one address the newer one counts while it lasts. With `sudo` the helper is run by `sudo`.
  """
  @spec claim(term(), [redirect()], boolean()) :: :ok | {:error, Error.t()}
  def claim(key, redirects, sudo) do
    GenServer.call(__MODULE__, {:claim, key, redirects, sudo}, :infinity)
  end

  @doc """
  Takes a claim back, and ends the helper with the last one; then nothing is left of either.
  """
  @spec release(term()) :: :ok
  def release(key), do: GenServer.call(__MODULE__, {:release, key}, :infinity)

  @impl true
  def init([]) do
    # `terminate/2` must run when the application stops.
    Process.flag(:trap_exit, true)
    {:ok, %__MODULE__{}}
  end

  # claims: the newest first, {key, owner, monitor, redirects}

  @impl true
  def handle_call({:claim, key, redirects, sudo}, {owner, _tag}, state) do
    claim = {key, owner, Process.monitor(owner), redirects}

    case apply_all(%{state | sudo: state.sudo or sudo, claims: [claim | state.claims]}) do
      {:ok, state} -> {:reply, :ok, state}
      {:error, error, state} -> {:reply, {:error, error}, without(state, key)}
    end
  end

  def handle_call({:release, key}, _from, state), do: {:reply, :ok, without(state, key)}

  @impl true
  def handle_info({:DOWN, _monitor, :process, owner, _reason}, state) do
    keys = for {key, ^owner, _monitor, _redirects} <- state.claims, do: key
    {:noreply, Enum.reduce(keys, state, &without(&2, &1))}
  end

  # Otherwise it is words that nobody has asked for, or late ones.
  def handle_info(message, state) do
    case Program.end_of(state.program, message) do
      nil -> {:noreply, state}
      words -> {:noreply, died(%{state | program: nil}, words)}
    end
  end

  @impl true
  def terminate(_reason, state), do: stop(state)

  defp without(state, key) do
    {gone, claims} = Enum.split_with(state.claims, &(elem(&1, 0) == key))
    for {_key, _owner, monitor, _redirects} <- gone, do: Process.demonitor(monitor, [:flush])
    state = %{state | claims: claims}
    if gone == [], do: state, else: settle(state)
  end

  # What there is to redirect is redirected, without a helper where that is nothing.
  defp settle(%{claims: []} = state), do: stop(state)

  defp settle(state) do
    case apply_all(state) do
      {:ok, state} -> state
      {:error, error, state} -> lose(state, error)
    end
  end

  defp apply_all(%{program: nil} = state) do
    case Program.start(state.sudo) do
      {:ok, program, %{unable: nil}} ->
        apply_all(%{state | program: program})

      {:ok, program, %{unable: reason}} ->
        Program.stop(program)
        {:error, Error.new(:helper, reason), state}

      {:error, error} ->
        {:error, error, state}
    end
  end

  defp apply_all(state) do
    set = for {_key, _owner, _monitor, redirects} <- state.claims, one <- redirects, do: one

    case Program.ask(state.program, :apply_frame, [Enum.uniq_by(set, &elem(&1, 0))]) do
      {:ok, _applied, program} -> {:ok, %{state | program: program}}
      {:refused, error, program} -> {:error, error, %{state | program: program}}
      {:gone, error} -> {:error, error, %{state | program: nil}}
    end
  end

  defp died(state, words) do
    now = System.monotonic_time(:millisecond)
    deaths = [now | Enum.filter(state.deaths, &(now - &1 < @minute))]

    if length(deaths) < @deaths do
      settle(%{state | deaths: deaths})
    else
      details = %{words: words, times: length(deaths)}
      lose(state, Error.new(:helper, {:died, details}))
    end
  end

  defp lose(state, error) do
    for {key, owner, monitor, _redirects} <- state.claims do
      Process.demonitor(monitor, [:flush])
      send(owner, {:redirects_lost, key, error})
    end

    stop(%{state | claims: []})
  end

  defp stop(state) do
    if state.program, do: Program.stop(state.program)
    %{state | program: nil, sudo: false, deaths: []}
  end
end
