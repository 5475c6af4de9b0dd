defmodule K8sConnect.Route.Behaviour do
  @moduledoc false
  # The callbacks of a route. The pod connection calls `prepare` and `connect`, which may block. The jobs of
  # `K8sConnect.Route` call the others, one at a time.

  alias K8sConnect.{Connection, Error}

  @typedoc "The options that select a route."
  @type options :: %{
          route: :auto | :vm | :kernel | :exec,
          sudo: boolean(),
          visible: boolean()
        }

  @typedoc """
  The options; the guard of the session, `nil` if the pod is trusted; and the cookie of the node, in a function so that a
  crash report does not show it.
  """
  @type guarded_options :: %{
          route: :auto | :vm | :kernel | :exec,
          sudo: boolean(),
          visible: boolean(),
          guard: K8sConnect.Native.guard() | nil,
          cookie: (() -> binary() | nil)
        }

  @doc """
  Opens the resources of this node, which close when `owner` exits. The result is passed to `c:attach/2`.
  """
  @callback prepare(
              Connection.t(),
              owner :: pid(),
              native :: reference(),
              guarded_options()
            ) :: {:ok, term()} | {:error, Error.t()}

  @doc """
  Changes the VM so that connections to the node reach its pod, and sets its cookie. The result is passed to `c:detach/2`.
  """
  @callback attach(node(), prepared :: term()) :: {:ok, term()} | {:error, Error.t()}

  @doc """
  Undoes `c:attach/2` and `c:prepare/4`.
  """
  @callback detach(node(), attached :: term()) :: term()

  @doc """
  Undoes the changes for all nodes, after the last node was detached.
  """
  @callback leave() :: term()

  @doc """
  Connects the local node, as a hidden node unless `visible` is true.
  """
  @callback connect(node(), options()) :: boolean() | :ignored
end
