defmodule K8sConnect.Connection do
  @moduledoc """
  A connection to a node in a pod, as it was when this was returned.

    * `:node` - the node's name. A pod that replaces this one usually has another: `K8sConnect.node!/1` looks up
      the current one.
    * `:state` - `:up`, or `:reconnecting` after a loss.
    * `:pod`, `:namespace`, `:context` - the pod. Its `:uid` differs from that of a later pod of the same name.
    * `:target` - what was connected to: `"sts/app"`; with a label selector, that.
    * `:ip` - the pod's address.
    * `:others` - other ready pods of the target.
    * `:route` - `:vm`: from inside of this BEAM; `:kernel`: by the pod's own address, for every program of this
      user; `:exec`: by that address, for `K8sConnect.exec/2`.
    * `:cookie_source` - where the cookie was found, in words. The cookie itself is not kept here. `nil` on the
      route `:exec`, which does not look for it.
    * `:session` - the process that keeps the connection, across reconnects.
  """

  @enforce_keys [:node, :pod, :uid, :ip, :namespace, :context, :others, :route, :cookie_source]
  defstruct @enforce_keys ++ [:target, :session, state: :up]

  @type t :: %__MODULE__{
          node: node(),
          state: :up | :reconnecting,
          pod: String.t(),
          uid: String.t(),
          ip: String.t() | nil,
          namespace: String.t(),
          context: String.t(),
          target: String.t() | nil,
          others: [String.t()],
          route: :vm | :kernel | :exec,
          cookie_source: String.t() | nil,
          session: pid() | nil
        }
end
