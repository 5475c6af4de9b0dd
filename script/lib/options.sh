# shellcheck shell=bash
# The options of `script/cluster up`. They cannot be changed while the cluster is up.
#
# Set by script/cluster and script/lib/artifacts.sh.
: "${name:=}" "${state:=}" "${kubernetes:=}" "${default_kubernetes:=}"
delay=0ms loss=0% nodes=1 ip_family=ipv4

up_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --delay) delay=${2:-}; [[ $delay =~ ^[0-9]{1,4}ms$ ]] || usage_error "--delay needs a time in milliseconds such as 50ms, got: ${delay:-nothing}" ;;
      --loss) loss=${2:-}; [[ $loss =~ ^([0-9]|[1-9][0-9])(\.[0-9]{1,3})?%$ ]] || usage_error "--loss needs a percentage such as 1%, got: ${loss:-nothing}" ;;
      --nodes) nodes=${2:-}; [[ $nodes =~ ^[12]$ ]] || usage_error "--nodes can be 1 or 2, got: ${nodes:-nothing}" ;;
      --ip-family) ip_family=${2:-}; [[ $ip_family =~ ^(ipv4|ipv6|dual)$ ]] || usage_error "--ip-family can be ipv4, ipv6 or dual, got: ${ip_family:-nothing}" ;;
      --kubernetes) K8S_CONNECT_KUBERNETES=${2:-nothing} kubernetes=${2:-nothing}; need_kubernetes "$kubernetes" ;;
      *) usage_error "unknown option: $1" ;;
    esac
    shift 2
  done
  [ "$ip_family" = ipv4 ] || [ "$nodes" = 1 ] || usage_error "--ip-family $ip_family needs a cluster with one node"
}

# Prints the Kubernetes version of the running cluster.
running_kubernetes() { cat "$state/kubernetes" 2> /dev/null || echo "$default_kubernetes"; }

has_delay_or_loss() { [ "$delay $loss" != "0ms 0%" ]; }

# Prints the options in a canonical form. Prints nothing for the defaults.
options() {
  local options=()
  if has_delay_or_loss; then options+=(--delay "$delay" --loss "$loss"); fi
  if [ "$nodes" = 2 ]; then options+=(--nodes 2); fi
  if [ "$ip_family" != ipv4 ]; then options+=(--ip-family "$ip_family"); fi
  echo "${options[*]}"
}

# Exits if the running cluster was started with other options. `up` without options accepts any cluster.
require_same_options() {
  local started_with version
  version=$(running_kubernetes)
  [ "${K8S_CONNECT_KUBERNETES:-$version}" = "$version" ] ||
    die "$name runs Kubernetes $version, not $K8S_CONNECT_KUBERNETES. Try: script/cluster down"
  started_with=$(< "$state/options")
  [ -z "$(options)" ] || [ "$(options)" = "$started_with" ] ||
    die "$name runs with ${started_with:-default options}. Try: script/cluster down"
}
