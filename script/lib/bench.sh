# shellcheck shell=bash
# The benchmarks of script/bench: setup (BENCHMARK_before), one round (BENCHMARK_round) and cleanup
# (BENCHMARK_after). Each sample is a line: tool, metric, number.
#
# shellcheck source=script/lib/artifacts.sh
source "$(dirname "${BASH_SOURCE[0]}")/artifacts.sh"
# shellcheck source=script/lib/coprocess.sh
source "$(dirname "${BASH_SOURCE[0]}")/coprocess.sh"

app_ports=4369,5555
raw_port=6000
# kubectl tunnels SPDY in a WebSocket by default; spdy is kubectl without the WebSocket.
forwards=(kubectl spdy kube_rs)
# Set by script/bench.
: "${quick:=}" "${profile:=}" "${work:=}" "${cluster:=}" "${rounds:=}" "${ms:=}" "${pods:=}"
processes=()

# Sets the profile of cargo, for the library and for the programs of the benchmarks. A smoke test does not wait for
# link-time optimization.
# shellcheck disable=SC2034 # script/bench uses bench_report
choose_build() {
  export K8S_CONNECT_PROFILE=release
  [ -z "$quick" ] || K8S_CONNECT_PROFILE=dev-release
  bench_forward=$project/native/target/$K8S_CONNECT_PROFILE/bench_forward
  bench_report=$project/native/target/$K8S_CONNECT_PROFILE/bench_report
}

# Benchmarks

# The manual recipe leaves its own node in the pod's epmd for a while, and k8s_connect asks that one too: app-0 is for the
# other tools.
connect_before() {
  script/cluster app app --replicas 3
  quietly on_laptop mix k8s.launcher
  quietly script/cluster apply bench/cluster.yaml
  quietly script/cluster kubectl wait --for=condition=Ready pod/bench-named --timeout="$(stretched 60)s"
}
connect_round() {
  figures recipe by_hand
  figures ours ours bench/connect.exs cold=app-1 warm=app-2
  figures ours ours bench/connect.exs named=bench-named
  figures ours on_laptop bench/timed command_ms mix k8s.connect app-1 --rpc 'node()'
  # shellcheck disable=SC2016 # expanded by sh
  figures ours on_laptop bench/timed launcher_ms sh -c 'exec "$HOME/.mix/escripts/k8s_connect" app-1 --rpc "node()"'
  figures mix on_laptop bench/timed command_ms mix run -e ':ok'
  figures exec on_laptop bench/timed command_ms kubectl exec app-0 -- /app/bin/app rpc 'IO.puts(node())'
}
connect_after() {
  quietly script/cluster kubectl delete -f bench/cluster.yaml --ignore-not-found
  one_replica
}

latency_before() { :; }
latency_round() { each_tool bench/latency.exs "$ms"; }
latency_after() { :; }

throughput_before() { quietly in_pod "$(< bench/pod.exs); Bench.Pod.start()"; }
throughput_round() {
  local tool
  each_tool bench/throughput.exs "$ms"
  for tool in ours "${forwards[@]}"; do
    # shellcheck disable=SC2016 # expanded by bench/forwarded
    figures "$tool" forwarded "$tool" $raw_port sh -c '"$0" load "127.0.0.1:$LOCAL" "$FORWARD" "$1"' "$bench_forward" "$ms"
  done
  figures limit on_laptop --root "$bench_forward" limit app-0 $raw_port "$ms"
  has_delay || figures direct in_node_network "$bench_forward" load "$pod_ip:$raw_port" 0 "$ms"
}
throughput_after() { quietly in_pod 'Bench.Pod.stop()'; }

memory_before() {
  script/cluster app app --replicas "$pods"
  figures ours nif_size
}
nif_size() { stat -c %s _build/dev/lib/k8s_connect/priv/native/k8s_connect_nif.so | awk '{ print "nif_mb", $1 / 1e6 }'; }
memory_round() {
  figures ours ours bench/memory.exs ours "$pods"
  figures kubectl on_laptop bench/held "$pods"
}
memory_after() { one_replica; }

