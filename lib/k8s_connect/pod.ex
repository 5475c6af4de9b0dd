defmodule K8sConnect.Pod do
  @moduledoc """
  A pod, as `kubectl get pods` shows it, with what its spec says of an Erlang node.

    * `:uid` - tells a pod from a later one of the same name.
    * `:phase` - `"Pending"`, `"Running"`, `"Succeeded"`, `"Failed"` or `"Unknown"`.
    * `:status` - kubectl's column STATUS: the phase, or what explains more, such as `"CrashLoopBackOff"`,
      `"Init:0/1"` or `"Terminating"`.
    * `:ready_containers`, `:total_containers` - the two numbers of kubectl's column READY. Sidecars count.
    * `:restarts` - how often its containers were restarted.
    * `:created_at` - when it was created, in ISO 8601 and UTC: `"2026-01-31T12:00:00Z"`.
    * `:ip` - the pod's IP; `nil` until it has one.
    * `:kubernetes_node` - the name of the machine in the cluster; `nil` until the pod is scheduled.
    * `:owner` - the workload that created it, as a target of `K8sConnect.connect/2`: `"sts/app"`, `"deploy/web"`;
      `nil` if nothing creates it again.
    * `:beam` - whether its ports and environment variables suggest an Erlang node.
    * `:evidence` - these variables and ports, at most five: `["RELEASE_COOKIE", "port epmd"]`.
    * `:node` - the name of the Erlang node, if the spec determines it, otherwise `nil`. The scripts of a release
      can set another name: only a connection shows it for certain.
    * `:containers` - the containers of its spec, without init containers.

  What comes from the cluster can contain any characters, also escape sequences.
  """

  defmodule Container do
    @moduledoc """
    A container of a pod; `:ready` is its readiness, as the kubelet reports it.
    """

    @enforce_keys [:name, :image, :ready]
    defstruct @enforce_keys

    @type t :: %__MODULE__{name: String.t(), image: String.t(), ready: boolean()}
  end

  @enforce_keys [:name, :namespace, :uid, :phase, :status, :ready_containers, :total_containers] ++
                  [:restarts, :created_at, :ip, :kubernetes_node, :owner, :beam, :evidence] ++
                  [:node, :containers]
  defstruct @enforce_keys

  @typedoc """
  A pod. The counts are numbers, the time is text in ISO 8601; the module describes each field.
  """
  @type t :: %__MODULE__{
          name: String.t(),
          namespace: String.t(),
          uid: String.t(),
          phase: String.t(),
          status: String.t(),
          ready_containers: non_neg_integer(),
          total_containers: non_neg_integer(),
          restarts: non_neg_integer(),
          created_at: String.t() | nil,
          ip: String.t() | nil,
          kubernetes_node: String.t() | nil,
          owner: String.t() | nil,
          beam: boolean(),
          evidence: [String.t()],
          node: String.t() | nil,
          containers: [Container.t()]
        }
end
