defmodule Mix.K8sConnect.Completion.Fish do
  @moduledoc false
  # Fish keeps the completions that `mix` has, and adds these.

  alias Mix.K8sConnect.Completion.Tasks

  @doc """
  The script.
  """
  @spec script([Tasks.t()]) :: String.t()
  def script(tasks) do
    """
    # Completes the tasks of k8s_connect in fish. Save it where fish reads it:
    #
    #     mix k8s.connect --completion fish > ~/.config/fish/conf.d/k8s_connect.fish
    #
    # Other tasks of mix are completed as before.

    set -g __k8s_connect_tasks #{Enum.map_join(tasks, " ", &elem(&1, 0))}
    """ <> functions() <> Enum.map_join(tasks, &task/1)
  end

  defp functions do
    ~S"""

    # Whether the command line is one of this task.
    function __k8s_connect_task
        set -l task
        for word in (commandline -opc)
            if contains -- $word $__k8s_connect_tasks
                set task $word
            else if test "$word" = + -o "$word" = --
                set task
            end
        end
        test "$task" = "$argv[1]"
    end

    function __k8s_connect_candidates
        set -l words (commandline -opc)
        env MIX_QUIET=1 mix k8s.complete $argv[1] -- $words[2..-1] 2>/dev/null </dev/null
    end

    complete -c mix -n '__k8s_connect_task ""' -a "$__k8s_connect_tasks"
    """
  end

  defp task({task, kind, options}) do
    condition = "complete -c mix -n '__k8s_connect_task #{task}'"
    lines = for option <- options, do: "#{condition} #{option(option)}\n"
    Enum.join(["\n#{condition} -f#{arguments(kind)}\n" | lines])
  end

  defp option({"--" <> long, letter, kind}), do: "-l #{long}#{letter(letter)}#{value(kind)}"

  defp letter(nil), do: ""
  defp letter("-" <> letter), do: " -s #{letter}"

  # `-x`: it needs a value, and that is no file.
  defp value(nil), do: ""
  defp value(:files), do: " -r -F"
  defp value(kind), do: " -x" <> arguments(kind)

  defp arguments(:any), do: ""
  defp arguments(words) when is_list(words), do: " -a '#{Enum.join(words, " ")}'"
  defp arguments(kind), do: " -a '(__k8s_connect_candidates #{kind})'"
end
