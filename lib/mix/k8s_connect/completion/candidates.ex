defmodule Mix.K8sConnect.Completion.Candidates do
  @moduledoc false
  # What a command line can be completed with on this machine. Failures are silent: there is nobody to read them.

  alias Mix.K8sConnect.{Kubeconfig, Switches}

  # No control or invisible character, and nothing that a task would take for an option
  @insertable ~r/\A[^\p{C}\p{Z}-][^\p{C}]*\z/u
  # A person waits for it.
  @timeout 2000

  @doc """
  The candidates of a kind; `words` are those of the command line so far.
  """
  @spec all(String.t(), [String.t()]) :: [String.t()]
  def all(kind, words) do
    # Not as strict as a task: the command line is not finished.
    {switches, letters} = Switches.of("k8s.connect")

    {options, _arguments, _invalid} =
      OptionParser.parse(words, strict: switches, aliases: letters)

    options = Keyword.take(options, [:kubeconfig, :context, :namespace])
    options = for {name, value} <- options, do: {name, expand(name, value)}

    for name <- Enum.uniq(list(kind, options)),
        name =~ @insertable,
        do: name
  end

  # The shell would have done it.
  defp expand(:kubeconfig, path), do: Path.expand(path)
  defp expand(_name, value), do: value

  defp list("targets", options) do
    case K8sConnect.pods([timeout: @timeout] ++ options) do
      {:ok, pods} ->
        pods = for pod <- pods, pod.beam, do: pod

        configured() ++
          Enum.map(pods, & &1.name) ++ for %{owner: owner} when owner != nil <- pods, do: owner

      {:error, _error} ->
        configured()
    end
  end

  defp list("contexts", options), do: Kubeconfig.contexts(options)

  defp list("namespaces", options) do
    contexts = if options[:context], do: [options[:context]], else: Kubeconfig.contexts(options)

    for context <- contexts,
        {:ok, %{namespace: namespace}} <- [
          Kubeconfig.resolve([context: context] ++ Keyword.delete(options, :namespace))
        ],
        do: namespace
  end

  defp list(_kind, _options), do: []

  defp configured do
    for {name, _settings} <- Application.get_env(:k8s_connect, :targets, []),
        do: Atom.to_string(name)
  end
end
