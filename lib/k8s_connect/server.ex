defmodule K8sConnect.Server do
  @moduledoc false
  # Calls of the process of a connection or a group.

  alias K8sConnect.{Connection, Error}

  @doc """
  See `K8sConnect.await_up/2`.
  """
  @spec await_up(Connection.t() | GenServer.server(), timeout()) ::
          {:ok, Connection.t() | [Connection.t()]} | {:error, Error.t()}
  def await_up(server, timeout) do
    :gen_statem.call(process(server), :await_up, timeout)
  catch
    :exit, {:timeout, _call} ->
      {:error, Error.new(:connect, {:timeout, %{ms: timeout, step: nil, target: target(server)}})}

    :exit, _ended ->
      {:error, ended(server)}
  end

  @doc """
  See `K8sConnect.status/1`.
  """
  @spec status(Connection.t() | GenServer.server()) :: map()
  def status(server) do
    :gen_statem.call(process(server), :status)
  catch
    :exit, _ended ->
      %{state: :down, target: target(server), connection: nil, error: ended(server)}
  end

  @doc """
  See `K8sConnect.subscribe/1`.
  """
  @spec subscribe(Connection.t() | GenServer.server()) :: reference()
  def subscribe(server) do
    :gen_statem.call(process(server), {:subscribe, self()})
  catch
    :exit, _ended -> raise ended(server)
  end

  @doc """
  See `K8sConnect.unsubscribe/2`.
  """
  @spec unsubscribe(Connection.t() | GenServer.server(), reference()) :: :ok
  def unsubscribe(server, reference) do
    :gen_statem.call(process(server), {:unsubscribe, reference})
  catch
    :exit, _ended -> :ok
  end

  defp process(%Connection{session: session}), do: session
  defp process(server), do: server

  defp target(%Connection{target: target}), do: target
  defp target(server), do: inspect(server)

  defp ended(server), do: Error.new(:connect, {:not_up, %{target: target(server), state: :down}})
end
