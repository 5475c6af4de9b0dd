defmodule K8sConnect.Trace.Event do
  @moduledoc false
  # What the tracer on the pod's node sends. The node may send anything, so text is cleaned and cut here as well.

  alias K8sConnect.{Error, EscapeSequences, PlainTerm}
  alias K8sConnect.Trace.Pattern

  @max_bytes 1003
  @max_arguments 255
  @max_names 100
  # `arity` and these are printed.
  @max_calls 0xFFFF_FFFF_FFFF_FFFF
  # What a message can have in code to paste: `Elixir.MyApp.Cart` or `lists`
  @module ~r/\A(Elixir(\.[A-Z]\w*)+|[a-z]\w*)\z/

  @doc """
  An event of the node. `nil` if it is none.
  """
  @spec parse(term()) :: K8sConnect.Trace.event() | nil
  def parse(
        %{event: kind, pid: pid, module: module, function: function, arity: arity, at: at} = event
      )
      when kind in [:call, :return, :exception] and arity in 0..255 do
    with true <- PlainTerm.plain?(event),
         {:ok, time} <- DateTime.from_unix(at, :microsecond) do
      common = %{
        event: kind,
        time: time,
        pid: text(pid),
        name: event[:name] && text(event.name),
        module: text(module),
        function: text(function),
        arity: arity
      }

      Map.merge(common, values(event))
    else
      _invalid -> nil
    end
  rescue
    _invalid -> nil
  end

  def parse(_other), do: nil

  defp values(%{event: :call, arguments: arguments}),
    do: %{arguments: arguments |> Enum.take(@max_arguments) |> Enum.map(&text/1)}

  defp values(%{event: :call}), do: %{}

  defp values(%{event: :return, result: result, took: took}) when is_integer(took),
    do: %{result: text(result), took: took}

  defp values(%{event: :exception, class: class, reason: reason, took: took})
       when is_integer(took),
       do: %{class: text(class), reason: text(reason), took: took}

  defp text(bytes) when is_binary(bytes) do
    text = binary_part(bytes, 0, min(byte_size(bytes), @max_bytes))
    text = :unicode |> EscapeSequences.text(text) |> to_string() |> Error.printable()
    String.replace(text, ["\n", "\t"], " ")
  end

  @doc """
  Why the trace stopped.
  """
  @spec stopped(map(), node()) :: {:ok, map()} | {:error, Error.t()}
  def stopped(%{reason: reason, calls: calls}, _node)
      when reason in [:limit, :time, :overload] and calls in 0..@max_calls,
      do: {:ok, %{stopped: reason, calls: calls}}

  def stopped(_other, node), do: {:error, Error.new(:remote, {:tracer_ended, %{node: node}})}

  @doc """
  The error of a trace that could not start.
  """
  @spec error(term(), node(), map()) :: {:error, Error.t()}
  def error(kind, node, details) do
    kind = if PlainTerm.plain?(details) and module?(details), do: kind
    {:error, Error.new(:remote, reason(kind, node, details))}
  end

  defp module?(%{module: module}), do: is_binary(module) and module =~ @module
  defp module?(_no_module), do: true

  defp reason(kind, node, %{module: module}) when kind in [:no_such_module, :module_not_loaded],
    do: {kind, %{node: node, module: Pattern.format(module)}}

  defp reason(:no_such_function, node, %{module: module} = details) do
    name = if details.function == :any, do: "*", else: text(details.function)

    {:no_such_function,
     %{
       node: node,
       function: "#{Pattern.format(module)}.#{name}#{arity(details.arity)}",
       module: Pattern.format(module),
       private: details.private == true,
       available: available(name, details.others)
     }}
  end

  defp reason(:too_many_functions, node, %{count: count, max: max})
       when is_integer(count) and is_integer(max),
       do: {:too_many_functions, %{node: node, count: count, max: max}}

  defp reason(kind, node, _details) when kind in [:no_such_process, :already_traced],
    do: {kind, %{node: node}}

  defp reason(kind, node, details),
    do: {:not_traced, %{node: node, problem: inspect({kind, details}, limit: 5, structs: false)}}

  defp arity(:any), do: ""
  defp arity(arity) when is_integer(arity), do: "/#{arity}"

  # The same name with another arity first, then similar names.
  defp available(name, others) do
    others
    |> Enum.take(@max_names)
    |> Enum.map(fn {function, arity} when is_integer(arity) -> {text(function), arity} end)
    |> Enum.sort_by(fn {function, _arity} -> -String.jaro_distance(name, function) end)
    |> Enum.take(10)
    |> Enum.map(fn {function, arity} -> "#{function}/#{arity}" end)
  end

  @doc """
  An event as a line of text.
  """
  @spec format(K8sConnect.Trace.event()) :: String.t()
  def format(event) do
    time = event.time |> DateTime.to_time() |> Time.to_iso8601()
    "#{time} #{event.name || event.pid} #{text_of(event)}"
  end

  defp text_of(%{event: :call, arguments: arguments} = event),
    do: "#{function(event)}(#{Enum.join(arguments, ", ")})"

  defp text_of(%{event: :call} = event), do: "#{function(event)}/#{event.arity}"

  defp text_of(%{event: :return} = event),
    do: "#{function(event)}/#{event.arity} -> #{event.result} (#{event.took} µs)"

  defp text_of(%{event: :exception} = event),
    do:
      "#{function(event)}/#{event.arity} -> ** (#{event.class}) #{event.reason} (#{event.took} µs)"

  defp function(event), do: Pattern.format(event.module, event.function)
end
