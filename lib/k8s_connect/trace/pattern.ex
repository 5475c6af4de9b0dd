defmodule K8sConnect.Trace.Pattern do
  @moduledoc false
  # The functions to trace. Names stay text: only the pod's node knows which of them are atoms there.

  @typedoc "The name of a module as Erlang writes it, the name of a function, and an arity."
  @type t :: {module :: String.t(), function :: String.t() | :any, arity() | :any}

  @elixir ~r/\A(?:Elixir\.)?([A-Z]\w*(?:\.[A-Z]\w*)*)(?:[.:](.+))?\z/us
  @erlang ~r/\A:?([a-z][\w@]*)(?:[.:](.+))?\z/us
  @arity ~r"\A(.+)/(\d{1,3}|_)\z"s

  @doc """
  Parses a pattern, as text, as a module, or as `{module, function, arity}`. `nil` if it is none.
  """
  @spec parse(String.t() | module() | {module(), atom(), arity() | :_}) :: t() | nil
  def parse({module, function, arity})
      when is_atom(module) and is_atom(function) and (arity in 0..255 or arity == :_),
      do: {Atom.to_string(module), any(Atom.to_string(function)), any(arity)}

  def parse(module) when is_atom(module) and module not in [nil, true, false],
    do: {Atom.to_string(module), :any, :any}

  def parse(text) when is_binary(text) do
    with {module, rest} <- module(text), do: functions(module, rest)
  end

  def parse(_other), do: nil

  @doc """
  The names under which a process may be registered: an Elixir module, or an atom.
  """
  @spec process(String.t()) :: {:pid, charlist()} | {:name, String.t()}
  def process("Elixir." <> module), do: process(module)

  def process(text) do
    cond do
      text =~ ~r/\A<?0\.\d+\.\d+>?\z/ ->
        {:pid, ~c"<#{String.trim(text, "<") |> String.trim(">")}>"}

      text =~ ~r/\A[A-Z]/ ->
        {:name, "Elixir." <> text}

      true ->
        {:name, String.trim_leading(text, ":")}
    end
  end

  @doc """
  A module, or a function, as Elixir writes it.
  """
  @spec format(String.t()) :: String.t()
  def format("Elixir." <> module), do: module
  def format(module), do: ":" <> quoted(module)

  @spec format(String.t(), String.t()) :: String.t()
  def format(module, function), do: "#{format(module)}.#{quoted(function)}"

  defp quoted(name) do
    if name =~ ~r/\A[a-z_][\w@]*[?!]?\z/u, do: name, else: inspect(name)
  end

  defp module(text) do
    case {Regex.run(@elixir, text), Regex.run(@erlang, text)} do
      {[_text, module | rest], _erlang} -> {"Elixir." <> module, rest}
      {nil, [_text, module | rest]} -> {module, rest}
      {nil, nil} -> nil
    end
  end

  defp functions(module, rest) when rest in [[], ["*"]], do: {module, :any, :any}

  defp functions(module, [rest]) do
    case Regex.run(@arity, rest) do
      [_all, function, "_"] -> {module, any(function), :any}
      [_all, function, arity] -> with_arity(module, any(function), String.to_integer(arity))
      nil -> {module, any(rest), :any}
    end
  end

  defp with_arity(module, function, arity) when arity in 0..255, do: {module, function, arity}
  defp with_arity(_module, _function, _arity), do: nil

  defp any(name) when name in [:_, "_", "*"], do: :any
  defp any(name), do: name
end
