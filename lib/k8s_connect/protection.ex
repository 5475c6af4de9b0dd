defmodule K8sConnect.Protection do
  @moduledoc false
  # `config :k8s_connect, protect: ["prod*"]`: a connection to a context that matches has to be confirmed.

  alias K8sConnect.{Error, Native, Options}

  @doc """
  Allows a connection to a context that is not protected, or whose connection is confirmed.
  """
  @spec check(String.t(), %{
          :yes => boolean(),
          :trust => boolean(),
          :confirm => (String.t() -> boolean()),
          optional(atom()) => term()
        }) :: :ok | {:error, Error.t()}
  def check(context, %{yes: yes, trust: trust, confirm: confirm}) do
    pattern = Enum.find(patterns(), &matches?(&1, context))

    # A pod of production that can run code here takes more than an option in a script.
    if pattern == nil or (yes and not trust) or confirm.(context),
      do: :ok,
      else: {:error, Error.new(:config, {kind(trust), %{context: context, pattern: pattern}})}
  end

  @doc """
  Whether the configuration protects a context.
  """
  @spec protected?(String.t()) :: boolean()
  def protected?(context), do: Enum.any?(patterns(), &matches?(&1, context))

  defp kind(true), do: :protected_trust
  defp kind(false), do: :protected

  @doc """
  Checks the context that the options select, and returns the options for this context and namespace only: another
  one may be the current one by the next request. Does nothing to options that are confirmed.
  """
  @spec confirm(Options.connect()) :: {:ok, Options.connect()} | {:error, Error.t()}
  def confirm(%{confirmed: true} = options), do: {:ok, options}

  def confirm(%{api: api} = options) do
    with {:ok, place} <- Native.call(:resolve, [Native.with_environment(api)]),
         :ok <- check(place.context, options),
         do: {:ok, Options.confirmed(options, place)}
  end

  defp patterns, do: Application.get_env(:k8s_connect, :protect, [])

  # `*` matches any text, as in a shell; case does not matter.
  defp matches?(pattern, context) do
    parts = pattern |> String.split("*") |> Enum.map_join(".*", &Regex.escape/1)
    Regex.match?(Regex.compile!("\\A#{parts}\\z", "is"), context)
  end
end
