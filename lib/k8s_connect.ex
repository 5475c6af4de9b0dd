defmodule K8sConnect do
  @moduledoc """
  Connects the BEAM in front of you to the Erlang node in a Kubernetes pod.

  This version knows the way to the cluster: it reads the kubeconfig as `kubectl` does and lists
  the pods that a connection can lead to. All work is done in Rust, outside of the schedulers.

      iex> {:ok, pods} = K8sConnect.pods(namespace: "shop")
      iex> Enum.map(pods, & &1.name)
      ["app-0", "app-1"]

  Nothing has to be started first, and nothing stays behind: an application that only has
  `:k8s_connect` as a dependency starts unchanged.
  """

  alias K8sConnect.{Error, Native, Options, Pod}

  @doc """
  Lists the pods of a namespace, by name.

  An empty list also stands for a namespace that does not exist: the API server makes no
  difference.

  ## Options

    * `:kubeconfig` - the path of a kubeconfig file. Without it the files of `KUBECONFIG` are
      merged, or `~/.kube/config` is read, as `kubectl` does.
    * `:context` - a context of the kubeconfig, instead of its `current-context`.
    * `:namespace` - a namespace, instead of the context's, or `"default"`.
    * `:timeout` - milliseconds for the request as a whole, 15 000 unless given.

  ## Errors

  `{:error, error}` with a `K8sConnect.Error`; `Exception.message/1` of it says what was tried,
  what was seen, and what to do next. Needs the verb `list` on `pods` in that namespace.
  """
  @spec pods(keyword()) :: {:ok, [Pod.t()]} | {:error, Error.t()}
  def pods(options \\ []) do
    with {:ok, options} <- Options.new(options) do
      Native.call(:list_pods, [options])
    end
  end
end
