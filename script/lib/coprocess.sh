# shellcheck shell=bash
# A coprocess: a program beside the script, which writes lines to its standard input and reads lines from its
# standard output. Bash's own `coproc` closes the pipes when the program ends, with lines that are not read yet.
#
#   coprocess_pid   the process
#   coprocess_in    descriptor that leads to its standard input

coprocess_pid='' coprocess_in='' coprocess_out=''

# start_coprocess CMD...
start_coprocess() {
  local directory
  directory=$(mktemp -d)
  mkfifo "$directory"/{in,out}
  "$@" < "$directory/in" > "$directory/out" &
  coprocess_pid=$!
  exec {coprocess_in}> "$directory/in" {coprocess_out}< "$directory/out"
  rm -r "$directory"
}

# send_line WORD...
send_line() { echo "$*" >&"$coprocess_in"; }

# read_line SECONDS VARIABLE...: reads a line into the variables. Fails after SECONDS, and if the coprocess has
# ended.
read_line() { read -r -t "$(stretched "$1")" -u "$coprocess_out" "${@:2}"; }

# end_coprocess: closes its standard input, waits until it ends, and returns its exit status.
end_coprocess() {
  local status=0
  exec {coprocess_in}>&-
  # Its last lines must not block it.
  cat <&"$coprocess_out" >&2
  exec {coprocess_out}<&-
  wait "$coprocess_pid" || status=$?
  return $status
}