idle_before() { counters | on_laptop --root nft -f -; }
# All tools in parallel, because the benchmark takes 10 minutes.
idle_round() {
  local pids=() pid status=0
  figures ours ours bench/idle.exs "$ms" ours app-0 &
  pids+=($!)
  figures kubectl forwarded kubectl $app_ports "${plain[@]}" bench/idle.exs "$ms" plain "app@$pod_ip" &
  pids+=($!)
  figures alone on_laptop --root "${plain[@]}" bench/idle.exs "$ms" alone &
  pids+=($!)
  # Waits for all, so that a failure leaves no process behind.
  for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
  return $status
}
idle_after() { on_laptop --root nft delete table inet bench_idle; }

# Byte counters for dev, who runs k8s_connect, and for root, who runs the other tools. A conntrack mark
# assigns both directions of a connection to its user.
counters() {
  local uid device=$cluster-laptop
  echo 'table inet bench_idle {'
  for uid in 0 4200; do
    cat << EOF
  counter user_$uid {}
  chain whose_$uid { type filter hook output priority 0; meta skuid $uid ct mark set $((uid + 1)); }
  chain sent_$uid { type filter hook postrouting priority 0; oifname $device ct mark $((uid + 1)) counter name user_$uid; }
  chain got_$uid { type filter hook input priority 0; iifname $device ct mark $((uid + 1)) counter name user_$uid; }
EOF
  done
  echo '}'
}

one_replica() {
  script/cluster app app
  quietly script/cluster kubectl wait --for=delete pod -l 'app=app,statefulset.kubernetes.io/pod-name!=app-0' --timeout="$(stretched 120)s"
}

# In steps, because `script/cluster app` waits for two minutes.
many_before() {
  local count
  for ((count = 20; count < pods; count += 20)); do script/cluster app app --replicas $count; done
  script/cluster app app --replicas "$pods"
}
many_round() {
  sample ours many_pods "$pods"
  many ours ours bench/many.exs sts/app "$pods"
  many kubectl on_laptop bench/many "$pods"
}
many_after() { one_replica; }

# many TOOL CMD...: CMD connects to all pods. Restarts the API server meanwhile.
many() {
  local tool=$1
  shift
  start_coprocess "$@"
  read_figures "$tool" connected
  sample "$tool" watches "$(watches)"
  sample "$tool" api_connections "$(api_connections)"
  send_line restart
  restart_api_server
  read_figures "$tool" last_at
  sample "$tool" again_first_ms "$(ms_from "$ready_at" "${times[first_at]}")"
  sample "$tool" again_last_ms "$(ms_from "$ready_at" "${times[last_at]}")"
  sample "$tool" outage_ms "$(ms_from "$down_at" "${times[last_at]}")"
  end_coprocess
}

# Prints the number of watches of pods in a namespace. The cluster's own programs watch all namespaces.
watches() {
  script/cluster kubectl get --raw /metrics |
    awk '/^apiserver_longrunning_requests{/ && /resource="pods"/ && /scope="namespace"/ && /verb="WATCH"/ { sum += $NF } END { print sum + 0 }'
}

# Prints the number of TCP connections from the laptop to the API server.
api_connections() { on_laptop --root ss -Htn state established '( dport = :6443 )' | wc -l; }

