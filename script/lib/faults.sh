# shellcheck shell=bash
# What goes wrong in production, done to a cluster that runs.
#
# script/cluster's.
: "${name:=}" "${state:=}" "${node_name:=}"

fault_words() {
  local command=$1
  shift
  case $command in
    cut | restore) [ $# = 0 ] || usage_error "$command takes no words, got: $1" ;;
    restart)
      [ $# = 1 ] || usage_error "restart needs one program"
      [[ $1 =~ ^(kube-apiserver|kubelet|containerd)$ ]] || usage_error "cannot restart: $1"
      ;;
    kill)
      [ $# -gt 0 ] || usage_error "kill needs a pod"
      [[ $1 =~ ^[a-z0-9][a-z0-9.-]*$ ]] || usage_error "not a name of a pod: $1"
      [ $# = 1 ] || [ "$*" = "$1 --beam" ] || usage_error "kill takes a pod and --beam, got: $*"
      ;;
  esac
}

# In the node's namespace: the laptop's tables are looked at by tests. What the laptop sends is
# dropped as it arrives, and it gets no answer of any kind.
fault_cut() {
  need_running
  nft_in_node "$(no_cut)
    table inet cut {
      chain in { type filter hook prerouting priority -300; iifname \"$name-node\" drop; }
      chain out { type filter hook postrouting priority 300; oifname \"$name-node\" drop; }
    }"
}

fault_restore() {
  need_running
  nft_in_node "$(no_cut)"
}

# Added first: what is not there cannot be deleted.
no_cut() { printf 'add table inet cut\ndelete table inet cut\n'; }

nft_in_node() { nsenter --net="/run/netns/$name-node" nft -f - <<< "$1"; }

# PID 1 of the node starts a program anew when it ends and restart/NAME is there. By kill -9: an API
# server that is asked to end first waits for a minute for those who are connected.
fault_restart() {
  need_running
  touch "$state/restart/$1"
  in_node kill -KILL "$(< "$state/run/$1")"
  await 60 "for the next $1" restarted "$1"
  await 60 "for an answer of $1" answers "$1"
  as_admin wait --for=condition=Ready "node/$node_name" --timeout="$(stretched 60)s" > /dev/null
}

restarted() { [ ! -e "$state/restart/$1" ]; }

answers() {
  case $1 in
    kube-apiserver) as_admin get --raw /readyz ;;
    kubelet) as_admin get --raw "/api/v1/nodes/$node_name/proxy/healthz" ;;
    containerd) in_node ctr version ;;
  esac > /dev/null 2>&1
}

fault_kill() {
  local pod=$1 uid pids
  need_running
  uid=$(as_admin get pod "$pod" -o 'jsonpath={.metadata.uid}')
  mapfile -t pids < <(processes_of "$uid")
  if [ $# = 2 ]; then
    mapfile -t pids < <(beams "${pids[@]}")
    [ ${#pids[@]} -gt 0 ] || die "there is no BEAM in $pod"
  else
    # First, so that the kubelet starts no container anew.
    as_admin delete pod "$pod" --grace-period=0 --force --wait=false 2> /dev/null
  fi
  # Those of a deleted pod may have ended by themselves by now.
  [ ${#pids[@]} = 0 ] || kill -KILL "${pids[@]}" 2> /dev/null || true
}

beams() {
  local pid
  for pid in "$@"; do
    [ "$(cat "/proc/$pid/comm" 2> /dev/null)" != beam.smp ] || echo "$pid"
  done
}
