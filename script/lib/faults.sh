# shellcheck shell=bash
# Fault injection for a running cluster: network failure, program crashes, pod deletion.
#
# Set by script/cluster.
: "${name:=}" "${state:=}" "${node_name:=}"

check_fault_arguments() {
  local command=$1
  shift
  case $command in
    cut | restore) [ $# = 0 ] || usage_error "$command takes no arguments, got: $1" ;;
    restart)
      [ $# = 1 ] || usage_error "restart takes one program, got: ${*:-nothing}"
      [[ $1 =~ ^(kube-apiserver|kubelet|containerd)$ ]] || usage_error "unknown program: $1. It can be kube-apiserver, kubelet or containerd"
      ;;
    kill)
      [ $# -gt 0 ] || usage_error "missing argument: kill POD"
      [[ $1 =~ ^[a-z0-9][a-z0-9.-]*$ ]] || usage_error "invalid pod name: $1"
      [ $# = 1 ] || [ "$*" = "$1 --beam" ] || usage_error "kill takes a pod and --beam, got: $*"
      ;;
    pause | resume)
      [ $# = 1 ] || usage_error "$command takes one pod, got: ${*:-nothing}"
      [[ $1 =~ ^[a-z0-9][a-z0-9.-]*$ ]] || usage_error "invalid pod name: $1"
      ;;
  esac
}

# In the node's namespace, because tests compare the laptop's nftables rules. Drops packets on arrival, so
# that the laptop gets no ICMP error and no RST.
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

# Adds the table before deleting it: deleting a missing table is an error.
no_cut() { printf 'add table inet cut\ndelete table inet cut\n'; }

nft_in_node() { nsenter --net="/run/netns/$name-node" nft -f - <<< "$1"; }

# PID 1 of the node restarts a program if the file restart/NAME exists. With kill -9, because on SIGTERM the
# API server waits up to a minute for open connections.
fault_restart() {
  need_running
  touch "$state/restart/$1"
  in_node kill -KILL "$(< "$state/run/$1")"
  await 60 "for $1 to restart" restarted "$1"
  await 60 "for $1 to become healthy" is_healthy "$1"
  as_admin wait --for=condition=Ready "node/$node_name" --timeout="$(stretched 60)s" > /dev/null
}

restarted() { [ ! -e "$state/restart/$1" ]; }

is_healthy() {
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
    [ ${#pids[@]} -gt 0 ] || die "no BEAM runs in pod $pod"
  else
    # Before the kill, so that the kubelet does not restart the containers.
    as_admin delete pod "$pod" --grace-period=0 --force --wait=false 2> /dev/null
  fi
  # The processes of a deleted pod may already have exited.
  [ ${#pids[@]} = 0 ] || kill -KILL "${pids[@]}" 2> /dev/null || true
}

beams() {
  local pid
  for pid in "$@"; do
    [ "$(cat "/proc/$pid/comm" 2> /dev/null)" != beam.smp ] || echo "$pid"
  done
}

fault_pause() { signal_beams "$1" STOP; }
fault_resume() { signal_beams "$1" CONT; }

signal_beams() {
  local uid pids
  need_running
  uid=$(as_admin get pod "$1" -o 'jsonpath={.metadata.uid}')
  mapfile -t pids < <(processes_of "$uid")
  mapfile -t pids < <(beams "${pids[@]}")
  [ ${#pids[@]} -gt 0 ] || die "no BEAM runs in pod $1"
  kill "-$2" "${pids[@]}"
}
