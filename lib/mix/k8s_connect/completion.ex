defmodule Mix.K8sConnect.Completion do
  @moduledoc false
  # The scripts of `mix k8s.connect --completion`. Names of tasks, options and values are in the script. What depends on
  # the machine comes from `mix k8s.complete`.

  alias Mix.K8sConnect.Completion.{Bash, Fish, Tasks, Zsh}

  @doc """
  The script for a shell: `"bash"`, `"zsh"` or `"fish"`.
  """
  @spec script(String.t()) :: String.t()
  def script("bash"), do: Bash.script(Tasks.all())
  def script("zsh"), do: Zsh.script(Tasks.all())
  def script("fish"), do: Fish.script(Tasks.all())
end
