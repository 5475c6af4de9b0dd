# shellcheck shell=bash
# What every script here shares: where things are, progress lines, and ways to end.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Built once for a machine, outside of the tree; each entry is named by a hash of its sources.
cache=${K8S_CONNECT_CACHE:-/var/cache/k8s_connect}
# For a slow machine: all time limits of the scripts and the cluster's node are multiplied by it.
timeout_factor=${K8S_CONNECT_TIMEOUT_FACTOR:-1}
# shellcheck disable=SC2034 # for script/bootstrap, which builds it, and script/test
cargo_deny_version=0.20.2
# The user who is here, by sudo too; Rust is installed in this user's home, and sudo resets PATH.
# A user id may have no account.
user_home=$(getent passwd "${SUDO_UID:-$(id -u)}" | cut -d: -f6) || user_home=/nonexistent
export PATH=$PATH:/usr/local/go/bin:$user_home/.cargo/bin:/usr/sbin:/sbin
# shellcheck source=script/lib/system.sh
source "$project/script/lib/system.sh"

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

# need_root SENTENCE ARGUMENT...: the sentence says what needs root, and why.
need_root() { [ "$(id -u)" = 0 ] || die "permission denied: $1. Try: sudo$(printf ' %q' "$0" "${@:2}")"; }

# missing_packages PACKAGE...: those that are not installed, in one line.
missing_packages() {
  local package missing=()
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${Status}' "$package" 2> /dev/null) == *' installed' ]] || missing+=("$package")
  done
  echo "${missing[*]}"
}

# need_packages PACKAGE...: installs those that are missing.
need_packages() {
  local missing
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  [ "$(id -u)" = 0 ] ||
    die "permission denied: installing packages needs root, and some are missing. Try: sudo apt-get install --no-install-recommends $missing"
  # shellcheck disable=SC2086 # words
  step "packages" install_packages $missing
}

install_packages() {
  apt-get update
  # Of the proxies none is started: at this runlevel a service is only installed.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }

# step TEXT COMMAND...: one line with the time it took; the output is shown only if it fails.
step() {
  local start=$EPOCHREALTIME log status step_text=$1 step_terminal='' line
  log=$(mktemp)
  # A name, and not a descriptor: daemons that a step starts would keep it open.
  [ ! -t 2 ] || step_terminal=$(tty <&2) || step_terminal=''
  printf '%-52s' "$1" >&2
  status=$(captured "$log" "${@:2}")
  [ -z "$step_terminal" ] || printf '\r\e[K%-52s' "$1" >&2
  printf '%7s s%s\n' "$(seconds_since "$start")" "$([ "$status" = 0 ] || echo "  FAILED ($status)")" >&2
  report "$status" "$log"
}

# show_progress DONE TOTAL: beside the text of the running step, on a terminal.
show_progress() {
  [ -z "${step_terminal:-}" ] || [ "$2" = 0 ] || printf '\r%-52s%3d %%  %d of %d' "$step_text" $(($1 * 100 / $2)) "$1" "$2" > "$step_terminal"
}

# count_packages TOTAL: counts the lines that `go build -v` prints for packages, which are one word each, and
# passes the others on.
count_packages() {
  local line count=0
  while IFS= read -r line; do
    if [[ $line == *' '* ]]; then printf '%s\n' "$line"; else show_progress $((count += 1)) "$1"; fi
  done
}

# quietly COMMAND...: as step, without the line.
quietly() {
  local log
  log=$(mktemp)
  report "$(captured "$log" "$@")" "$log"
}

# status_of COMMAND...: prints the exit status, so that no caller tests it: in a condition `set -e` would be
# off inside. The output goes to stderr.
status_of() {
  set +e
  (set -e && "$@") >&2
  echo $?
}

# captured FILE COMMAND...: as status_of, with the output in FILE.
captured() { status_of "${@:2}" 2> "$1" < /dev/null; }

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

# as_user COMMAND...: what a user builds stays that user's where root was asked for by sudo.
as_user() {
  if [ "$(id -u)" = 0 ] && [ "${SUDO_UID:-0}" = "$(stat -c %u "$project")" ] && [ "${SUDO_UID:-0}" != 0 ]; then
    setpriv --reuid="$SUDO_UID" --regid="$SUDO_GID" --init-groups env HOME="$user_home" "$@"
  else
    "$@"
  fi
}

# hash_of PATH...: of the contents and names of all files there, as 16 hex digits.
hash_of() {
  (cd "$project" && find "$@" -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
}

# cached KIND HASH TEXT COMMAND...: prints nothing and does nothing where the entry exists; else
# runs COMMAND in an empty folder that then becomes the entry. Keeps the last few. No caller may test its
# status: in a condition `set -e` is off in COMMAND too, and half an entry would be kept.
cached() {
  local kind=$1 entry=$cache/$1/$2 text=$3 keep=3 new
  shift 3
  [ ! -d "$entry" ] || { touch "$entry" 2> /dev/null || true; return; }
  need_root "building $kind needs root, to write to $cache and for mounts"
  mkdir -p "$cache/$kind"
  exec 8> "$cache/$kind/.lock"
  flock 8
  if [ ! -d "$entry" ]; then
    new=$cache/$kind/.new
    rm -rf "$new" # of a run that failed or was killed
    mkdir "$new"
    step "$text" in_directory "$new" "$@"
    mv "$new" "$entry"
    # Some kinds have an entry for each OTP, kernel, suite or version of Kubernetes.
    case $kind in rootfs | app | toolchain | vm-kernel) keep=16 ;; binary | store | vm-image) keep=6 ;; esac
    find "$cache/$kind" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' | sort -rn | tail -n "+$((keep + 1))" | cut -d' ' -f2- | xargs -r rm -rf
  fi
  exec 8>&-
}

in_directory() {
  cd "$1" || return
  "${@:2}"
}
