defmodule K8sConnect.Helper do
  @moduledoc false
  # Runs the helper (native/helper), a port program whose BPF programs redirect this user's connections, and keeps
  # the redirects that sessions claim.
  #
  # The first claim starts the helper, and the release of the last claim stops it. If the helper exits or times out,
  # this process restarts it with all claims; the kernel has removed the redirects of the old helper. After three
  # exits within a minute, all claims are lost, and each owner receives `{:redirects_lost, key, error}`. If the helper
  # rejects one claim, only that claim is lost.

  use GenServer

  alias K8sConnect.Error
  alias K8sConnect.Helper.Program

  @max_exits 3
  @minute 60_000

  defstruct program: nil, claims: [], exits: [], error: nil

  @type redirect :: {address :: String.t(), via :: :inet.port_number()}

  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(_options), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @doc """
  Redirects the user's connections until `key` is released or `owner` exits. If two claims have the same address,
  the newer claim applies. If `sudo` is true, the helper is started with sudo.
  """
  @spec claim(term(), pid(), [redirect()], boolean()) :: :ok | {:error, Error.t()}
  def claim(key, owner, redirects, sudo) do
    GenServer.call(__MODULE__, {:claim, key, owner, redirects, sudo}, :infinity)
  end

  @doc """
  Releases a claim and removes its redirects. Stops the helper if no claim is left.
  """
  @spec release(term()) :: :ok
  def release(key), do: GenServer.call(__MODULE__, {:release, key}, :infinity)

  @impl true
  def init([]) do
    # `terminate/2` must run when the application stops.
    Process.flag(:trap_exit, true)
    {:ok, %__MODULE__{}}
  end

  # claims: newest first; error: the error of the last lost claim

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

  # Any other message is a frame that arrived after its timeout.
  def handle_info(message, state) do
    case Program.exit_reason(state.program, message) do
      nil -> {:noreply, state}
      reason -> {:noreply, state |> exited(exit_error(reason)) |> settle()}
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

  # Sends all claims to the helper, which runs only while there are claims. A `new` claim fails if the helper times
  # out, because its caller should not wait for a second helper. If it is the only one, it also fails if the helper exits
  # as it starts.
  defp settle(state, new \\ [])
  defp settle(%{claims: []} = state, _new), do: stop(state)

  defp settle(%{program: nil} = state, new) do
    case Program.start(Enum.any?(state.claims, & &1.sudo)) do
      {:ok, program, _ready} ->
        settle(%{state | program: program}, new)

      # Killed as it started. The claims that were there before get another helper, and with them the new one.
      {:error, %Error{reason: {:exited, _details}} = error} when state.claims != new ->
        state |> exited(error) |> settle(new)

      {:error, %Error{reason: {:timed_out, _details}} = error} when state.claims != new ->
        state |> lose(new, error) |> exited(error) |> settle()

      # The claims that do not need sudo keep their redirects.
      {:error, %Error{reason: {kind, _details}} = error} when kind in [:sudo, :no_sudo] ->
        lost = Enum.filter(state.claims, & &1.sudo)
        state |> lose(lost, error) |> settle(new -- lost)

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
        state |> lose(rejected(state.claims, error), error) |> settle(new)

      {:gone, %Error{reason: {:timed_out, _details}} = error} ->
        state |> lose(new, error) |> exited(error) |> settle()

      {:gone, error} ->
        state |> exited(error) |> settle(new)
    end
  end

  # The claims with the address or the port of the rejection; all claims if it names neither.
  defp rejected(claims, %Error{reason: {_kind, details}}) do
    named = fn {to, via} ->
      details[:to] == to or details[:via] == via or String.starts_with?(to, "#{details[:to]}:") or
        String.starts_with?(to, "[#{details[:to]}]:")
    end

    case Enum.filter(claims, &Enum.any?(&1.redirects, named)) do
      [] -> claims
      some -> some
    end
  end

  defp exited(state, error) do
    now = System.monotonic_time(:millisecond)
    exits = [now | Enum.filter(state.exits, &(now - &1 < @minute))]
    state = %{state | program: nil, exits: exits}

    if length(exits) < @max_exits,
      do: state,
      else: lose(state, state.claims, count(error, length(exits)))
  end

  defp exit_error(reason), do: Error.new(:helper, {:exited, %{reason: reason, times: 1}})

  defp count(%Error{reason: {:exited, details}}, times),
    do: Error.new(:helper, {:exited, %{details | times: times}})

  defp count(error, _times), do: error

  defp lose(state, claims, error) do
    for %{key: key, owner: owner, monitor: monitor} <- claims do
      Process.demonitor(monitor, [:flush])
      send(owner, {:redirects_lost, key, error})
    end

    %{state | claims: state.claims -- claims, error: error}
  end

  defp stop(state) do
    if state.program, do: Program.stop(state.program)
    %{state | program: nil, exits: []}
  end
end
