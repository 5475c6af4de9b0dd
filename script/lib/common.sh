# shellcheck shell=bash
# What every script here shares: where things are, progress lines, and ways to end.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Built once for a machine, outside of the tree; each entry is named by a hash of its sources.
cache=${K8S_CONNECT_CACHE:-/var/cache/k8s_connect}
# For a slow machine: all time limits of the scripts and the cluster's node are multiplied by it.
timeout_factor=${K8S_CONNECT_TIMEOUT_FACTOR:-1}
# shellcheck disable=SC2034 # for script/bootstrap, which builds it, and script/test
cargo_deny_version=0.20.2
export PATH=$PATH:/usr/local/go/bin:/usr/sbin:/sbin

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}
[[ $timeout_factor =~ ^[1-9][0-9]{0,2}$ ]] || die "K8S_CONNECT_TIMEOUT_FACTOR must be a whole number from 1, got: $timeout_factor"

# A script's usage is the comment at its top.
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"; }

usage_error() {
  printf '%s: %s\n\n' "${0##*/}" "$1" >&2
  usage >&2
  exit 2
}

need_root() { [ "$(id -u)" = 0 ] || die "$1 needs root. Try: sudo $0 ${*:2}"; }

# need_packages PACKAGE...: installs those that are missing.
need_packages() {
  local package missing=()
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${Status}' "$package" 2> /dev/null) == *' installed' ]] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  need_root "installing packages (${missing[*]})"
  step "packages" install_packages "${missing[@]}"
}

install_packages() {
  apt-get update
  # Of the proxies none is started: at this runlevel a service is only installed.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }

# step TEXT COMMAND...: one line with the time it took; the output is shown only if it fails.
step() {
  local start=$EPOCHREALTIME log status
  log=$(mktemp)
  printf '%-52s' "$1" >&2
  status=$(captured "$log" "${@:2}")
  printf '%7s s%s\n' "$(seconds_since "$start")" "$([ "$status" = 0 ] || echo "  FAILED ($status)")" >&2
  report "$status" "$log"
}

# quietly COMMAND...: as step, without the line.
quietly() {
  local log
  log=$(mktemp)
  report "$(captured "$log" "$@")" "$log"
}

# Prints the exit status, so that no caller tests it: in a condition `set -e` would be off inside.
captured() {
  set +e
  (set -e && "${@:2}") > "$1" 2>&1 < /dev/null
  echo $?
}

report() {
  [ "$1" = 0 ] || cat "$2" >&2
  rm -f "$2"
  return "$1"
}

# stretched SECONDS: the time limit on this machine.
stretched() { echo $(($1 * timeout_factor)); }

# await SECONDS TEXT COMMAND...: asks until COMMAND says yes.
await() {
  local end text=$2
  end=$((SECONDS + $(stretched "$1")))
  shift 2
  until "$@"; do
    [ $SECONDS -lt $end ] || die "gave up waiting: $text"
    sleep 0.05
  done
}

# hash_of PATH...: of the contents and names of all files there, as 16 hex digits.
hash_of() {
  (cd "$project" && find "$@" -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
}

# cached KIND HASH TEXT COMMAND...: prints nothing and does nothing where the entry exists; else
# runs COMMAND in an empty folder that then becomes the entry. Keeps the last few.
cached() {
  local kind=$1 entry=$cache/$1/$2 text=$3 keep=3 new
  shift 3
  [ ! -d "$entry" ] || { touch "$entry" 2> /dev/null || true; return; }
  need_root "building $kind in $cache"
  mkdir -p "$cache/$kind"
  exec 8> "$cache/$kind/.lock"
  flock 8
  if [ ! -d "$entry" ]; then
    new=$cache/$kind/.new
    rm -rf "$new" # of a run that failed or was killed
    mkdir "$new"
    # Also where a caller looks at the status: `set -e` is off then.
    step "$text" in_directory "$new" "$@" || return
    mv "$new" "$entry"
    # Some kinds have an entry for each OTP or kernel.
    case $kind in rootfs | app | toolchain | vm-kernel) keep=16 ;; vm-image) keep=6 ;; esac
    find "$cache/$kind" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' | sort -rn | tail -n "+$((keep + 1))" | cut -d' ' -f2- | xargs -r rm -rf
  fi
  exec 8>&-
}

in_directory() {
  cd "$1" || return
  "${@:2}"
}
