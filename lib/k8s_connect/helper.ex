defmodule K8sConnect.Helper do
  @moduledoc false
  # The helper, a port program whose BPF programs redirect this user's connections (native/helper),
  # and the set of redirects that it is given: all that sessions have claimed.
  #
  # It is started with the first claim and ended with the last. One that dies, or does not answer, is
  # started again and given the whole set; after three deaths in a minute the claims are lost, and their
  # owners get `{:redirects_lost, key, error}`. What a helper held in the kernel has gone with it
  # each time. A claim that the helper refuses is lost alone; the others stay.

  use GenServer

  alias K8sConnect.Error
  alias K8sConnect.Helper.Program

  @deaths 3
  @minute 60_000

  defstruct program: nil, claims: [], deaths: [], error: nil

  @type redirect :: {address :: String.t(), via :: :inet.port_number()}

  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(_options), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @doc """
  Redirects the user's connections, until `key` is released or `owner` dies. Of two claims to one
  address the newer one counts while it lasts. With `sudo` the helper is run by `sudo`.
  """
  @spec claim(term(), pid(), [redirect()], boolean()) :: :ok | {:error, Error.t()}
  def claim(key, owner, redirects, sudo) do
    GenServer.call(__MODULE__, {:claim, key, owner, redirects, sudo}, :infinity)
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

  # claims: the newest first; error: why one was last lost

  @impl true
  def handle_call({:claim, key, owner, redirects, sudo}, _from, state) do
    monitor = Process.monitor(owner)
    claim = %{key: key, owner: owner, monitor: monitor, redirects: redirects, sudo: sudo}
    state = settle(%{state | claims: [claim | state.claims]}, [claim])
    {:reply, if(claim in state.claims, do: :ok, else: {:error, state.error}), state}
  end

  def handle_call({:release, key}, _from, state), do: {:reply, :ok, without(state, key)}

  @impl true
  def handle_info({:DOWN, _monitor, :process, owner, _reason}, state) do
    keys = for %{owner: ^owner, key: key} <- state.claims, do: key
    {:noreply, Enum.reduce(keys, state, &without(&2, &1))}
  end

  # Otherwise it is words that nobody has asked for, or late ones.
  def handle_info(message, state) do
    case Program.end_of(state.program, message) do
      nil -> {:noreply, state}
      words -> {:noreply, state |> died(death(words)) |> settle()}
    end
  end

  @impl true
  def terminate(_reason, state), do: stop(state)

  defp without(state, key) do
    {gone, claims} = Enum.split_with(state.claims, &(&1.key == key))
    for %{monitor: monitor} <- gone, do: Process.demonitor(monitor, [:flush])
    state = %{state | claims: claims}
    if gone == [], do: state, else: settle(state)
  end

  # Makes the kernel have what is claimed, without a helper where that is nothing. A claim that is
  # `new` does not wait for a second helper where the first does not answer.
  defp settle(state, new \\ [])
  defp settle(%{claims: []} = state, _new), do: stop(state)

  defp settle(%{program: nil} = state, new) do
    case Program.start(Enum.any?(state.claims, & &1.sudo)) do
      {:ok, program, _ready} ->
        settle(%{state | program: program}, new)

      {:error, error} ->
        lose(state, state.claims, error)
    end
  end

  defp settle(state, new) do
    set = Enum.flat_map(state.claims, & &1.redirects)

    case Program.ask(state.program, :apply_frame, [Enum.uniq_by(set, &elem(&1, 0))]) do
      {:ok, _applied, program} ->
        %{state | program: program}

      {:refused, error, program} ->
        state = %{state | program: program}
        state |> lose(refused(state.claims, error), error) |> settle(new)

      {:gone, %Error{reason: {:silent, _details}} = error} ->
        state |> lose(new, error) |> died(error) |> settle()

      {:gone, error} ->
        state |> died(error) |> settle(new)
    end
  end

  # The claims that a refusal is about: it names an address or a port, or it is about all of them.
  defp refused(claims, %Error{reason: {_kind, details}}) do
    named = fn {to, via} ->
      details[:to] == to or details[:via] == via or String.starts_with?(to, "#{details[:to]}:") or
        String.starts_with?(to, "[#{details[:to]}]:")
    end

    case Enum.filter(claims, &Enum.any?(&1.redirects, named)) do
      [] -> claims
      some -> some
    end
  end

  defp died(state, error) do
    now = System.monotonic_time(:millisecond)
    deaths = [now | Enum.filter(state.deaths, &(now - &1 < @minute))]
    state = %{state | program: nil, deaths: deaths}

    if length(deaths) < @deaths,
      do: state,
      else: lose(state, state.claims, again(error, length(deaths)))
  end

  defp death(words), do: Error.new(:helper, {:died, %{words: words, times: 1}})

  defp again(%Error{reason: {:died, details}}, times),
    do: Error.new(:helper, {:died, %{details | times: times}})

  defp again(error, _times), do: error

  defp lose(state, claims, error) do
    for %{key: key, owner: owner, monitor: monitor} <- claims do
      Process.demonitor(monitor, [:flush])
      send(owner, {:redirects_lost, key, error})
    end

    %{state | claims: state.claims -- claims, error: error}
  end

  defp stop(state) do
    if state.program, do: Program.stop(state.program)
    %{state | program: nil, deaths: []}
  end
end
