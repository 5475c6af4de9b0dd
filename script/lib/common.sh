# shellcheck shell=bash
# Shared by all scripts: paths, usage and error messages, progress, and the cache of built artifacts.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# The cache is outside the source tree and shared by all clones. A hash of the sources names each entry.
cache=${K8S_CONNECT_CACHE:-/var/cache/k8s_connect}
# Multiplies all timeouts of the scripts and of the cluster's node, for slow machines.
timeout_factor=${K8S_CONNECT_TIMEOUT_FACTOR:-1}
# shellcheck disable=SC2034 # script/bootstrap builds it, script/test runs it
cargo_deny_version=0.20.2
# The home directory of the user, or of the user who called sudo. rustup installs Rust there, and sudo resets
# PATH. In a container the user ID may have no account.
user_home=$(getent passwd "${SUDO_UID:-$(id -u)}" | cut -d: -f6) || user_home=/nonexistent
export PATH=$PATH:/usr/local/go/bin:$user_home/.cargo/bin:/usr/sbin:/sbin
# shellcheck source=script/lib/system.sh
source "$project/script/lib/system.sh"

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}
[[ $timeout_factor =~ ^[1-9][0-9]{0,2}$ ]] || die "K8S_CONNECT_TIMEOUT_FACTOR must be a whole number from 1, got: $timeout_factor"

# Prints the comment at the top of the script.
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"; }

usage_error() {
  printf '%s: %s\n\n' "${0##*/}" "$1" >&2
  usage >&2
  exit 2
}

# need_root REASON ARGUMENT...: exits unless root runs the script. ARGUMENTs repeat the script's own.
need_root() { [ "$(id -u)" = 0 ] || die "permission denied: $1. Try: sudo$(printf ' %q' "$0" "${@:2}")"; }

# missing_packages PACKAGE...: prints the packages that are not installed, in one line.
missing_packages() {
  local package missing=()
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${Status}' "$package" 2> /dev/null) == *' installed' ]] || missing+=("$package")
  done
  echo "${missing[*]}"
}

# need_packages PACKAGE...: installs missing packages.
need_packages() {
  local missing
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  [ "$(id -u)" = 0 ] ||
    die "permission denied: installing packages needs root, and packages are missing. Try: sudo apt-get install --no-install-recommends $missing"
  # shellcheck disable=SC2086 # one argument per package
  step "packages" install_packages $missing
}

install_packages() {
  apt-get update
  # RUNLEVEL=1 keeps the packages' services (proxies) from being started.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }

# step TEXT COMMAND...: prints TEXT and the run time. Prints the output only if COMMAND fails.
step() {
  local start=$EPOCHREALTIME log status step_text=$1 step_terminal='' line
  log=$(mktemp)
  # The name of the terminal, not a file descriptor, which daemons started by COMMAND would inherit.
  [ ! -t 2 ] || step_terminal=$(tty <&2) || step_terminal=''
  printf '%-52s' "$1" >&2
  status=$(captured "$log" "${@:2}")
  [ -z "$step_terminal" ] || printf '\r\e[K%-52s' "$1" >&2
  printf '%7s s%s\n' "$(seconds_since "$start")" "$([ "$status" = 0 ] || echo "  FAILED ($status)")" >&2
  report "$status" "$log"
}

# show_progress DONE TOTAL: shows progress next to the text of the running step, if stderr is a terminal.
show_progress() {
  [ -z "${step_terminal:-}" ] || [ "$2" = 0 ] || printf '\r%-52s%3d %%  %d of %d' "$step_text" $(($1 * 100 / $2)) "$1" "$2" > "$step_terminal"
}

# count_packages TOTAL: shows the progress of `go build -v`, which prints the name of each package in a line.
# Other lines, which have spaces, are printed.
count_packages() {
  local line count=0
  while IFS= read -r line; do
    if [[ $line == *' '* ]]; then printf '%s\n' "$line"; else show_progress $((count += 1)) "$1"; fi
  done
}

# quietly COMMAND...: prints the output only if COMMAND fails.
quietly() {
  local log
  log=$(mktemp)
  report "$(captured "$log" "$@")" "$log"
}

# status_of COMMAND...: prints the exit status; the output goes to stderr. A caller that tested COMMAND in a
# condition would disable `set -e` inside of it.
status_of() {
  set +e
  (set -e && "$@") >&2
  echo $?
}

# captured FILE COMMAND...: prints the exit status; the output goes to FILE.
captured() { status_of "${@:2}" 2> "$1" < /dev/null; }

report() {
  [ "$1" = 0 ] || cat "$2" >&2
  rm -f "$2"
  return "$1"
}

# stretched SECONDS: prints the timeout for this machine.
stretched() { echo $(($1 * timeout_factor)); }

# await SECONDS TEXT COMMAND...: repeats COMMAND until it succeeds.
await() {
  local end text=$2 limit
  limit=$(stretched "$1")
  end=$((SECONDS + limit))
  shift 2
  until "$@"; do
    [ $SECONDS -lt $end ] || die "timed out after $limit s waiting $text"
    sleep 0.05
  done
}

# as_user COMMAND...: under sudo, runs COMMAND as the user who owns the project, so that this user also owns
# the build.
as_user() {
  if [ "$(id -u)" = 0 ] && [ "${SUDO_UID:-0}" = "$(stat -c %u "$project")" ] && [ "${SUDO_UID:-0}" != 0 ]; then
    setpriv --reuid="$SUDO_UID" --regid="$SUDO_GID" --init-groups env HOME="$user_home" "$@"
  else
    "$@"
  fi
}

# hash_of PATH...: prints a hash of the contents and names of all files, as 16 hex digits.
hash_of() {
  (cd "$project" && find "$@" -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
}

# cached KIND HASH TEXT COMMAND...: unless the cache has the entry KIND/HASH, runs COMMAND in an empty directory,
# which becomes the entry. Keeps only the newest entries. Not for use in a condition, which disables `set -e`
# in COMMAND: the cache would keep an incomplete entry.
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
    rm -rf "$new" # left by a failed or killed build
    mkdir "$new"
    step "$text" in_directory "$new" "$@"
    mv "$new" "$entry"
    # More entries for kinds that depend on the OTP, kernel, Debian release or version of Kubernetes.
    case $kind in rootfs | app | toolchain | vm-kernel) keep=16 ;; binary | store | vm-image) keep=6 ;; esac
    find "$cache/$kind" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' | sort -rn | tail -n "+$((keep + 1))" | cut -d' ' -f2- | xargs -r rm -rf
  fi
  exec 8>&-
}

in_directory() {
  cd "$1" || return
  "${@:2}"
}
