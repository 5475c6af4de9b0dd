# shellcheck shell=bash
# The suite soak of script/test: faults in random order, while a BEAM on the laptop calls the two pods of app.
#
# shellcheck source=script/lib/coprocess.sh
source "$(dirname "${BASH_SOURCE[0]}")/coprocess.sh"

soak_kinds=(container pod rollout scale kube-apiserver kubelet containerd cut)

# soak MINUTES ROUNDS SEED REPORT: ends after MINUTES, or after ROUNDS if that is not empty. Each round has one fault
# of each kind. Writes the report to the file REPORT. Fails if a value was wrong, if a call hung, or if a pod was not
# called again after a fault. Shows each fault on descriptor 3.
soak() {
  local end=$((SECONDS + $1 * 60)) rounds=$2 report=$4 round=0 kind line=''
  # An interrupted cut must not stay.
  trap 'script/cluster restore' EXIT
  RANDOM=$3
  start_coprocess script/cluster laptop elixir -pa _build/dev/lib/k8s_connect/ebin test/soak sts/app app-0 app-1
  settle "first connection" || return
  until is_over; do
    shuffle_kinds
    for kind in "${soak_kinds[@]}"; do
      [ -n "$rounds" ] || ! is_over || break
      # Up to three seconds without a fault.
      sleep "$((RANDOM % 3)).$((RANDOM % 10))"
      send_line fault "$kind"
      inject "$kind"
      settle "$kind" || break 2
    done
    ((++round))
  done
  send_line report
  while read_line 60 line; do printf '%s\n' "$line"; done | tee "$report"
  end_coprocess
}

# is_over: for soak, by its variables
is_over() { if [ -n "$rounds" ]; then [ "$round" -ge "$rounds" ]; else [ $SECONDS -ge "$end" ]; fi; }

# Each kind comes once in a round, in random order.
shuffle_kinds() {
  local index other kind
  for ((index = ${#soak_kinds[@]} - 1; index > 0; index--)); do
    other=$((RANDOM % (index + 1)))
    kind=${soak_kinds[index]}
    soak_kinds[index]=${soak_kinds[other]}
    soak_kinds[other]=$kind
  done
}

# inject KIND: returns when the fault is over. After container and pod, nothing of the old pod can answer.
inject() {
  local pod=app-$((RANDOM % 2))
  case $1 in
    container) script/cluster kill $pod --beam ;;
    pod) script/cluster kill $pod ;;
    rollout)
      script/cluster kubectl rollout restart statefulset/app
      await_rollout
      ;;
    scale)
      script/cluster kubectl scale statefulset/app --replicas=0
      script/cluster kubectl wait --for=delete pod -l app=app --timeout="$(stretched 60)s"
      script/cluster kubectl scale statefulset/app --replicas=2
      await_rollout
      ;;
    cut)
      script/cluster cut
      sleep 5
      script/cluster restore
      ;;
    *) script/cluster restart "$1" ;;
  esac
}

await_rollout() { script/cluster kubectl rollout status statefulset/app --timeout="$(stretched 120)s"; }

# settle FAULT: waits until both pods have answered. Other lines of the BEAM are printed.
settle() {
  local word rest
  send_line settle
  while read_line 150 word rest; do
    case $word in
      settled) printf '  %-20s %s\n' "$1" "$rest" >&3; return ;;
      unsettled) echo "app did not answer again after $rest" >&2; return 1 ;;
      *) echo "$word $rest" >&2 ;;
    esac
  done
  die "the BEAM of the soak test ended, or does not respond"
}
