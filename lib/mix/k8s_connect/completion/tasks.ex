defmodule Mix.K8sConnect.Completion.Tasks do
  @moduledoc false
  # What the scripts complete: the tasks, and the switches that `OptionParser` takes.

  alias Mix.K8sConnect.Switches

  @typedoc """
  What an argument or the value of an option is: one of these words, a file, what `mix k8s.complete` prints, or
  anything.
  """
  @type kind :: [String.t()] | :files | :targets | :contexts | :namespaces | :any

  @typedoc "An option: `--namespace`, its letter, and its value; without one it is a switch."
  @type option :: {long :: String.t(), letter :: String.t() | nil, kind() | nil}

  @type t :: {String.t(), kind(), [option()]}

  @tasks [
    {"k8s.connect", :targets},
    {"k8s.doctor", :targets},
    {"k8s.observer", :targets},
    {"k8s.trace", :targets},
    {"k8s.livebook", :targets},
    {"k8s.pods", :targets},
    {"k8s.init", :any},
    {"k8s.helper", ~w(install status uninstall)},
    {"k8s.launcher", :files}
  ]
  @files [:kubeconfig, :cookie_file, :tls_ca, :tls_cert, :tls_key, :audit]
  # Switches that are on by default.
  @negated [:wait, :reconnect, :returns, :arguments]

  @doc """
  The tasks with the kind of their argument and their options.
  """
  @spec all() :: [t()]
  def all, do: for({task, kind} <- @tasks, do: {task, kind, options(task)})

  @doc """
  The names of an option, its letter first.
  """
  @spec names(option()) :: [String.t(), ...]
  def names({long, letter, _kind}), do: List.wrap(letter) ++ [long]

  @doc """
  What is completed with a value, by its names: the options that have one, and the tasks with their argument. A value is
  a word, and words begin with `words`.
  """
  @spec values([t()]) :: [{[String.t(), ...], String.t()}]
  def values(tasks) do
    options =
      for {_task, _kind, options} <- tasks, {_, _, kind} = option when kind != nil <- options do
        {names(option), word(kind)}
      end

    Enum.uniq(options) ++ for {task, kind, _options} <- tasks, do: {[task], word(kind)}
  end

  defp word(words) when is_list(words), do: Enum.join(["words" | words], " ")
  defp word(kind), do: Atom.to_string(kind)

  defp options(task) do
    {switches, letters} = Switches.of(task)

    for {name, type} <- switches do
      letter = Enum.find_value(letters, fn {letter, long} -> long == name && "-#{letter}" end)
      {long(name), letter, if(type == :boolean, do: nil, else: kind(name))}
    end
  end

  defp long(name) when name in @negated, do: "--no-" <> dashed(name)
  defp long(name), do: "--" <> dashed(name)

  defp dashed(name), do: name |> Atom.to_string() |> String.replace("_", "-")

  defp kind(:context), do: :contexts
  defp kind(:namespace), do: :namespaces
  defp kind(name) when name in @files, do: :files

  defp kind(name) do
    case Switches.values(name) do
      [] -> :any
      values -> values
    end
  end
end
