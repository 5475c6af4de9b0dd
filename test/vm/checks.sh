# shellcheck shell=bash
# shellcheck disable=SC2034 # other scripts use the variables
# Shared by the checks in the VM.

helper=/usr/local/libexec/k8s_connect_helper

# expect TEXT EXPECTED ACTUAL
expect() {
  if [ "$3" = "$2" ]; then echo "ok $1"; else echo "FAILED $1: expected $2, got: $3"; fi
}

# refusal COMMAND...: starts the helper and prints its refusal, or `ready`.
refusal() { "$@" 2>&1 < /dev/null | tr -d '\0' | grep -aoE '"refusal":\{?"[a-z0-9_]+|"ready"' | tr -d '"{' | sed 's/refusal://' || true; }

# programs: prints the number of connect4 and connect6 programs that are attached to any cgroup.
programs() { sudo bpftool cgroup tree /sys/fs/cgroup | grep -cE 'inet[46]_connect' || true; }

# counted COMMAND...: runs the checks and prints a summary line like ExUnit.
counted() {
  local report failed
  report=$(mktemp)
  { "$@" 2>&1 || echo "FAILED the checks exited with $?"; } | tee "$report"
  failed=$(grep -c ^FAILED "$report" || true)
  echo "$(grep -cE '^(ok|FAILED) ' "$report") tests, $failed failures"
  rm "$report"
  [ "$failed" = 0 ]
}
