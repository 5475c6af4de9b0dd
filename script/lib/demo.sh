# shellcheck shell=bash
# What script/demo shows on the cluster: ten steps, each of which checks its result, or a shell with three apps.
#
# Set by script/demo.
: "${work:=}"

# Tools

laptop() { script/cluster laptop "$@"; }

steps=10 number=0
heading() { printf '\n\n== %d/%d  %s\n' $((number += 1)) $steps "$1"; }

# show LINE: prints the command line as typed, runs it on the laptop, and sets `status`. `output` is a file.
show() {
  printf '\n$ %s\n' "$1"
  status=0
  laptop bash -c "$1" < /dev/null 2>&1 | tee "$output" || status=$?
}

# holds PATTERN SENTENCE: ends the demo with SENTENCE unless the last command exited with 0 and printed PATTERN.
holds() { { [ "$status" = 0 ] && grep -qE "$1" "$output"; } || fail "$2"; }

fail() { die "step $number of $steps failed: $1"; }

# The ten steps

show_steps() {
  output=$work/output held=$work/held pod_ip=$(script/cluster kubectl get pod app-0 -o 'jsonpath={.status.podIP}')
  show_network
  show_pods
  show_expression
  show_shell
  show_all_pods
  show_numbers
  show_trace
  show_guard
  show_replacement
  show_kill
}

show_network() {
  heading "An ordinary user on a laptop that reaches only the API server"
  show "id -un"
  holds '^dev$' "the laptop's user is not dev"
  show "ip route"
  holds . "the laptop has no route to the API server"
  show "echo > /dev/tcp/$pod_ip/5555    # the Erlang node in pod app-0"
  [ "$status" != 0 ] || fail "the laptop can connect to the pod without k8s_connect"
}

show_pods() {
  heading "List the pods that look like Erlang nodes"
  show "mix k8s.pods"
  holds '^app-1 +1/1' "the list does not have app-1, ready"
}

show_expression() {
  heading "Evaluate an expression in the pod"
  show "mix k8s.connect app-0 --rpc '{node(), System.otp_release()}'"
  holds "^\{:\"app@$pod_ip\", \"[0-9]+\"\}" "app-0 did not evaluate the expression"
}

show_shell() {
  heading "IEx on the laptop, connected to the pod"
  show "iex -S mix k8s.connect app-0 << 'END'
[node] = Node.list(:connected)
:erpc.call(node, :inet, :gethostname, [])
END"
  holds "\{:ok, ['~c\"]+app-0" "IEx did not call the node in app-0"
}

show_all_pods() {
  heading "All pods at once"
  show "mix k8s.connect sts/app --all --rpc ':erlang.memory(:total)'"
  holds '^app-0: [0-9]' "app-0 did not evaluate the expression"
  holds '^app-1: [0-9]' "app-1 did not evaluate the expression"
}

show_numbers() {
  heading "Memory, load and top processes of the node"
  show "mix k8s.observer app-0 --once --sort memory --limit 5"
  holds '^memory [0-9.]+ MB' "the snapshot does not have the memory of the node"
}

show_trace() {
  local call="mix k8s.connect app-0 --quiet --rpc 'Enum.sum(1..10)'"
  heading "Trace a function on the node"
  call_until_traced "$call" &
  show "mix k8s.trace app-0 Enum.sum/1 --limit 1    # meanwhile: $call"
  holds 'Enum\.sum/1 -> 55' "the trace did not show the call of Enum.sum/1"
  wait
}

# The trace does not say when it has started.
call_until_traced() {
  : > "$output"
  until grep -q 'Enum\.sum/1 ->' "$output"; do laptop bash -c "$1"; done > /dev/null 2>&1
}

show_guard() {
  heading "The pod cannot run a command on the laptop"
  show "iex -S mix k8s.connect app-0 << 'END'
[node] = Node.list(:connected)
:erpc.call(node, :rpc, :call, [node(), :os, :cmd, [~c[id]]])
END"
  holds '\{:badrpc, :notsup\}' "the call from the pod was not rejected"
  holds 'refused: app@.* tried to start a process here' "the session did not print the refusal"
}

show_replacement() {
  heading "The pod is replaced, and the session reconnects"
  before=$(traces)
  printf '\n$ mix k8s.connect app-1 &\n'
  laptop mix k8s.connect app-1 < /dev/null > "$held" 2>&1 &
  await 20 "for the connection" grep -q 'end it with' "$held"
  cat "$held"
  printf '\n$ kubectl delete pod app-1    # an admin\n'
  script/cluster kubectl delete pod app-1
  await 60 "until the session is connected to the new pod" reconnected
  tail -n 2 "$held"
}

reconnected() { [[ $(tail -n 2 "$held") == *'reconnecting …'*'connected to app@'* ]]; }

show_kill() {
  local beam after
  heading "kill -9 leaves nothing behind"
  beam=$(sed -n 's/.*end it with: kill \([0-9]*\).*/\1/p' "$held")
  printf '\n$ kill -9 %s    # the session\n' "$beam"
  kill -KILL "$beam"
  wait
  after=$(traces)
  printf '\nBefore the session:\n%s\n' "$before"
  [ "$before" = "$after" ] || { printf 'After kill -9:\n%s\n' "$after"; fail "the killed BEAM left something behind: the two lists differ"; }
  echo "After kill -9: the same."
}

# Prints what a connection could leave on the laptop.
# shellcheck disable=SC2016 # expanded by the laptop's shell
traces() {
  # Other clusters have the same user. An epmd is a listening socket.
  laptop sh -c '
    echo "listening sockets: $(grep -c " 0A " /proc/net/tcp)"
    echo "temporary files: $(find /tmp -maxdepth 1 -user "$(id -u)" -name "k8s_connect-*" | wc -l)"
    echo "routes: $(ip route | wc -l)"'
  laptop --root sh -c 'echo "rules: $(iptables-save | grep -c "^-A")"'
}

# A shell with three apps

deploy_apps() {
  script/cluster app app --replicas 2
  script/cluster app otp27 --otp 27
  script/cluster app rabbit --variant rabbitmq
}

open_shell() {
  cat << 'END'

This is a shell of user dev on "the laptop", a network namespace that reaches only the API server. The cluster has app
(2 pods), otp27 (OTP 27) and rabbit (RabbitMQ; mix k8s.pods does not list it, because its spec has no variable or port
of Erlang). Try:

  mix k8s.pods                                    # list the pods that look like Erlang nodes
  mix k8s.connect app-0                           # IEx here, connected to the node in app-0
  mix k8s.connect otp27-0 --remsh                 # IEx on the node
  mix k8s.connect sts/app --all --rpc 'node()'    # on both pods
  mix k8s.connect rabbit-0 --rpc 'rabbit:status().'
  mix k8s.observer app-0                          # what the node does
  mix k8s.doctor app-0                            # check each step of a connection

End it with: exit

END
  laptop env PS1='dev@laptop$ ' bash --norc -i || true
}
