defmodule Mix.K8sConnect.Rpc do
  @moduledoc false
  # An expression that is evaluated on a node.

  alias K8sConnect.{Error, EscapeSequences}

  # Evaluated and shown there: modules, structs and what their fields hide are the node's.
  @evaluate """
  {value, _binding} = Code.eval_string(expression)
  inspect(value, pretty: true, limit: :infinity, printable_limit: :infinity)
  """

  @doc """
  Evaluates `expression` on `node`, and answers its value as text.
  """
  @spec evaluate(String.t(), node()) :: {:ok, String.t()} | {:error, Error.t()}
  def evaluate(expression, node) do
    {shown, _binding} =
      :erpc.call(node, Code, :eval_string, [@evaluate, [expression: expression]])

    {:ok, text(shown)}
  catch
    :error, {:exception, reason, stacktrace} -> raised(:error, reason, stacktrace, node)
    :exit, {:exception, reason} -> raised(:exit, reason, [], node)
    # The process that evaluates was killed by another one there.
    :exit, {:signal, reason} -> raised(:exit, reason, [], node)
    :throw, value -> raised(:throw, value, [], node)
    :error, {:erpc, _reason} -> {:error, Error.new(:connect, {:lost, %{node: node, reason: nil}})}
  end

  # `inspect` there escapes control characters, unless the node is not what it says.
  defp text(shown) when is_binary(shown),
    do: :unicode |> EscapeSequences.text(shown) |> to_string()

  defp text(other), do: inspect(other, structs: false)

  defp raised(_kind, :undef, [{Code, :eval_string, _arguments, _location} | _rest], node),
    do: {:error, Error.new(:remote, {:no_elixir, %{node: node}})}

  # What was evaluated is the user's own, so its stack is, too.
  defp raised(kind, reason, stacktrace, node) do
    {:error, Error.new(:remote, {:raised, %{node: node, text: format(kind, reason, stacktrace)}})}
  end

  # The node may send anything.
  defp format(kind, reason, stacktrace) do
    Exception.format(kind, reason, stacktrace)
  rescue
    _not_a_stacktrace -> "** (#{kind}) #{inspect(reason, structs: false)}"
  end
end
