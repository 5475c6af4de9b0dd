defmodule K8sConnect.Error.Catalogue.Phrases do
  @moduledoc false
  # What entries of several stages share.

  alias K8sConnect.Error.Catalogue

  @doc """
  Text from outside without its last full stop; the API server ends a message with a colon if it has no reason.
  """
  @spec bare(String.t()) :: String.t()
  def bare(text), do: text |> String.trim_trailing(": ") |> String.trim_trailing(".")

  @spec pod(map()) :: String.t()
  def pod(%{pod: pod}), do: "pod #{inspect(pod)}"

  @doc """
  A file as an argument, even if its name looks like a switch.
  """
  @spec file(String.t()) :: String.t()
  def file("-" <> _rest = path), do: "./" <> path
  def file(path), do: path

  @spec ls(String.t()) :: Catalogue.remedy()
  def ls(path), do: {"Check with", {:sh, ["ls", "-l", file(path)]}}

  @doc """
  The remedy for an internal error.
  """
  @spec report() :: Catalogue.remedy()
  def report, do: {"Please report it with the output of", {:mix, "k8s.doctor", [report: true]}}

  @doc """
  A command in the pod.
  """
  @spec exec(map(), [String.t(), ...]) :: K8sConnect.Error.Command.t()
  def exec(%{pod: pod}, words), do: {:kubectl, ["exec", "-it", pod, "--" | words]}

  @spec logs(map()) :: Catalogue.remedy()
  def logs(%{pod: pod}), do: {"Check with", {:kubectl, ["logs", pod]}}

  @doc """
  The user's entry of the kubeconfig.
  """
  @spec view() :: K8sConnect.Error.Command.t()
  def view, do: {:kubectl, ["config", "view", "--minify"]}

  @doc """
  The rule of a Role for the subresource `pods/portforward` or `pods/exec`.
  """
  @spec rule(String.t()) :: String.t()
  def rule(subresource),
    do: "- {apiGroups: [\"\"], resources: [#{subresource}], verbs: [get, create]}"

  @doc """
  The routes that need no helper.
  """
  @spec other_routes() :: Catalogue.text()
  def other_routes, do: ["Use ", {:option, :route, :exec}, " or ", {:option, :route, :vm}]
end
