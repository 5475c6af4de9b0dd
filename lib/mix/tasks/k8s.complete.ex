defmodule Mix.Tasks.K8s.Complete do
  @moduledoc false
  # Prints what the scripts of `mix k8s.connect --completion` complete a command line with, one candidate a line:
  #
  #     mix k8s.complete targets | contexts | namespaces --line LINE
  #     mix k8s.complete targets | contexts | namespaces -- WORD...
  #
  # It prints nothing else. Mix may compile dependencies before it finds this task, and the scripts set `MIX_QUIET` for
  # that. A shell that cannot remove quotes gives the line as it is.

  use Mix.Task

  alias K8sConnect.Shellwords
  alias Mix.K8sConnect.Completion.Candidates

  @impl true
  def run([kind | rest]) do
    configure()
    kind |> Candidates.all(words(rest)) |> Enum.each(&IO.puts/1)
  rescue
    # The message would appear in the middle of a command line.
    _exception -> :ok
  end

  def run([]), do: :ok

  defp words(["--line", line]), do: Shellwords.split(line)
  defp words(["--" | words]), do: words
  defp words(_other), do: []

  # `config/runtime.exs` may have targets, too.
  defp configure do
    file = Path.join(Path.dirname(Mix.Project.config()[:config_path]), "runtime.exs")

    if File.regular?(file) do
      config = Config.Reader.read!(file, env: Mix.env(), target: Mix.target())
      Application.put_all_env(Keyword.take(config, [:k8s_connect]))
    end
  end
end
