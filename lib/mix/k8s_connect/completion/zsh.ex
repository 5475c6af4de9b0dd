defmodule Mix.K8sConnect.Completion.Zsh do
  @moduledoc false
  # Zsh with its completion system.

  alias Mix.K8sConnect.Completion.Tasks

  @doc """
  The script.
  """
  @spec script([Tasks.t()]) :: String.t()
  def script(tasks) do
    """
    # Completes the tasks of k8s_connect in zsh. Save it, and read it in ~/.zshrc, after compinit:
    #
    #     mix k8s.connect --completion zsh > ~/.k8s_connect.zsh
    #     echo '. ~/.k8s_connect.zsh' >> ~/.zshrc
    #
    # Other tasks of mix are completed as before.

    typeset -gA _k8s_connect_options _k8s_connect_kinds
    _k8s_connect_options=(
    #{Enum.map_join(tasks, "\n", &options/1)}
    )
    # What an option or the argument of a task is completed with.
    _k8s_connect_kinds=(
    #{Enum.map_join(Tasks.values(tasks), "\n", &value/1)}
    )
    """ <> functions()
  end

  defp options({task, _kind, options}) do
    names = Enum.flat_map(options, &Tasks.names/1)
    "  #{task} '#{Enum.join(names, " ")}'"
  end

  defp value({names, value}), do: Enum.map_join(names, "\n", &"  #{&1} '#{value}'")

  defp functions do
    ~S"""

    _k8s_connect() {
      local task= before= word kind
      local -a candidates
      integer i
      for ((i = 2; i < CURRENT; i++)); do
        word=${(Q)words[i]}
        if (( ${+_k8s_connect_options[$word]} )); then
          task=$word before=$word
        elif [[ $word == + ]]; then
          task=
        elif [[ -n $task && $word == -- ]]; then
          _default
          return
        else
          before=$word
        fi
      done

      if [[ -z $task ]]; then
        candidates=(${(ok)_k8s_connect_options})
        compadd -a candidates
        [[ -n $_k8s_connect_before ]] && $_k8s_connect_before "$@"
        return
      fi

      word=$words[CURRENT]
      if [[ $word == --*=* ]]; then
        before=${word%%=*}
        compset -P '*='
      fi
      [[ $before == -* ]] && kind=$_k8s_connect_kinds[$before]
      if [[ -z $kind && $word == -* ]]; then
        candidates=(${=_k8s_connect_options[$task]})
        compadd -a -- candidates
        return
      fi
      [[ -n $kind ]] || kind=$_k8s_connect_kinds[$task]

      case $kind in
        words*) candidates=(${=kind#words}) ;;
        files) _files; return ;;
        any) return ;;
        *) candidates=("${(@f)$(MIX_QUIET=1 mix k8s.complete $kind -- "${(@Q)words[2,CURRENT-1]}" 2>/dev/null </dev/null)}") ;;
      esac
      candidates=(${candidates:#})
      compadd -a candidates
    }

    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    typeset -g _k8s_connect_before
    [[ ${_comps[mix]:-} == _k8s_connect ]] || _k8s_connect_before=${_comps[mix]:-}
    compdef _k8s_connect mix
    """
  end
end
