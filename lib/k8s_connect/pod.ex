defmodule K8sConnect.Pod do
  @moduledoc """
  A pod, as `kubectl get pods` shows it.

    * `:uid` - tells a pod from a later one of the same name.
    * `:phase` - `"Pending"`, `"Running"`, `"Succeeded"`, `"Failed"` or `"Unknown"`.
    * `:ip` - the pod's IP; `nil` until it has one.
    * `:beam` - whether its ports and environment variables suggest an Erlang node.
    * `:containers` - the containers of its spec, without init containers.
  """

  defmodule Container do
    @moduledoc """
    A container of a pod; `:ready` is its readiness, as the kubelet reports it.
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
