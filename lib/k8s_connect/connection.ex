defmodule K8sConnect.Connection do
  @moduledoc """
  A connection to the node in a pod. The struct has the state at the time of the call that returned it.

    * `:node` - the node's name. The pod that replaces this one usually has another node name: `K8sConnect.node!/1`
      returns the current one.
    * `:state` - `:up`, or `:reconnecting` after a loss.
    * `:pod`, `:namespace`, `:context` - the pod. Its `:uid` differs from that of a later pod of the same name.
    * `:target` - the target or the label selector of the call: `"sts/app"`.
    * `:ip` - the pod's address.
    * `:others` - other ready pods of the target.
    * `:route` - `:vm`: from inside of this BEAM; `:kernel`: by the pod's own address, for every program of this
      user; `:exec`: by that address, for `K8sConnect.exec/2`.
    * `:cookie_source` - where the cookie was found, for example `"Secret app-cookie, key cookie"`. The cookie itself
      is not in the struct. `nil` on the route `:exec`, which reads no cookie.
    * `:session` - the process of the connection, which stays the same across reconnects.
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
