defmodule K8sConnect.Error.Catalogue.Remote do
  @moduledoc false
  # Code, shells and traces on the node, once it is connected.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:raised, %{node: node, text: text} = details) do
    as = if details[:only_erlang], do: ", as Erlang because the node has no Elixir"
    {"could not evaluate the expression on #{node}#{as}: #{text}", nil}
  end

  def entry(:timeout, %{node: node, timeout_ms: timeout}) do
    {[
       "timed out after #{timeout} ms evaluating the expression on #{node}. Its process there was killed. Allow more ",
       "time with ",
       {:option, :rpc_timeout}
     ], nil}
  end

  def entry(:too_large, %{node: node, size: size, limit: limit}) do
    {"could not print the result of the expression on #{node}: it has #{size} bytes, and the limit is #{limit}",
     "Take a part of it, or print it there with IO.puts, which has no limit"}
  end

  def entry(:no_iex, %{node: node}) do
    {"unsupported: #{node} has no IEx",
     {"Open IEx on this side instead", {:mix, "k8s.connect", []}}}
  end

  def entry(:no_shell, %{problem: problem}) do
    {"could not start a shell: #{bare(problem)}",
     {"Evaluate an expression instead", {:mix, "k8s.connect", [rpc: "node()"]}}}
  end

  def entry(:no_terminal, %{problem: problem}) do
    {"could not show the view on this terminal: #{bare(problem)}",
     {"Print one snapshot instead", {:mix, "k8s.observer", [once: true]}}}
  end

  def entry(:no_such_module, %{node: node, module: module}),
    do: {"could not trace: no such module #{bare(module)} on #{node}", nil}

  def entry(:module_not_loaded, %{node: node, module: module}) do
    {"could not trace: #{bare(module)} is not loaded on #{node}",
     {"Load it with",
      {:elixir, ":erpc.call(#{inspect(node)}, :code, :ensure_loaded, [#{module}])",
       {:mix, "k8s.connect", [rpc: "Code.ensure_loaded(#{module})"]}}}}
  end

  def entry(:no_such_function, %{node: node, private: true, function: function}) do
    {[
       "could not trace: #{function} on #{node} is private, and is traced only with ",
       {:option, :local, true}
     ], nil}
  end

  def entry(:no_such_function, %{node: node, function: function, available: []} = details),
    do: {"could not trace: no such function #{function} on #{node}", nothing_else(details)}

  def entry(:no_such_function, %{node: node, function: function} = details) do
    {"could not trace: no such function #{function} on #{node}",
     "#{details.module} has #{Enum.join(details.available, ", ")}"}
  end

  def entry(:too_many_functions, %{node: node, count: count, max: max}) do
    {"could not trace: the patterns match #{count} functions on #{node}, and at most #{max} can be traced",
     "Trace fewer modules"}
  end

  def entry(:no_such_process, %{node: node}),
    do: {"could not trace: no such process on #{node}", "Pass its pid or its registered name"}

  def entry(:already_traced, %{node: node}) do
    {"could not trace: #{node} is traced already, and OTP before 27 has one tracer for a process",
     {"If nobody uses dbg or Observer there, clear the traces with",
      {:elixir, stop(node), {:mix, "k8s.connect", [rpc: stop()]}}}}
  end

  def entry(:overload, %{node: node, calls: calls}) do
    {"stopped the trace after #{calls} calls: there were more calls on #{node} than the tracer can handle",
     "Trace fewer functions, or one process"}
  end

  def entry(:tracer_ended, %{node: node}) do
    {[
       "lost the trace: the tracer on #{node} was killed. Large arguments can exceed its memory limit. Leave them out with ",
       {:option, :arguments, false}
     ], nil}
  end

  def entry(:not_traced, %{node: node, problem: problem}),
    do: {"could not trace on #{node}: #{bare(problem)}", report()}

  def entry(:read_only, %{node: node}) do
    {"permission denied: the connection to #{node} is read-only, and this command runs code on the node",
     {"Connect with write access", {:mix, "k8s.connect", [read_only: false]}}}
  end

  def entry(:no_observer, %{application: application, otp: otp}) do
    {"could not open Observer: the Erlang/OTP #{otp} of this machine has no #{application}",
     {"Install it, on Debian and Ubuntu with: apt-get install erlang-observer erlang-wx. " <>
        "Other packages have it if they were built with wxWidgets", "Or use the terminal",
      {:mix, "k8s.observer", [text: true]}}}
  end

  def entry(:no_window, %{problem: problem}) do
    {"could not open Observer's window: #{bare(problem)}",
     {"Use the terminal instead", {:mix, "k8s.observer", [text: true]}}}
  end

  def entry(:no_runtime_tools, %{node: node}) do
    {"could not open Observer: #{node} has no runtime_tools, which Observer needs there",
     {"Add :runtime_tools to extra_applications in the mix.exs of its release",
      "Or use the terminal, which needs nothing there", {:mix, "k8s.observer", [text: true]}}}
  end

  def entry(:not_observed, %{node: node, problem: problem}) do
    {"could not observe #{node}: #{bare(problem)}",
     {"Find the cause with", {:mix, "k8s.doctor", []}}}
  end

  def entry(:not_attachable, %{node: node, why: :short_name}) do
    {"could not attach Livebook to #{node}: Livebook has a long name, and connects only to nodes with long names",
     iex()}
  end

  def entry(:not_attachable, %{node: node, why: :no_elixir}) do
    {"could not attach Livebook to #{node}: Elixir does not run on the node, and Livebook needs it there",
     iex()}
  end

  def entry(:not_attachable, %{node: node, why: :other_elixir} = details) do
    %{elixir: there, livebook: here} = details

    {"could not attach Livebook to #{node}: the node runs Elixir #{bare(there)}, and Livebook runs Elixir " <>
       "#{bare(here)}. Livebook attaches only to its own minor version of Elixir",
     {"Install a Livebook with Elixir #{minor(there)}; the guide \"A node in Livebook\" lists the versions",
      "Or open IEx", {:mix, "k8s.connect", []}}}
  end

  def entry(:not_attachable, %{node: node, why: :colon}) do
    {"could not attach Livebook to #{node}: the node's cookie has a colon, which LIVEBOOK_DEFAULT_RUNTIME cannot contain",
     {"Enter the node's name and the cookie in the notebook instead",
      "Run livebook server as the command CMD of", {:mix, "k8s.connect", [route: :exec]}}}
  end

  def entry(:not_attachable, %{node: node, why: :reserved_name}) do
    {"could not attach Livebook to #{node}: for a name that begins with remote_runtime_, Livebook connects to a port of this machine",
     iex()}
  end

  defp iex, do: {"Open IEx instead", {:mix, "k8s.connect", []}}

  defp minor(version),
    do: version |> String.split(".") |> Enum.take(2) |> Enum.join(".") |> bare()

  defp nothing_else(%{module: module}), do: "#{module} has no functions"

  defp stop(node) do
    "for {function, arguments} <- [trace: [:all, false, [:all]], trace_pattern: [{:_, :_, :_}, false, [:local]]], " <>
      "do: :erpc.call(#{inspect(node)}, :erlang, function, arguments)"
  end

  defp stop,
    do: ":erlang.trace(:all, false, [:all]); :erlang.trace_pattern({:_, :_, :_}, false, [:local])"
end
