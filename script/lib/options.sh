# shellcheck shell=bash
# The words of `script/cluster up`: what a cluster is started with, and stays.
#
# script/cluster's, and script/lib/artifacts.sh's.
: "${name:=}" "${state:=}" "${kubernetes:=}" "${default_kubernetes:=}"
delay=0ms loss=0% nodes=1

up_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --delay) delay=${2:-}; [[ $delay =~ ^[0-9]{1,4}ms$ ]] || usage_error "--delay needs a time as 50ms, got: $delay" ;;
      --loss) loss=${2:-}; [[ $loss =~ ^([0-9]|[1-9][0-9])(\.[0-9]{1,3})?%$ ]] || usage_error "--loss needs a part as 1%, got: $loss" ;;
      --nodes) nodes=${2:-}; [[ $nodes =~ ^[12]$ ]] || usage_error "--nodes can be 1 or 2, got: $nodes" ;;
      --kubernetes) K8S_CONNECT_KUBERNETES=${2:-nothing} kubernetes=${2:-nothing}; need_kubernetes "$kubernetes" ;;
      *) usage_error "unknown word: $1" ;;
    esac
    shift 2
  done
}

# The version of the cluster that runs.
its_kubernetes() { cat "$state/kubernetes" 2> /dev/null || echo "$default_kubernetes"; }

distant() { [ "$delay $loss" != "0ms 0%" ]; }

# In one form, and nothing where all is as it is without words.
options() {
  local words=()
  if distant; then words+=(--delay "$delay" --loss "$loss"); fi
  if [ "$nodes" = 2 ]; then words+=(--nodes 2); fi
  echo "${words[*]}"
}

# A cluster that runs is used as it is, unless something else was asked for.
same_options() {
  local runs version
  version=$(its_kubernetes)
  [ "${K8S_CONNECT_KUBERNETES:-$version}" = "$version" ] ||
    die "$name runs Kubernetes $version, not $K8S_CONNECT_KUBERNETES. Try: script/cluster down"
  runs=$(< "$state/options")
  [ -z "$(options)" ] || [ "$(options)" = "$runs" ] ||
    die "$name runs with ${runs:-none of that}. Try: script/cluster down"
}
