defmodule K8sConnect.Error do
  @moduledoc """
  What went wrong, for programs and for people.

    * `:stage` - how far we came: `:options`, `:native` (the library itself), `:config` (the
      kubeconfig) or `:cluster` (the API server).
    * `:reason` - `{kind, details}`, a term to match on.

  `message/1` makes the sentence: what was tried, what was seen, and what to do next. It is a pure
  function of the reason. Text that came from outside loses its control characters on the way.

  | stage | kinds |
  |---|---|
  | `:options` | `:not_a_keyword`, `:unknown_option`, `:bad_option` |
  | `:native` | `:not_loaded`, `:task_died` |
  | `:config` | `:not_found`, `:unreadable`, `:malformed`, `:no_context`, `:unknown_context`, `:unknown_cluster`, `:unknown_user`, `:bad_cluster`, `:bad_user`, `:unsupported_login`, `:bad_namespace` |
  | `:cluster` | `:unreachable`, `:timed_out`, `:unknown_authority`, `:tls`, `:client_certificate_expired`, `:unauthorized`, `:forbidden`, `:refused`, `:not_kubernetes` |
  """

  @enforce_keys [:stage, :reason]
  defexception @enforce_keys

  @type stage :: :options | :native | :config | :cluster
  @type t :: %__MODULE__{stage: stage(), reason: {kind :: atom(), details :: map()}}

  @doc false
  @spec new(stage(), {atom(), map()}) :: t()
  def new(stage, reason), do: %__MODULE__{stage: stage, reason: reason}

  @doc """
  The sentence for people.
  """
  @spec message(t()) :: String.t()
  @impl true
  def message(%__MODULE__{stage: stage, reason: {kind, details}}) do
    stage |> sentence(kind, details) |> printable()
  end

  # Options

  defp sentence(:options, :not_a_keyword, %{value: value}) do
    "options must be a keyword list, got #{inspect(value)}. " <>
      "For example: K8sConnect.pods(namespace: \"shop\")"
  end

  defp sentence(:options, :unknown_option, %{option: option, known: known}) do
    "there is no option #{inspect(option)}. The options are #{Enum.map_join(known, ", ", &inspect/1)}"
  end

  defp sentence(:options, :bad_option, %{option: option, value: value, expected: expected}) do
    "option #{inspect(option)} must be #{expected}, got #{inspect(value)}"
  end

  # The library

  defp sentence(:native, :not_loaded, %{path: path, problem: problem}) do
    "could not load the native library #{path}: #{bare(problem)}. " <>
      "Build it again with: mix deps.compile k8s_connect --force"
  end

  defp sentence(:native, :task_died, %{}) do
    "the native library gave up on this request by a fault of its own, the VM is unharmed. " <>
      "Please report it, with what was printed before"
  end

  # The kubeconfig

  defp sentence(:config, :not_found, %{tried: []}) do
    "found no kubeconfig: neither KUBECONFIG nor HOME is set. " <>
      "Set one: export KUBECONFIG=/path/to/kubeconfig"
  end

  defp sentence(:config, :not_found, %{tried: tried}) do
    "found no kubeconfig: there is no file #{Enum.join(tried, ", nor ")}. " <>
      "Point to yours with: export KUBECONFIG=/path/to/kubeconfig"
  end

  defp sentence(:config, :unreadable, %{path: path, problem: problem}) do
    "could not read the kubeconfig #{path}: #{bare(problem)}. Look at it with: ls -l #{path}"
  end

  defp sentence(:config, :malformed, %{path: path, problem: problem}) do
    "#{path} is not a kubeconfig: #{bare(problem)}. " <>
      "Check it with: kubectl config view --kubeconfig #{path}"
  end

  defp sentence(:config, :no_context, %{known: known}) do
    "the kubeconfig has no current-context, and no context was given. #{contexts(known)}"
  end

  defp sentence(:config, :unknown_context, %{context: context, known: known}) do
    "the kubeconfig has no context #{inspect(context)}. #{contexts(known)}"
  end

  defp sentence(:config, :unknown_cluster, %{context: context, cluster: cluster}) do
    "context #{inspect(context)} names the cluster #{inspect(cluster)}, which the kubeconfig does " <>
      "not have. See what is there with: kubectl config get-clusters"
  end

  defp sentence(:config, :unknown_user, %{context: context, user: user}) do
    "context #{inspect(context)} names the user #{inspect(user)}, whom the kubeconfig does not " <>
      "have. See who is there with: kubectl config get-users"
  end

  defp sentence(:config, :bad_cluster, %{context: context, problem: problem}) do
    "the cluster of context #{inspect(context)} cannot be used: #{bare(problem)}. " <>
      "Look at its entry with: kubectl config view --minify --context #{context}"
  end

  defp sentence(:config, :bad_user, %{context: context, problem: problem}) do
    "the credentials of context #{inspect(context)} cannot be used: #{bare(problem)}. " <>
      "Look at their entry with: kubectl config view --minify --context #{context}"
  end

  defp sentence(:config, :unsupported_login, %{context: context, method: method}) do
    "the user of context #{inspect(context)} logs in by #{method}, which this version cannot do: " <>
      "it knows client certificates, tokens and token files. " <>
      "Choose another context with: kubectl config get-contexts"
  end

  defp sentence(:config, :bad_namespace, %{namespace: namespace}) do
    "#{inspect(namespace)} cannot be a namespace: its name has at most 63 of a-z, 0-9 and -. " <>
      "See the names with: kubectl get namespaces"
  end

  # The API server

  defp sentence(:cluster, :unreachable, %{server: server, problem: problem}) do
    "could not reach the API server #{server}: #{bare(problem)}. " <>
      "Is the cluster up, and a VPN needed? Check with: kubectl cluster-info"
  end

  defp sentence(:cluster, :timed_out, %{server: server, timeout_ms: timeout}) do
    "the API server #{server} did not answer within #{timeout} ms. " <>
      "Is a VPN needed? Check with: kubectl cluster-info"
  end

  defp sentence(:cluster, :unknown_authority, %{server: server}) do
    "the API server #{server} shows a certificate of an authority that the kubeconfig does not " <>
      "trust. Is it the right cluster? Compare certificate-authority in: kubectl config view --minify"
  end

  defp sentence(:cluster, :tls, %{server: server, problem: problem}) do
    "no TLS with the API server #{server}: #{bare(problem)}. Check with: kubectl cluster-info"
  end

  defp sentence(:cluster, :client_certificate_expired, %{context: context, not_after: not_after}) do
    "the client certificate of context #{inspect(context)} expired at #{not_after}. " <>
      "Get a new kubeconfig where you got this one"
  end

  defp sentence(:cluster, :unauthorized, %{context: context, server: server}) do
    "the API server #{server} does not take the credentials of context #{inspect(context)} (401). " <>
      "Log in again, then check with: kubectl auth whoami --context #{context}"
  end

  defp sentence(:cluster, :forbidden, details) do
    %{verb: verb, resource: resource, namespace: namespace, message: message} = details

    "may not #{verb} #{resource} in namespace #{inspect(namespace)} (403): #{bare(message)}. " <>
      "Ask for the Role in the README, and check with: " <>
      "kubectl auth can-i #{verb} #{resource} -n #{namespace}"
  end

  defp sentence(:cluster, :refused, %{server: server, code: code, message: message}) do
    "the API server #{server} answered with #{code}: #{bare(message)}. Check with: kubectl cluster-info"
  end

  defp sentence(:cluster, :not_kubernetes, %{server: server, problem: problem}) do
    "what answers at #{server} is no Kubernetes API server: #{bare(problem)}. " <>
      "Check the server in: kubectl config view --minify"
  end

  # Escape sequences first, as a whole, then whatever else could move a cursor.
  defp printable(text) do
    text
    |> String.codepoints()
    |> Enum.map_join(&if(String.valid?(&1), do: &1, else: "\uFFFD"))
    |> String.replace(~r/\e\[[0-9;?]*[ -\/]*[@-~]|\e\][^\a\e]*(\a|\e\\)?/, "")
    |> String.replace(~r/[\x00-\x08\x0b-\x1f\x7f]|[\x{80}-\x{9f}]/u, "")
  end

  # Text from outside brings its own full stop or none.
  defp bare(text), do: String.trim_trailing(text, ".")

  defp contexts([]), do: "It has none at all; see: kubectl config view"
  defp contexts(known), do: "There are: #{Enum.join(known, ", ")}"
end
