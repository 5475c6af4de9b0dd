defmodule Mix.K8sConnect.Completion.Bash do
  @moduledoc false
  # Bash, with or without the package bash-completion.

  alias Mix.K8sConnect.Completion.Tasks

  @doc """
  The script.
  """
  @spec script([Tasks.t()]) :: String.t()
  def script(tasks) do
    """
    # Completes the tasks of k8s_connect in bash. Save it, and read it in ~/.bashrc:
    #
    #     mix k8s.connect --completion bash > ~/.k8s_connect.bash
    #     echo '. ~/.k8s_connect.bash' >> ~/.bashrc
    #
    # Other tasks of mix are completed as before.

    __k8s_connect_tasks='#{Enum.map_join(tasks, " ", &elem(&1, 0))}'

    __k8s_connect_options() {
      case $1 in
    #{Enum.map_join(tasks, "\n", &options/1)}
      esac
    }

    # What an option or the argument of a task is completed with.
    __k8s_connect_kind() {
      case $1 in
    #{Enum.map_join(Tasks.values(tasks), "\n", &value/1)}
      esac
    }
    """ <> functions()
  end

  defp options({task, _kind, options}) do
    names = Enum.flat_map(options, &Tasks.names/1)
    "    #{task}) echo '#{Enum.join(names, " ")}' ;;"
  end

  defp value({names, value}), do: "    #{Enum.join(names, "|")}) echo '#{value}' ;;"

  # `COMP_WORDS` is split at each `:` and `=`, so the line is split again, at spaces that are not quoted.
  defp functions do
    ~S"""

    __k8s_connect_split() {
      local line=$1 char quote='' word='' i
      __k8s_connect_words=()
      for ((i = 0; i < ${#line}; i++)); do
        char=${line:i:1}
        if [[ $quote == "'" ]]; then
          word+=$char
          [[ $char == "'" ]] && quote=
        elif [[ $char == '\' ]]; then
          word+=${line:i:2}
          ((i += 1))
        elif [[ $quote == '"' ]]; then
          word+=$char
          [[ $char == '"' ]] && quote=
        elif [[ $char == "'" || $char == '"' ]]; then
          word+=$char
          quote=$char
        elif [[ $char == [[:space:]] ]]; then
          [[ -n $word ]] && __k8s_connect_words+=("$word")
          word=
        else
          word+=$char
        fi
      done
      __k8s_connect_words+=("$word")
    }

    # Adds a candidate, quoted as the current word $1 is, if it continues that word. Bash replaces only what is
    # behind the last character of COMP_WORDBREAKS, which $2 is not part of.
    __k8s_connect_add() {
      local current=$1 skipped=$2 candidate=$3 quoted
      case $current in
        \'*) [[ $candidate == *\'* ]] && return; quoted="'$candidate" ;;
        \"*) [[ $candidate == *[\"\$\`\\!]* ]] && return; quoted="\"$candidate" ;;
        *) printf -v quoted %q "$candidate" ;;
      esac
      [[ $quoted == "$current"* ]] || return
      # Bash has removed the quote from the word that it compares.
      [[ $current == [\'\"]* ]] && quoted=${quoted:1}
      COMPREPLY+=("${quoted#"$skipped"}")
    }

    __k8s_connect_complete() {
      local line=${COMP_LINE:0:COMP_POINT} task='' word before='' current kind skipped='' candidate
      COMPREPLY=()
      __k8s_connect_split "$line"
      local last=$((${#__k8s_connect_words[@]} - 1)) i
      current=${__k8s_connect_words[last]}
      for ((i = 1; i < last; i++)); do
        word=${__k8s_connect_words[i]}
        case " $__k8s_connect_tasks " in *" $word "*) task=$word before=$task ;; *) before=$word ;; esac
        [[ -n $task && $word == -- ]] && return
        [[ $word == + ]] && task=
      done

      if [[ -z $task ]]; then
        __k8s_connect_previous "$@"
        for candidate in $__k8s_connect_tasks; do __k8s_connect_add "$current" '' "$candidate"; done
        return
      fi

      if [[ $current == --*=* ]]; then
        before=${current%%=*}
        skipped=$before=
        current=${current#*=}
        # Without = in COMP_WORDBREAKS bash replaces the option, too.
        [[ $COMP_WORDBREAKS == *=* ]] && skipped=
      fi
      kind=
      [[ $before == -* ]] && kind=$(__k8s_connect_kind "$before")
      if [[ -z $kind && $current == -* ]]; then
        for candidate in $(__k8s_connect_options "$task"); do __k8s_connect_add "$current" '' "$candidate"; done
        return
      fi
      [[ -n $kind ]] || kind=$(__k8s_connect_kind "$task")

      [[ $kind == files || $kind == any ]] && return
      compopt +o default 2>/dev/null
      local prefix=$skipped
      skipped=
      if [[ $current != [\'\"]* ]]; then
        for ((i = 0; i < ${#current}; i++)); do
          if [[ ${current:i:1} == '\' ]]; then
            ((i += 1))
          elif [[ $COMP_WORDBREAKS == *"${current:i:1}"* ]]; then
            skipped=${current:0:i+1}
          fi
        done
      fi
      case $kind in
        words*) for candidate in ${kind#words }; do __k8s_connect_add "$current" "$skipped" "$candidate"; done ;;
        *)
          unset "__k8s_connect_words[last]"
          while IFS= read -r candidate; do
            [[ -n $candidate ]] && __k8s_connect_add "$current" "$skipped" "$candidate"
          done < <(MIX_QUIET=1 mix k8s.complete "$kind" --line "${__k8s_connect_words[*]}" 2>/dev/null </dev/null)
          ;;
      esac
      [[ -n $prefix ]] && COMPREPLY=("${COMPREPLY[@]/#/$prefix}")
    }

    # The completion of mix that there was before, or that bash-completion loads when it is needed.
    __k8s_connect_previous() {
      if [[ -z $__k8s_connect_before && -z $__k8s_connect_loaded ]]; then
        __k8s_connect_loaded=1
        if declare -F _comp_load >/dev/null; then
          _comp_load -- mix >/dev/null 2>&1
        elif declare -F _completion_loader >/dev/null; then
          _completion_loader mix >/dev/null 2>&1
        fi
        __k8s_connect_register
      fi
      [[ -n $__k8s_connect_before ]] && "$__k8s_connect_before" "$@"
    }

    __k8s_connect_register() {
      local known
      known=$(complete -p mix 2>/dev/null)
      if [[ $known =~ -F\ ([^\ ]+) && ${BASH_REMATCH[1]} != __k8s_connect_complete && ${BASH_REMATCH[1]} != _minimal ]]; then
        __k8s_connect_before=${BASH_REMATCH[1]}
      fi
      complete -o default -F __k8s_connect_complete mix
    }

    # As they are, where the script is read again.
    : "${__k8s_connect_before=}" "${__k8s_connect_loaded=}"
    __k8s_connect_register
    """
  end
end
