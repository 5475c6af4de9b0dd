# shellcheck shell=bash
# The words of `script/cluster up`: what a cluster is started with, and stays.
#
# script/cluster's.
: "${name:=}" "${state:=}"
delay=0ms loss=0%

up_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --delay) delay=${2:-}; [[ $delay =~ ^[0-9]{1,4}ms$ ]] || usage_error "--delay needs a time as 50ms, got: $delay" ;;
      --loss) loss=${2:-}; [[ $loss =~ ^([0-9]|[1-9][0-9])(\.[0-9]{1,3})?%$ ]] || usage_error "--loss needs a part as 1%, got: $loss" ;;
      *) usage_error "unknown word: $1" ;;
    esac
    shift 2
  done
}

distant() { [ "$delay $loss" != "0ms 0%" ]; }

# In one form, and nothing where all is as it is without words.
options() { if distant; then echo "--delay $delay --loss $loss"; fi; }

# A cluster that runs is used as it is, unless something else was asked for.
same_options() {
  local runs
  runs=$(< "$state/options")
  [ -z "$(options)" ] || [ "$(options)" = "$runs" ] ||
    die "$name runs with ${runs:-no distance}. Try: script/cluster down"
}
