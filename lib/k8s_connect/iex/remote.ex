defmodule K8sConnect.IEx.Remote do
  @moduledoc false
  # Expressions and calls of the helpers for IEx. The pod's node makes the text of an exception: here it would be made by
  # the modules that its terms name.

  alias K8sConnect.{Error, EscapeSequences, PlainTerm}

  # It catches the exception in the same call, because terms that are sent back give the pod the pids in them.
  @evaluate """
  try do
    {:value, elem(Code.eval_string(expression), 0)}
  catch
    kind, reason -> {:raised, String.slice(Exception.format(kind, reason, __STACKTRACE__), 0, 16_000)}
  end
  """

  # Bytes of a text of the node, and frames of a stack trace
  @max_size 65_536
  @max_frames 5

  @doc """
  The value of an Elixir expression on `node`.
  """
  @spec evaluate(node(), String.t()) :: {:ok, term()} | {:error, Error.t()}
  def evaluate(node, expression) do
    case erpc(node, Code, :eval_string, [@evaluate, [expression: expression]]) do
      {:ok, {{:value, value}, _binding}} ->
        {:ok, value}

      {:ok, {{:raised, text}, _binding}} when is_binary(text) ->
        raised(text, node)

      {:ok, other} ->
        raised(PlainTerm.show(other), node)

      {:error, {:undef, Code, :eval_string}} ->
        raised("it has no Elixir. Call a function: on(target, :erlang, :node, [])", node)

      {:error, reason} ->
        failed(reason, node)
    end
  end

  @doc """
  The result of a function on `node`.
  """
  @spec call(node(), module(), atom(), [term()]) :: {:ok, term()} | {:error, Error.t()}
  def call(node, module, function, arguments) do
    with {:error, reason} <- erpc(node, module, function, arguments), do: failed(reason, node)
  end

  defp erpc(node, module, function, arguments) do
    {:ok, :erpc.call(node, module, function, arguments)}
  catch
    :error, {:exception, :undef, [{^module, ^function, _arguments, _location} | _rest]} ->
      {:error, {:undef, module, function}}

    :error, {:exception, reason, stacktrace} ->
      {:error, {:error, reason, stacktrace}}

    :error, {:erpc, reason} ->
      {:error, {:erpc, reason}}

    :exit, {:exception, reason} ->
      {:error, {:exit, reason, []}}

    kind, reason ->
      {:error, {kind, reason, []}}
  end

  defp failed({:undef, module, function}, node),
    do:
      raised("** (UndefinedFunctionError) no such function #{inspect(module)}.#{function}", node)

  defp failed({:erpc, :read_only}, node),
    do: {:error, Error.new(:remote, {:read_only, %{node: node}})}

  defp failed({:erpc, _reason}, node),
    do: {:error, Error.new(:connect, {:lost, %{node: node, reason: nil}})}

  defp failed({kind, reason, stacktrace}, node) do
    frames = if is_list(stacktrace), do: frames(stacktrace, @max_frames), else: []
    raised(Enum.join(["** (#{kind}) #{PlainTerm.show(reason)}" | frames], "\n    "), node)
  end

  defp frames([{module, function, arity, _location} | rest], left)
       when left > 0 and is_atom(module) and is_atom(function) do
    arity = if arity in 0..255, do: "/#{arity}", else: "(...)"
    ["#{inspect(module)}.#{function}#{arity}" | frames(rest, left - 1)]
  end

  defp frames(_rest, _left), do: []

  defp raised(text, node) do
    text = binary_part(text, 0, min(byte_size(text), @max_size))
    text = :unicode |> EscapeSequences.text(text) |> to_string() |> String.trim_trailing("\n")
    {:error, Error.new(:remote, {:raised, %{node: node, text: text}})}
  end
end
