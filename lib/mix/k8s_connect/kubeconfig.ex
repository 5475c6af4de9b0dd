defmodule Mix.K8sConnect.Kubeconfig do
  @moduledoc false
  # What the kubeconfig says, without a request to an API server.

  alias K8sConnect.{Error, Native}

  @doc """
  The context and the namespace that the options of `K8sConnect.pods/1` lead to.
  """
  @spec resolve(keyword()) :: {:ok, map()} | {:error, Error.t()}
  def resolve(options) do
    {api, _query} = K8sConnect.Options.pods(options)
    Native.call(:resolve, [Native.with_environment(api)])
  end

  @doc """
  The names of all contexts.
  """
  @spec contexts(keyword()) :: [String.t()]
  def contexts(options) do
    # An unknown context is an error that names the known ones.
    unknown = "k8s-connect-#{System.unique_integer([:positive])}"

    case resolve(Keyword.put(options, :context, unknown)) do
      {:error, %{reason: {:unknown_context, %{available: available}}}} -> available
      _other -> []
    end
  end
end