# Prints NAME=PID for each process of the node, and for the BEAMs in its pods, which have other network namespaces.
node_processes() {
  ps -e -o pid=,ppid=,args= | awk -v node="$(ip netns pids "$cluster-node" | xargs)" '
    BEGIN { for (count = split(node, pids, " "); count > 0; count--) known[pids[count]] = 1 }
    { parent[$1] = $2; name[$1] = $3; sub(/.*\//, "", name[$1]) }
    END {
      for (pid in name) {
        for (above = pid; above > 1 && !(above in known); above = parent[above]);
        if (pid in known) { gsub(/[^a-z]/, "_", name[pid]); print name[pid] "=" pid }
        else if (above in known && name[pid] == "beam.smp") print "pod=" pid
      }
    }'
}

reconnect_before() { :; }
reconnect_round() {
  reconnect ours ours bench/reconnect.exs ours app-0
  reconnect kubectl on_laptop --root bench/repeated app-0 "${plain[@]}" bench/reconnect.exs plain app-0
}
reconnect_after() { :; }

account_before() {
  throughput_before
  mapfile -t processes < <(node_processes)
}
account_round() { figures ours ours bench/account.exs "$ms" app-0 "${processes[@]}"; }
account_after() { throughput_after; }

# On this machine and not on the laptop: it needs no cluster.
growth_before() { :; }
growth_round() {
  local counts=(1 10 100 1000)
  [ -z "$quick" ] || counts=(1 10)
  # Each session has three descriptors, and two at the stand-in. The VM makes a table of this size.
  ulimit -n 4096
  start_coprocess elixir bench/stand_in.exs "$work"
  read_figures stand_in ready
  figures ours elixir -pa _build/dev/lib/k8s_connect/ebin bench/growth.exs "$work/kubeconfig" "${counts[@]}"
  end_coprocess
}
growth_after() { :; }

# reconnect TOOL CMD...: CMD calls the node in app-0. Measures the time from each fault, or from the end of it, to the first
# right answer.
reconnect() {
  local tool=$1
  shift
  start_coprocess "$@"
  read_figures "$tool" up
  after_container_kill
  after_pod_deletion
  after_api_server_restart
  end_coprocess
}

after_container_kill() {
  local start=$EPOCHREALTIME killed_at
  quietly script/cluster kill app-0 --beam
  killed_at=$EPOCHREALTIME
  await_answer "$start"
  sample "$tool" reconnect_container_ms "$(ms_from "$killed_at" "${times[back_at]}")"
}

after_pod_deletion() {
  local start=$EPOCHREALTIME killed_at watch watch_pid uid new ready
  # One line for each change of the pod.
  exec {watch}< <(exec script/cluster laptop kubectl get pod app-0 --watch -o \
    'jsonpath={.metadata.uid} {.status.conditions[?(@.type=="Ready")].status}{"\n"}')
  watch_pid=$!
  read -r -u "$watch" uid ready
  quietly script/cluster kill app-0
  killed_at=$EPOCHREALTIME
  until
    read -r -t "$(stretched 60)" -u "$watch" new ready || die "timed out waiting for a new app-0 to become ready"
    [[ $new != "$uid" && $ready == True ]]
  do :; done
  ready=$EPOCHREALTIME
  kill "$watch_pid"
  exec {watch}<&-
  await_answer "$start"
  sample "$tool" reconnect_pod_ms "$(ms_from "$ready" "${times[back_at]}")"
  sample "$tool" reconnect_pod_in_total_ms "$(ms_from "$killed_at" "${times[back_at]}")"
}

after_api_server_restart() {
  local start=$EPOCHREALTIME
  restart_api_server
  await_answer "$start"
  sample "$tool" reconnect_server_ms "$(ms_from "$ready_at" "${times[back_at]}")"
  sample "$tool" reconnect_server_in_total_ms "$(ms_from "$down_at" "${times[back_at]}")"
}

# await_answer TIME: reads until a call is answered again after an outage that began after TIME.
await_answer() {
  until
    read_figures "$tool" lost_at
    read_figures "$tool" back_at
    [ "$(ms_from "$1" "${times[lost_at]}")" != 0.0 ]
  do :; done
}

# Sets down_at and ready_at, the times at which the API server did not answer /readyz any more and at which it answered again.
restart_api_server() {
  local poll line
  exec {poll}< <(exec script/cluster laptop bench/ready)
  read -r -u "$poll" line
  [ "$line" = polling ] || die "bench/ready does not poll the API server"
  quietly script/cluster restart kube-apiserver
  read -r -u "$poll" down_at
  read -r -u "$poll" ready_at
  exec {poll}<&-
}

# Tools

# each_tool SCRIPT ARGUMENT...: runs SCRIPT with k8s_connect, with each port-forward, and with a direct route.
each_tool() {
  local tool
  figures ours ours "$@" ours app-0
  for tool in "${forwards[@]}"; do
    figures "$tool" forwarded "$tool" $app_ports "${plain[@]}" "$@" plain "app@$pod_ip"
  done
  has_delay || figures direct in_node_network "${plain[@]}" "$@" plain "app@$pod_ip"
}

# The delay is between laptop and node. The direct route starts on the node, so it cannot be compared then.
has_delay() { [[ $profile != '' && $profile != none ]]; }

ours() { on_laptop elixir -pa _build/dev/lib/k8s_connect/ebin "$@"; }
on_laptop() { script/cluster laptop "$@"; }
in_node_network() { nsenter --net="/run/netns/$cluster-node" "$@"; }
by_hand() { on_laptop --root bench/seed_recipe | sed -n 's/.*connected and called \([0-9]*\) ms/command_ms \1/p'; }

# forwarded TOOL PORTS CMD...
forwarded() { on_laptop --root env BENCH_FORWARD="$bench_forward" bench/forwarded "$1" app-0 "${@:2}"; }

# figures TOOL CMD...: records each line that CMD prints (metric and number) as a sample of TOOL.
figures() {
  local tool=$1 out
  shift
  out=$("$@")
  [ -n "$out" ] || die "no output from the benchmark of $tool: $*"
  printf '%s\n' "$out" | sed "s/^/$tool /" >> "$work/samples"
}

sample() { echo "$*" >> "$work/samples"; }

declare -A times=()

# read_figures TOOL LAST: reads lines of the coprocess up to one that begins with LAST. A name and a number is a sample of
# TOOL, a name that ends with _at and a Unix time goes to `times`. Other lines are printed.
read_figures() {
  local tool=$1 last=$2 name value
  while read_line 600 name value; do
    if [[ $name == *_at ]]; then
      times[$name]=$value
    elif [[ $name =~ ^[a-z0-9_]+$ && $value =~ ^[0-9.]+$ ]]; then
      sample "$tool" "$name" "$value"
    elif [ "$name" != "$last" ]; then
      echo "$name $value" >&2
    fi
    [ "$name" != "$last" ] || return 0
  done
  die "the benchmark of $tool ended, or timed out, before it printed $last"
}

# ms_from TIME TIME: prints the milliseconds from the first to the second, 0 if the second is the earlier one.
ms_from() { awk -v a="$1" -v b="$2" 'BEGIN { ms = (b - a) * 1000; printf "%.1f", (ms > 0 ? ms : 0) }'; }

# Environment

# Sets pod_ip, and plain, a command that starts a VM without k8s_connect: hidden, with the cookie, without epmd.
prepare_plain() {
  local home=$work/home
  pod_ip=$(script/cluster kubectl get pod app-0 -o 'jsonpath={.status.podIP}')
  rm -rf "$home"
  mkdir "$home"
  (umask 077 && script/cluster kubectl get secret app-cookie -o 'jsonpath={.data.cookie}' | base64 -d > "$home/.erlang.cookie")
  # shellcheck disable=SC2016 # expanded by sh
  plain=(env HOME="$home" sh -c 'exec elixir --hidden --name "bench-$$@127.0.0.1" --erl "-dist_listen false -start_epmd false" "$@"' sh)
}

in_pod() { script/cluster kubectl exec app-0 -- /app/bin/app rpc "$@"; }

# Shares the target directory of native, which has most of the dependencies.
build_bench() { in_directory bench cargo build --quiet --profile "$K8S_CONNECT_PROFILE" --locked --target-dir "$project/native/target"; }

# Prints the machine, the commit and all versions, one key and value per line.
describe() {
  local crate
  printf '%s %s\n' profile "${profile:-unnamed}" rounds "$rounds" \
    commit "$(git rev-parse --short HEAD)$([ -z "$(git status --porcelain -- lib native mix.exs)" ] || echo ' and changes')" \
    cpu "$(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)" cores "$(nproc)" kernel "$(uname -r)"
  elixir -e 'IO.puts("otp #{:erlang.system_info(:otp_release)}\nelixir #{System.version()}")'
  script/cluster kubectl version | sed -n 's/^Server Version: v/kubernetes /p; s/^Client Version: v/kubectl /p'
  for crate in kube hyper rustls tokio rustler; do
    printf '%s %s\n' $crate "$(grep -A 1 "^name = \"$crate\"\$" native/Cargo.lock | sed -n 's/^version = "\(.*\)"/\1/p')"
  done
}
