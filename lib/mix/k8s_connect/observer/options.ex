defmodule Mix.K8sConnect.Observer.Options do
  @moduledoc false
  # The options of the view, and their defaults.

  @intervals 100..60_000
  @limits 1..1000

  @doc """
  Checks them. `:once` is set for `--json`, too.
  """
  @spec check(keyword()) :: {:ok, keyword()} | {:error, String.t()}
  def check(options) do
    sort = options[:sort] || :reductions
    interval = options[:interval]
    limit = options[:limit] || 50
    once = options[:once] || options[:json] || false

    cond do
      once and options[:text] ->
        {:error,
         "--text and #{if options[:json], do: "--json", else: "--once"} exclude each other"}

      interval && interval not in @intervals ->
        {:error, invalid("--interval", range(@intervals), interval)}

      limit not in @limits ->
        {:error, invalid("--limit", range(@limits), limit)}

      true ->
        {:ok,
         [once: once, text: options[:text], sort: sort, limit: limit] ++
           if(interval, do: [interval: interval], else: [])}
    end
  end

  defp range(first..last//_step), do: "a number from #{first} to #{last}"

  defp invalid(option, expected, value),
    do: "invalid value for #{option}: expected #{expected}, got #{inspect(value)}"
end
