defmodule K8sConnect.Options.Values do
  @moduledoc false
  # Which value each option may have.

  alias K8sConnect.Error

  @booleans [
    :all_namespaces,
    :interactive,
    :log,
    :sudo,
    :visible,
    :trust,
    :read_only,
    :audit_arguments,
    :yes,
    :verbose
  ]
  @routes [:auto, :vm, :kernel, :exec]
  @protocols [:auto, :spdy, :websocket, :v4]

  @doc """
  Checks that options are known, and that their values are valid. `nil` is like no option.
  """
  @spec check(term(), known :: [atom()]) :: :ok | {:error, Error.t()}
  def check(options, known) do
    if Keyword.keyword?(options),
      do: check_each(options, known),
      else: failed(:not_a_keyword, %{value: kind(options)})
  end

  defp check_each(options, known) do
    Enum.find_value(options, :ok, fn {option, value} ->
      cond do
        option not in known ->
          failed(:unknown_option, %{option: option, available: known})

        value == nil or valid?(option, value) ->
          nil

        true ->
          failed(:invalid_option, %{
            option: option,
            value: printable_value(option, value),
            expected: expected(option)
          })
      end
    end)
  end

  defp valid?(:timeout, value), do: is_integer(value) and value in 1..0xFFFF_FFFF
  defp valid?(:max_atoms, value), do: is_integer(value) and value in 1..1_000_000
  defp valid?(:max_message, value), do: is_integer(value) and value in 1..0xFFFF_FFFF
  defp valid?(:connect_timeout, value), do: value == :infinity or valid?(:timeout, value)
  defp valid?(:reconnect, value) when is_boolean(value), do: true

  defp valid?(:reconnect, [_ | _] = limits) do
    Keyword.keyword?(limits) and
      Enum.all?(limits, fn {limit, value} ->
        limit in [:max_attempts, :deadline] and valid?(:timeout, value)
      end)
  end

  defp valid?(:reconnect, _value), do: false
  defp valid?(:owner, value), do: is_pid(value) and node(value) == node()
  defp valid?(option, value) when option in @booleans, do: is_boolean(value)
  defp valid?(:route, value), do: value in @routes
  defp valid?(:protocol, value), do: value in @protocols
  defp valid?(:cookie_from, value), do: value in [:spec, :exec]
  defp valid?(:port, value), do: is_integer(value) and value in 1..0xFFFF
  defp valid?(option, value) when option in [:progress, :confirm], do: is_function(value, 1)

  defp valid?(:cookie, value),
    do: (is_atom(value) or is_binary(value)) and byte_size(to_string(value)) in 1..255

  defp valid?(_text, value), do: text?(value)

  @doc """
  Whether a value is a text.
  """
  @spec text?(term()) :: boolean()
  def text?(value), do: is_binary(value) and String.valid?(value) and value != ""

  defp expected(:timeout), do: "a positive number of milliseconds"
  defp expected(:max_atoms), do: "a number from 1 to 1000000"
  defp expected(:max_message), do: "a positive number of bytes, less than 4 GiB"
  defp expected(:connect_timeout), do: "a positive number of milliseconds or :infinity"
  defp expected(:reconnect), do: "true, false or [max_attempts: number, deadline: milliseconds]"
  defp expected(:owner), do: "a local pid"
  defp expected(option) when option in @booleans, do: "true or false"
  defp expected(:route), do: ":auto, :vm, :kernel or :exec"
  defp expected(:protocol), do: ":auto, :spdy, :websocket or :v4"
  defp expected(:cookie_from), do: ":spec or :exec"
  defp expected(:port), do: "a port, from 1 to 65535"
  defp expected(option) when option in [:progress, :confirm], do: "a function of one argument"
  defp expected(:cookie), do: "an atom or a string of 1 to 255 bytes"
  defp expected(_text), do: "a non-empty string"

  # The value may contain a cookie, so only its type is shown.
  defp kind(options) when is_list(options), do: "another list"
  defp kind(options) when is_map(options), do: "a map"
  defp kind(_options), do: "something else"

  # A cookie is never shown, not even an invalid one.
  defp printable_value(:cookie, _value), do: :something_else
  defp printable_value(_option, value), do: value

  defp failed(kind, details), do: {:error, Error.new(:options, {kind, details})}
end
