defmodule K8sConnect.Route.Behaviour do
  @moduledoc false
  # What a route does for one node. `prepare` and `connect` are called by the node's session, the rest
  # by the process of `K8sConnect.Route`.

  alias K8sConnect.{Connection, Error}

  @typedoc "What a route was asked for with."
  @type options :: %{
          route: :auto | :vm | :kernel | :exec,
          sudo: boolean(),
          visible: boolean()
        }

  @doc """
  What can be said and done before the node is attached. The answer goes to `c:attach/2`.
  """
  @callback prepare(Connection.t(), session :: reference(), options()) ::
              {:ok, term()} | {:error, Error.t()}

  @doc """
  Makes the node's address lead to its pod. The answer goes to `c:detach/2`.
  """
  @callback attach(node(), prepared :: term()) :: {:ok, term()} | {:error, Error.t()}

  @doc """
  Takes that back.
  """
  @callback detach(node(), attached :: term()) :: term()

  @doc """
  Called when no node is left on this route.
  """
  @callback leave() :: term()

  @doc """
  Connects, always as a hidden node unless it was asked to be visible.
  """
  @callback connect(node(), options()) :: boolean() | :ignored
end
