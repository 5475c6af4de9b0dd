defmodule K8sConnect.Options do
  @moduledoc false
  # Options of the public functions, checked once and made into the one map that the native side
  # takes. The environment is read here, at each call: a NIF does not see `System.put_env/2`.

  alias K8sConnect.Error

  @default_timeout 15_000
  @known [:kubeconfig, :context, :namespace, :timeout]

  @type t :: %{
          kubeconfig: String.t() | nil,
          kubeconfig_env: String.t() | nil,
          home: String.t() | nil,
          context: String.t() | nil,
          namespace: String.t() | nil,
          timeout_ms: pos_integer()
        }

  @spec new(keyword()) :: {:ok, t()} | {:error, Error.t()}
  def new(options) do
    with :ok <- check_keyword(options), :ok <- check_each(options) do
      {:ok,
       %{
         kubeconfig: options[:kubeconfig],
         kubeconfig_env: System.get_env("KUBECONFIG"),
         home: System.get_env("HOME"),
         context: options[:context],
         namespace: options[:namespace],
         timeout_ms: options[:timeout] || @default_timeout
       }}
    end
  end

  defp check_keyword(options) do
    if Keyword.keyword?(options), do: :ok, else: failed(:not_a_keyword, %{value: options})
  end

  defp check_each(options) do
    Enum.find_value(options, :ok, fn {option, value} ->
      cond do
        option not in @known -> failed(:unknown_option, %{option: option, known: @known})
        valid?(option, value) -> nil
        true -> failed(:bad_option, %{option: option, value: value, expected: expected(option)})
      end
    end)
  end

  defp valid?(_option, nil), do: true
  defp valid?(:timeout, value), do: is_integer(value) and value in 1..0xFFFF_FFFF
  defp valid?(_text, value), do: is_binary(value) and String.valid?(value) and value != ""

  defp expected(:timeout), do: "a positive number of milliseconds"
  defp expected(_text), do: "a string that is not empty"

  defp failed(kind, details), do: {:error, Error.new(:options, {kind, details})}
end
