defmodule K8sConnect.Protection do
  @moduledoc false
  # `config :k8s_connect, protect: ["prod*"]`: a context that matches is not connected to by accident,
  # nor by a script that was written for another one.

  alias K8sConnect.{Error, Native}

  @doc """
  Whether a connection to the context may be made: it is not protected, or somebody says so.
  """
  @spec check(String.t(), %{
          :yes => boolean(),
          :confirm => (String.t() -> boolean()),
          optional(atom()) => term()
        }) :: :ok | {:error, Error.t()}
  def check(context, %{yes: yes, confirm: confirm}) do
    pattern = Enum.find(patterns(), &matches?(&1, context))

    if pattern == nil or yes or confirm.(context),
      do: :ok,
      else: {:error, Error.new(:config, {:protected, %{context: context, pattern: pattern}})}
  end

  @doc """
  The same for the context that options lead to, unless that was done before.
  """
  @spec check_options(map()) :: :ok | {:error, Error.t()}
  def check_options(%{confirmed: true}), do: :ok

  def check_options(%{api: api} = options) do
    with {:ok, place} <- Native.call(:resolve, [Native.with_environment(api)]),
         do: check(place.context, options)
  end

  defp patterns, do: Application.get_env(:k8s_connect, :protect, [])

  # `*` stands for anything, as in a shell; capitals do not protect from a slip.
  defp matches?(pattern, context) do
    parts = pattern |> String.split("*") |> Enum.map_join(".*", &Regex.escape/1)
    Regex.match?(Regex.compile!("\\A#{parts}\\z", "is"), context)
  end
end
