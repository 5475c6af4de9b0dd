defmodule K8sConnect.Connection do
  @moduledoc """
  A connection to a node in a pod, as it was when it came up.

    * `:node` - the node's name, for `:erpc` and the rest.
    * `:pod`, `:namespace`, `:context` - where it is; `:uid` tells a pod from a later one of the
      same name.
    * `:ip` - the pod's address.
    * `:others` - other ready pods that the target would have fitted.
    * `:route` - how it is reached: `:vm`, from inside of this BEAM; `:kernel`, by the pod's own
      address, for every program of this user; or `:exec`, by that address for `K8sConnect.exec/2`.
    * `:cookie_source` - where its cookie was found, in words; the cookie itself is not kept here.
      `nil` on the route `:exec`, which does not look for it.
  """

  @enforce_keys [:node, :pod, :uid, :ip, :namespace, :context, :others, :route, :cookie_source]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          node: node(),
          pod: String.t(),
          uid: String.t(),
          ip: String.t() | nil,
          namespace: String.t(),
          context: String.t(),
          others: [String.t()],
          route: :vm | :kernel | :exec,
          cookie_source: String.t() | nil
        }
end
