defmodule K8sConnect.Pod do
  @moduledoc """
  A pod, as `kubectl get pods` would know it.

    * `:uid` - another one means another pod, even under the same name.
    * `:phase` - `"Pending"`, `"Running"`, `"Succeeded"`, `"Failed"` or `"Unknown"`.
    * `:ip` - the pod's IP, `nil` while it has none.
    * `:beam` - whether it looks like it runs an Erlang node, by its ports and its environment.
    * `:containers` - those of its spec, in its order, without init containers.
  """

  defmodule Container do
    @moduledoc """
    A container of a pod; `:ready` is the kubelet's word for it.
    """

    @enforce_keys [:name, :image, :ready]
    defstruct @enforce_keys

    @type t :: %__MODULE__{name: String.t(), image: String.t(), ready: boolean()}
  end

  @enforce_keys [:name, :namespace, :uid, :phase, :ip, :beam, :containers]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          name: String.t(),
          namespace: String.t(),
          uid: String.t(),
          phase: String.t(),
          ip: String.t() | nil,
          beam: boolean(),
          containers: [Container.t()]
        }
end
