defmodule Mix.Tasks.K8s.Pods do
  @shortdoc "Lists the pods that look like Erlang nodes"

  @moduledoc """
  Lists the pods that look like Erlang nodes.

      mix k8s.pods [TARGET] [options]

  ## Examples

      mix k8s.pods                         # of the context's namespace
      mix k8s.pods sts/app -n shop         # of a workload
      mix k8s.pods -l app=web -o wide      # with IP, Kubernetes node, and why each looks like an Erlang node
      mix k8s.pods -A                      # of all namespaces
      mix k8s.connect $(mix k8s.pods -o name | head -n 1)
      mix k8s.pods -A -o name | xargs -L 1 mix k8s.connect --rpc 'node()'

  TARGET is as for `mix k8s.connect`. A pod looks like an Erlang node if the spec of a container has a variable such
  as `RELEASE_COOKIE`, or a port such as epmd's. The task only sends requests to the API server, and does not connect to
  a pod.

  ## Columns

    * NAMESPACE - with `-A`
    * NAME, READY, STATUS, RESTARTS, AGE - as `kubectl get pods` shows them
    * NODE NAME - the name of the Erlang node, if the pod's spec determines it, otherwise `?`. The scripts of a release
      can set another name
    * IP, KUBERNETES NODE - with `-o wide`: the pod's IP, and the machine in the cluster
    * EVIDENCE - with `-o wide`: the variables and ports that suggest an Erlang node, at most five

  ## Command line options

    * `-A`, `--all-namespaces` - the pods of all namespaces; `-n` is ignored. Needs the verb `list` on `pods` in a
      ClusterRole. Cannot be used with TARGET
    * `-o`, `--output FORMAT` - `wide`, `json` or `name`. `name` prints lines that are arguments of `mix k8s.connect`:
      `pod/app-0`, as kubectl does, and with `-A` also the namespace: `pod/app-0 -n shop`, without quotes around `$(…)`.
      Repeat `-n` (without `-A`), `--context` and `--kubeconfig`. `MIX_QUIET=1` leaves out what Mix prints when it
      compiles
    * `--json` - as `-o json`
    * `-n`, `--namespace NAME`, `-l`, `--selector LABELS`, `--context NAME`, `--kubeconfig PATH`, `--timeout MS` -
      as for `mix k8s.connect`

  ## JSON

  `{"pods": [{"name": …}]}`, with the fields of `K8sConnect.Pod` except `beam`; `containers` has objects with `name`,
  `image` and `ready`. Without pods the list is empty. On failure `{"error": …}`, as for `mix k8s.connect`.

  ## Exit codes

  0 success, also if there is no such pod; 1 failure; 2 usage error.
  """

  use Mix.Task

  alias K8sConnect.Error
  alias Mix.K8sConnect.{Archive, Console, Pods, PodsOptions, Project, Shell}

  @impl true
  def run(arguments), do: Archive.run(__MODULE__, arguments, &execute/1)

  defp execute(arguments) do
    case PodsOptions.pods(arguments) do
      {:ok, options, output} ->
        format = if output == :json, do: :json, else: :text
        # The configuration has named targets and a default namespace.
        Project.load(format)
        check(options, format)
        list(options, output, format)

      {:error, error, format} ->
        Console.fail(error, format)
    end
  end

  defp check(options, format) do
    with {:error, error} <- K8sConnect.Options.check_pods(options),
         do: error |> Error.for_request(:pods, options) |> Console.fail(format)
  end

  defp list(options, output, format) do
    case K8sConnect.pods([interactive: Shell.asks?()] ++ options) do
      {:ok, pods} -> Pods.print(pods, output, options[:all_namespaces] || false)
      {:error, error} -> Console.fail(error, format)
    end
  end
end
