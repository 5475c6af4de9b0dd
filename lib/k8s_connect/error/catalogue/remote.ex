defmodule K8sConnect.Error.Catalogue.Remote do
  @moduledoc false
  # Code and shells on the node, once it is connected.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:raised, %{node: node, text: text}),
    do: {"could not evaluate the expression on #{node}: #{text}", nil}

  def entry(:no_elixir, %{node: node}) do
    {"unsupported: #{node} has no Elixir to evaluate the expression",
     {"Call functions with :erpc from this BEAM instead", "Start IEx with",
      {:mix, "k8s.connect", []}}}
  end

  def entry(:no_iex, %{node: node}) do
    {"unsupported: #{node} has no IEx",
     {"Open IEx on this side instead", {:mix, "k8s.connect", []}}}
  end

  def entry(:no_shell, %{problem: problem}) do
    {"could not start a shell on this terminal: #{bare(problem)}",
     {"Evaluate an expression instead", {:mix, "k8s.connect", [rpc: "node()"]}}}
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
end
