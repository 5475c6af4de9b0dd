defmodule K8sConnect.Options.Configuration do
  @moduledoc false
  # `config :k8s_connect`: named targets, and defaults of options.

  alias K8sConnect.{Error, ReadOnly}

  # Keys of the configuration that are no options; `:service_account` and `:stable_after` are for tests.
  @keys [:targets, :protect, :read_only_calls] ++
          [:net_kernel, :service_account, :stable_after]

  @doc """
  Checks that the keys are these options of a connection, or others that are known: with a misspelled `:protect` no
  context would be protected.
  """
  @spec check(options :: [atom()]) :: :ok | {:error, Error.t()}
  def check(options) do
    known = options ++ @keys
    keys = Keyword.keys(Application.get_all_env(:k8s_connect))

    case Enum.find(keys, &(&1 not in known)) do
      nil -> check_targets()
      key -> failed(:unknown_configuration, %{key: key, available: Enum.sort(known)})
    end
  end

  defp check_targets do
    targets = Application.get_env(:k8s_connect, :targets, [])
    patterns = Application.get_env(:k8s_connect, :protect, [])

    cond do
      not (Keyword.keyword?(targets) and Enum.all?(Keyword.values(targets), &Keyword.keyword?/1)) ->
        failed(:invalid_configuration, %{key: :targets, expected: "[name: [option: value]]"})

      not ReadOnly.valid?(Application.get_env(:k8s_connect, :read_only_calls, [])) ->
        expected = "a list of {module, function, arity} or {module, function}"
        failed(:invalid_configuration, %{key: :read_only_calls, expected: expected})

      not (is_list(patterns) and Enum.all?(patterns, &is_binary/1)) ->
        failed(:invalid_configuration, %{key: :protect, expected: "a list of strings"})

      true ->
        :ok
    end
  end

  @doc """
  The defaults of these options for a connection. A given option also replaces the defaults of options that it excludes.
  """
  @spec defaults([atom()], String.t() | nil, keyword()) :: keyword()
  def defaults(known, target, given) do
    cookie? = Enum.any?([:cookie, :cookie_file, :cookie_from], &(given[&1] != nil))

    for {option, value} <- defaults(known),
        not (option == :selector and target != nil),
        not (option in [:cookie, :cookie_file] and cookie?),
        do: {option, value}
  end

  @doc """
  The defaults of these options. A confirmation is for one call.
  """
  @spec defaults([atom()]) :: keyword()
  def defaults(known),
    do: Keyword.take(Application.get_all_env(:k8s_connect), known -- [:yes, :confirm])

  @doc """
  Replaces a target of the configuration by its `:target` and its options. Given options win.
  """
  @spec named(String.t() | nil, keyword()) :: {String.t() | nil, keyword()}
  def named(nil, options), do: {nil, options}

  def named(target, options) do
    targets = Application.get_env(:k8s_connect, :targets, [])

    case Enum.find(targets, fn {name, _settings} -> Atom.to_string(name) == target end) do
      nil ->
        {target, options}

      {_name, settings} ->
        {target, settings} = Keyword.pop(settings, :target)
        {target, Keyword.merge(settings, options)}
    end
  end

  defp failed(kind, details), do: {:error, Error.new(:options, {kind, details})}
end
