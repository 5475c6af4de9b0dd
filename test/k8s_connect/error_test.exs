defmodule K8sConnect.ErrorTest do
  use ExUnit.Case, async: true

  alias K8sConnect.Error
  alias K8sConnect.Error.Catalogue

  # One line for each kind of the catalogue: its details, and what the sentence must say.
  @sentences [
    {:options, :not_a_keyword, %{value: "a map"}, ["got a map", "K8sConnect.pods(namespace:"]},
    {:options, :unknown_option, %{option: :a, known: [:b, :c]}, [":a", ":b, :c"]},
    {:options, :bad_configuration, %{file: "config/runtime.exs", problem: "no x."},
     ["config/runtime.exs: no x", "mix app.config"]},
    {:options, :remsh_in_iex, %{}, ["--remsh", "iex -S mix"]},
    {:options, :unknown_configuration, %{key: :protekt, known: [:protect]},
     [":protekt", ":protect"]},
    {:options, :bad_option, %{option: :a, value: 1, expected: "a string"},
     [":a", "a string", "got 1"]},
    {:options, :no_target, %{}, ["app-0", "sts/app", "kubectl get pods"]},
    {:options, :target_and_selector, %{target: "app-0"}, ["\"app-0\"", "not both"]},
    {:options, :bad_words, %{problem: "--x is no option"}, ["--x is no option. See: mix help"]},
    {:options, :kernel_only, %{option: :sudo, route: :vm}, [":sudo", ":vm"]},
    {:options, :bad_cookie_file, %{file: "/c", size: 3000}, ["3000 bytes", "wc -c /c"]},
    {:options, :no_cookie_file, %{file: "/c", problem: "gone"}, ["/c: gone", "ls -l /c"]},
    {:native, :not_loaded, %{path: "/x.so", problem: "gone"},
     ["/x.so", "gone", "mix deps.compile"]},
    {:native, :task_died, %{}, ["a fault of its own"]},
    {:config, :not_found, %{tried: []}, ["neither KUBECONFIG nor HOME", "export KUBECONFIG="]},
    {:config, :not_found, %{tried: ["/a", "/b"]}, ["no file /a, nor /b", "export KUBECONFIG="]},
    {:config, :unreadable, %{path: "/a", problem: "denied"}, ["/a: denied", "ls -l /a"]},
    {:config, :malformed, %{path: "/a", problem: "line 3"},
     ["/a", "line 3", "kubectl config view"]},
    {:config, :no_context, %{known: []}, ["current-context", "none at all"]},
    {:config, :no_context, %{known: ["a", "b"]}, ["current-context", "There are: a, b"]},
    {:config, :unknown_context, %{context: "x", known: ["a"]}, ["\"x\"", "There are: a"]},
    {:config, :unknown_cluster, %{context: "x", cluster: "c"},
     ["\"x\"", "\"c\"", "get-clusters"]},
    {:config, :unknown_user, %{context: "x", user: "u"}, ["\"x\"", "\"u\"", "get-users"]},
    {:config, :protected, %{context: "prod-eu", pattern: "prod*"},
     ["\"prod-eu\"", "\"prod*\"", "yes: true", "--context prod-eu --yes"]},
    {:config, :bad_cluster, %{context: "x", problem: "no url"}, ["no url", "--context x"]},
    {:config, :bad_user, %{context: "x", problem: "no key"}, ["no key", "--context x"]},
    {:config, :old_auth_provider, %{context: "x", provider: "azure", replacement: "kubelogin"},
     ["\"x\"", "\"azure\"", "kubelogin convert-kubeconfig"]},
    {:config, :old_auth_provider,
     %{context: "x", provider: "gcp", replacement: "gke-gcloud-auth-plugin"},
     ["gke-gcloud-auth-plugin", "get-credentials"]},
    {:config, :old_auth_provider, %{context: "x", provider: "y", replacement: nil},
     ["\"y\"", "set-credentials"]},
    {:config, :bad_proxy, %{context: "x", from: "HTTPS_PROXY", problem: "no URL"},
     ["HTTPS_PROXY", "no URL", "printenv HTTPS_PROXY"]},
    {:config, :bad_proxy, %{context: "x", from: "proxy-url of the kubeconfig", problem: "no URL"},
     ["no URL", "config view --minify --context x"]},
    {:config, :bad_service_account, %{folder: "/var", problem: "ca.crt: gone"},
     ["ca.crt: gone", "ls -l /var"]},
    {:config, :bad_namespace, %{namespace: "a/b"}, ["\"a/b\"", "kubectl get namespaces"]},
    {:cluster, :unreachable, %{server: "https://s", problem: "refused"},
     ["https://s: refused", "cluster-info"]},
    {:cluster, :timed_out, %{server: "https://s", timeout_ms: 5},
     ["https://s", "5 ms", "cluster-info"]},
    {:cluster, :unknown_authority, %{server: "https://s"},
     ["https://s", "authority", "config view"]},
    {:cluster, :tls, %{server: "https://s", problem: "bad"}, ["https://s: bad", "cluster-info"]},
    {:cluster, :client_certificate_expired, %{context: "x", not_after: "2020"},
     ["\"x\"", "2020"]},
    {:cluster, :unauthorized, %{context: "x", server: "https://s"},
     ["401", "auth whoami --context x"]},
    {:cluster, :forbidden, %{verb: "list", resource: "pods", namespace: "shop", message: "no."},
     ["may not list pods", "\"shop\"", "no. Is", "mix k8s.doctor -n shop"]},
    {:cluster, :refused, %{server: "https://s", code: 500, message: "oops"},
     ["500: oops", "cluster-info"]},
    {:cluster, :not_kubernetes, %{server: "https://s", problem: "html"},
     ["https://s", "html", "config view"]},
    {:cluster, :forbidden_both_ways,
     %{resource: "pods/portforward", namespace: "shop", message: "no."},
     [
       "permission denied: verbs get and create on pods/portforward are missing",
       "\"shop\" (403): no. SPDY needs create",
       "[pods/portforward], verbs: [get, create]}",
       "mix k8s.doctor -n shop"
     ]},
    {:cluster, :forbidden,
     %{
       verb: "create",
       resource: "pods/portforward",
       namespace: "shop",
       message: "it is forbidden: "
     },
     [
       "permission denied: verb create on pods/portforward is missing",
       "\"shop\" (403): it is forbidden. SPDY needs create. A WebSocket needs get, and from Kubernetes 1.35 on",
       "[pods/portforward], verbs: [get, create]}",
       "mix k8s.doctor -n shop"
     ]},
    {:cluster, :forbidden_both_ways, %{resource: "pods/exec", namespace: "shop", message: "no."},
     ["verbs get and create on pods/exec", "\"shop\"", "verbs: [get, create]", "--cookie-file"]},
    {:cluster, :no_upgrade,
     %{
       server: "https://s",
       pod: "p",
       namespace: "n",
       answers: ["SPDY: 400.", "a WebSocket: 403"]
     },
     [
       "\"p\"",
       "https://s",
       "SPDY: 400, and a WebSocket: 403. A proxy",
       "port-forward p 4369 -n n"
     ]},
    {:cluster, :plugin_not_found, %{program: "aws", path: "/a:/b", hint: "install it.\n"},
     ["aws", "/a:/b", "says: install it. PATH is", "which aws"]},
    {:cluster, :plugin_not_found, %{program: "/x/aws", path: nil, hint: nil}, ["ls -l /x/aws"]},
    {:cluster, :plugin_not_started, %{program: "aws", problem: "EACCES"},
     ["EACCES", "aws --help"]},
    {:cluster, :plugin_failed,
     %{program: "aws", context: "x", status: "exit code 1", words: "No login."},
     ["exit code 1: No login. Try", "--raw /version --context x"]},
    {:cluster, :plugin_failed, %{program: "aws", context: "x", status: "SIGKILL", words: ""},
     ["SIGKILL and said nothing"]},
    {:cluster, :plugin_too_slow, %{program: "aws", context: "x", timeout_ms: 5},
     ["aws", "5 ms", "--timeout", "--context x"]},
    {:cluster, :plugin_rubbish, %{program: "aws", context: "x", problem: "no JSON."},
     ["aws", "no JSON. Try", "--context x"]},
    {:cluster, :plugin_version, %{program: "aws", context: "x", expected: "v1", seen: "v1beta1"},
     ["in v1beta1", "as v1", "--context x"]},
    {:cluster, :plugin_needs_terminal, %{program: "aws", context: "x"},
     ["aws", "terminal", "--context x"]},
    {:cluster, :plugin_empty, %{program: "aws", context: "x"},
     ["neither a token", "--context x"]},
    {:cluster, :token_file, %{path: "/t", problem: "gone."}, ["/t: gone. Look", "ls -l /t"]},
    {:cluster, :oidc, %{context: "x", issuer: "https://i", problem: "it answers 400."},
     ["https://i", "\"x\": it answers 400. Log", "kubelogin", "--context x"]},
    {:cluster, :proxy_unreachable, %{proxy: "p:1", from: "HTTPS_PROXY", problem: "refused."},
     ["p:1 (HTTPS_PROXY): refused. Is", "telnet://p:1"]},
    {:cluster, :proxy_login, %{proxy: "p:1", from: "HTTPS_PROXY", given: false},
     ["wants a name", "http://name:password@p:1. See it with: printenv HTTPS_PROXY"]},
    {:cluster, :proxy_login, %{proxy: "p:1", from: "HTTPS_PROXY", given: true},
     ["does not take"]},
    {:cluster, :proxy_refused,
     %{proxy: "p:1", from: "HTTPS_PROXY", server: "s:2", answer: "403 Filtered"},
     ["p:1", "s:2: 403 Filtered", "export NO_PROXY=$NO_PROXY,s"]},
    {:cluster, :proxy_cannot_reach,
     %{proxy: "p:1", from: "proxy-url of the kubeconfig", server: "s:2", answer: "502."},
     ["p:1", "s:2: 502. Is", "Take proxy-url out"]},
    {:cluster, :not_a_proxy, %{proxy: "p:1", from: "HTTPS_PROXY", seen: "SSH."},
     ["p:1", "SSH. Its", "socks5://"]},
    {:cluster, :timed_out_by_proxy,
     %{server: "https://s", proxy: "p:1", from: "HTTPS_PROXY", timeout_ms: 5},
     ["https://s", "p:1", "5 ms", "cluster-info"]},
    {:cluster, :server_certificate_not_yet_valid,
     %{server: "https://s", not_before: "2030", now: "2020"},
     ["https://s", "from 2030", "it is 2020", "timedatectl"]},
    {:cluster, :server_certificate_expired,
     %{server: "https://s", not_after: "2020", now: "2030"},
     ["https://s", "until 2020", "it is 2030", "kubeadm"]},
    {:cluster, :hung_up, %{server: "https://s", problem: "eof"},
     ["https://s", "eof", "gateways"]},
    {:cluster, :too_many_requests, %{server: "https://s", message: "later."},
     ["https://s", "429", "later. Try", "--timeout"]},
    {:target, :bad_target, %{target: "job/x"}, ["\"job/x\"", "sts/app", "kubectl get pods"]},
    {:target, :no_such_pod, %{pod: "p", namespace: "n"},
     ["\"p\"", "\"n\"", "kubectl get pods -n n"]},
    {:target, :no_pods, %{target: "sts/x", namespace: "n"},
     ["sts/x", "kubectl get pods -n n --show-labels"]},
    {:target, :not_running, %{pod: "p", namespace: "n", phase: "Pending"},
     ["Pending", "describe pod p -n n"]},
    {:target, :replaced, %{pod: "p", namespace: "n"},
     ["\"p\"", "replaced", "mix k8s.connect p -n n"]},
    {:target, :no_container, %{container: "c", known: ["a", "b"]}, ["\"c\"", "There are: a, b"]},
    {:node, :no_epmd, %{pod: "p", namespace: "n", message: "refused.", tried: []},
     ["4369", "(refused). Is", "--port", "kubectl logs"]},
    {:node, :no_epmd, %{pod: "p", namespace: "n", message: "refused.", tried: [1, 2]},
     ["(refused), and no node at 1, 2", "--port"]},
    {:node, :nothing_at, %{pod: "p", namespace: "n", port: 9100, message: "refused."},
     ["9100", "(refused)", "ss -ltn"]},
    {:node, :epmd_silent, %{pod: "p", namespace: "n"}, ["4369", "5 s", "epmd -names"]},
    {:node, :epmd_junk, %{pod: "p", namespace: "n", seen: "HTTP"},
     ["not epmd", "HTTP", "epmd -names"]},
    {:node, :no_nodes, %{pod: "p", namespace: "n"}, ["knows no node", "kubectl logs"]},
    {:node, :unknown_node, %{pod: "p", namespace: "n", wanted: "x", known: ["a", "b"]},
     ["\"x\"", "a, b"]},
    {:node, :several_nodes, %{pod: "p", namespace: "n", known: ["a", "b"]}, ["a, b", "--node a"]},
    {:node, :port_refused, %{pod: "p", namespace: "n", node: "a", port: 5555, message: "refused"},
     ["5555", "inet_dist_use_interface"]},
    {:node, :handshake_silent, %{pod: "p", namespace: "n", node: "a"},
     ["\"a\"", "stuck?", "kubectl logs"]},
    {:node, :junk, %{pod: "p", namespace: "n", expected: "a status", seen: "HTTP"},
     ["a status was due", "\"HTTP\"", "epmd -names"]},
    {:node, :rejected, %{pod: "p", namespace: "n", status: "not_allowed"},
     ["not_allowed", "kubectl logs"]},
    {:node, :too_old, %{pod: "p", namespace: "n"}, ["OTP 23", "kubectl exec"]},
    {:node, :bad_name, %{pod: "p", namespace: "n", name: "a b"}, ["\"a b\"", "epmd -names"]},
    {:node, :link_closed, %{reason: "gone"}, ["gone", "Try again"]},
    {:node, :handshake_closed, %{pod: "p", namespace: "n", node: "a"},
     ["\"a\"", "without a word", "flags", "kubectl logs"]},
    {:node, :tls_only, %{pod: "p", namespace: "n", node: "a", port: 5555},
     ["\"a\"", "TLS at port 5555", "inet_tls", "kubectl exec -it p -n n -- sh"]},
    {:cookie, :not_found, %{pod: "p"},
     ["\"p\"", "RELEASE_COOKIE", "--cookie-from exec", "[pods/exec]", "--cookie-file"]},
    {:cookie, :not_there, %{pod: "p", problem: "no sh."}, ["\"p\": no sh.", "--cookie-file"]},
    {:cluster, :forbidden,
     %{verb: "create", resource: "pods/exec", namespace: "n", message: "no"},
     ["verb create on pods/exec", "\"n\"", "[pods/exec], verbs: [get, create]", "--cookie-file"]},
    {:outlet, :no_socket, %{directory: "/t", problem: "denied"}, ["/t: denied", "export TMPDIR"]},
    {:outlet, :no_listener, %{address: "::1", problem: "no."}, ["listen on ::1: no. See"]},
    {:outlet, :target_is_server, %{address: "10.0.0.1:6443"}, ["10.0.0.1:6443", "cluster-info"]},
    {:outlet, :no_pod_address, %{pod: "p", namespace: "n"}, ["\"p\"", "get pod p -n n -o wide"]},
    {:helper, :not_installed, %{path: "/h"},
     ["no such file: /h", "k8s.helper install", "--route vm", "--exec"]},
    {:helper, :not_started, %{path: "/h", problem: "denied"}, ["/h: denied", "ls -l /h"]},
    {:helper, :no_sudo, %{}, ["no sudo", "k8s.helper install"]},
    {:helper, :sudo, %{}, ["password", "sudo -v"]},
    {:helper, :died, %{words: "it ended", times: 1},
     ["has ended: it ended", "k8s.helper status"]},
    {:helper, :died, %{words: "it ended", times: 3},
     ["3 times", "it ended", "k8s.helper status"]},
    {:helper, :silent, %{timeout_ms: 5}, ["5 ms", "ps -C k8s_connect_helper"]},
    {:helper, :unreadable, %{problem: "junk"}, ["junk", "k8s.helper install"]},
    {:helper, :wrong_version, %{major: 1, minor: 0}, ["take over", "k8s.helper install"]},
    {:helper, :wrong_version, %{major: 3, minor: 1}, ["3.1", "k8s.helper install"]},
    {:helper, :no_caller, %{}, ["SUDO_UID", "doas", "--route vm"]},
    {:helper, :no_capability, %{why: :file_capabilities}, ["its file", "k8s.helper install"]},
    {:helper, :no_capability, %{why: :bounding_set}, ["bounding set", "grep CapBnd"]},
    {:helper, :no_capability, %{why: :user_namespace}, ["user namespace", "lsns"]},
    {:helper, :no_capability, %{why: :unknown}, ["tracer", "getcap"]},
    {:helper, :no_new_privs, %{}, ["no_new_privs", "grep NoNewPrivs"]},
    {:helper, :nosuid, %{}, ["nosuid", "findmnt"]},
    {:helper, :no_cgroup2, %{}, ["cgroup2", "--exec", "findmnt"]},
    {:helper, :no_user_slice, %{cgroup: "/x", uid: 7},
     ["cgroup /x", "user-7.slice", "--exec", "cat /proc/self/cgroup"]},
    {:helper, :no_btf, %{name: "cred.uid"}, ["cred.uid", "BTF", "/sys/kernel/btf/vmlinux"]},
    {:helper, :no_bpf, %{step: "loading", problem: "no"}, ["loading: no", "Linux 5.19", "uname"]},
    {:helper, :exclusive_program, %{cgroup: "/c"}, ["/c", "bpftool cgroup tree"]},
    {:helper, :would_hide, %{cgroup: "/c"}, ["/c", "disable it", "bpftool cgroup tree"]},
    {:helper, :too_many, %{limit: 8}, ["8 programs", "pgrep -a k8s_connect"]},
    {:helper, :not_led, %{test: "it must"}, ["it must", "uname -r"]},
    {:helper, :set_uid, %{}, ["setuid", "k8s.helper install"]},
    {:helper, :no_such_process, %{pid: 7}, ["id 7", "ps -p 7"]},
    {:helper, :kernel, %{step: "a map", problem: "no"},
     ["failed a map: no", "k8s.helper status"]},
    {:helper, :bad_destination, %{to: "1.1.1.1:5", why: :local},
     ["1.1.1.1:5", "of this machine"]},
    {:helper, :bad_destination, %{to: "1.1.1.1:5", why: :loopback}, ["loopback"]},
    {:helper, :bad_destination, %{to: "1.1.1.1:5", why: :unspecified},
     ["no address of a single"]},
    {:helper, :bad_destination, %{to: "1.1.1.1:5", why: :multicast}, ["multicast"]},
    {:helper, :bad_destination, %{to: "1.1.1.1:5", why: :broadcast}, ["broadcast"]},
    {:helper, :bad_destination, %{to: "1.1.1.1:5", why: :link_local}, ["on one link"]},
    {:helper, :bad_destination, %{to: "1.1.1.1:5", why: :reserved}, ["reserved"]},
    {:helper, :bad_destination, %{to: "1.1.1.1:5", why: :mapped}, ["IPv4 address in an IPv6"]},
    {:helper, :low_port, %{to: "1.1.1.1:5", port: 5},
     ["port 5 is below 1024", "inet_dist_listen_min"]},
    {:helper, :no_listener, %{via: 4000}, ["port 4000", "ss -ltn"]},
    {:helper, :foreign_listener, %{via: 4000, uid: 7}, ["port 4000", "uid 7", "ss -ltnp"]},
    {:helper, :too_many_redirects, %{count: 2000}, ["1024", "2000", "K8sConnect.connections()"]},
    {:helper, :twice, %{to: "1.1.1.1:5"}, ["1.1.1.1:5 twice"]},
    {:helper, :malformed, %{problem: "line 1."}, ["line 1. Please"]},
    {:helper, :too_long, %{length: 7}, ["7 bytes"]},
    {:helper, :empty, %{}, ["empty frame"]},
    {:helper, :no_hello, %{}, ["before the hello"]},
    {:helper, :second_hello, %{}, ["two hellos"]},
    {:route, :linux_only, %{}, ["needs Linux", "--route vm"]},
    {:route, :always_hidden, %{}, ["always a hidden one", "--route kernel --visible"]},
    {:route, :name_kind, %{node: :"a@b.c", me: :me@host}, ["a@b.c", "me@host", "--route vm"]},
    {:route, :host_elsewhere, %{node: :"a@b.c", host: "b.c", ip: "10.1.1.1"},
     ["a@b.c", "b.c does not lead there", "10.1.1.1 b.c' | sudo tee -a /etc/hosts", "--route vm"]},
    {:route, :blocked, %{address: "10.1.1.1:4369", problem: "timed out."},
     ["10.1.1.1:4369", "(timed out)", "slice", "k8s.helper status"]},
    {:route, :unknown_net_kernel, %{otp: "40"}, ["(40)", "left alone"]},
    {:route, :no_distribution, %{name: "a@b", problem: "p"}, ["a@b", "iex --sname"]},
    {:route, :node_taken, %{node: :a@b}, ["a@b", "Node.disconnect(:a@b)"]},
    {:route, :own_name, %{node: :a@b}, ["a@b", "iex --name"]},
    {:route, :net_kernel_busy, %{seconds: 5}, ["timed out after 5 s", "net_kernel"]},
    {:route, :job_failed, %{problem: "p."}, ["p. Please report"]},
    {:connect, :timeout, %{ms: 10, step: "link", target: "app-0"},
     ["timed out after 10 ms", "app-0", "completed step is link", "--connect-timeout 20"]},
    {:connect, :timeout, %{ms: 10, step: nil, target: nil}, ["connecting to the pod"]},
    {:connect, :refused, %{node: :a@b, source: "Secret s"}, ["a@b", "Secret s", "--cookie-file"]},
    {:connect, :session_died, %{problem: "p"}, ["p. Please report"]},
    {:connect, :lost, %{node: :a@b}, ["lost", "a@b", "same command"]},
    {:exec, :not_found, %{command: "x", problem: "gone"}, ["x: gone", "command -v x"]},
    {:exec, :not_executable, %{command: "/x", problem: "denied"}, ["/x: denied", "ls -l /x"]},
    {:exec, :no_seccomp, %{problem: "no call"}, ["5.9", "no call", "--route vm"]},
    {:exec, :nested, %{problem: "busy"}, ["another --exec", "busy", "app-0 app-1 -- CMD"]},
    {:exec, :no_ptrace, %{problem: "denied"}, ["denied", "yama/ptrace_scope"]},
    {:exec, :not_redirected, %{problem: "refused"}, ["trial connection", "refused"]},
    {:exec, :system, %{problem: "full"}, ["full"]},
    {:exec, :no_runner, %{program: "/x", problem: "gone"}, ["/x: gone", "deps.compile"]},
    {:exec, :runner_killed, %{}, ["was killed"]},
    {:exec, :link_closed, %{node: :a@b, reason: "gone"}, ["a@b: gone", "was ended"]},
    {:exec, :other_route, %{node: :a@b, route: :vm}, ["a@b", ":vm", "route: :exec"]},
    {:exec, :linux_only, %{}, ["needs Linux", "--route vm"]},
    {:remote, :raised, %{node: :a@b, text: "** boom"}, ["a@b", "** boom"]},
    {:remote, :no_elixir, %{node: :a@b}, ["a@b", "no Elixir", ":erpc"]},
    {:remote, :no_iex, %{node: :a@b}, ["a@b", "no IEx", "remsh"]},
    {:remote, :no_shell, %{problem: "p."}, ["p. Eval", "--rpc"]}
  ]

  for {{stage, kind, details, expected}, index} <- Enum.with_index(@sentences) do
    test "#{index}: #{stage} #{kind}" do
      error = Error.new(unquote(stage), {unquote(kind), unquote(Macro.escape(details))})
      sentence = Error.message(error)
      for part <- unquote(expected), do: assert(sentence =~ part)
      refute sentence =~ ".."
    end
  end

  test "every kind in the catalogue has a sentence above, and no other has" do
    kinds = fn list ->
      list |> Enum.map(&{elem(&1, 0), elem(&1, 1)}) |> Enum.uniq() |> Enum.sort()
    end

    assert kinds.(Catalogue.examples()) == kinds.(@sentences)
  end

  test "every kind that the native side has is in the catalogue" do
    known = for {_stage, kind, _details} <- Catalogue.examples(), do: Atom.to_string(kind)

    for file <- Path.wildcard("native/nif/src/**/*.rs"),
        [_, kind] <- Regex.scan(~r/reason!\(\s*env,\s*(\w+) \{/, File.read!(file)),
        do: assert(kind in known, "#{kind} of #{file}")
  end

  test "what it says, what to do, and how a program ends" do
    error = Error.new(:target, {:no_such_pod, %{pod: "p", namespace: "n"}})
    assert Error.says(error) == ~s(there is no pod "p" in namespace "n")
    assert Error.command(error) == "kubectl get pods -n n"

    assert Exception.message(error) ==
             ~s(there is no pod "p" in namespace "n". See what is there with: kubectl get pods -n n)

    assert Error.exit_code(error) == 1
    assert Error.exit_code(Error.new(:options, {:no_target, %{}})) == 2
    assert Error.command(Error.new(:options, {:target_and_selector, %{target: "a"}})) == nil
  end

  test "a question keeps its mark" do
    error = Error.new(:cluster, {:timed_out, %{server: "https://s", timeout_ms: 5}})
    assert Exception.message(error) =~ "Is a VPN needed? Check with: "
  end

  test "every error goes into JSON" do
    for {stage, kind, details} <- Catalogue.examples() do
      map = Error.to_map(Error.new(stage, {kind, details}))
      assert %{stage: ^stage, kind: ^kind, message: _, command: _, exit_code: _} = map
      assert IO.iodata_to_binary(K8sConnect.JSON.encode(map)) =~ ~s("kind":"#{kind}")
    end
  end

  test "text from outside cannot move the cursor" do
    escape = "\e[2J\e]0;title\ared\e[31m\r\n\u009b1m\x7f"
    error = Error.new(:cluster, {:unreachable, %{server: "https://s", problem: escape}})
    message = Error.message(error)
    assert message =~ "red\n1m"
    assert String.replace(message, "\n", "") =~ ~r/^[[:print:]]*$/u
  end

  test "text from outside may be no UTF-8" do
    error = Error.new(:config, {:unreadable, %{path: "/\xff", problem: "gone"}})
    assert Error.message(error) =~ "gone"
  end

  test "the doctor finds a reason and one command in each" do
    context = %{asked: "app-0", options: [namespace: "shop"], wish: %{cookie: :spec}}

    for {stage, kind, details, _words} <- @sentences do
      finding = K8sConnect.Doctor.Check.failure("x", Error.new(stage, {kind, details}), context)

      assert finding.command =~ ~r/^\S[^\n]+[^.\n]$/, inspect(finding)
      refute finding.command =~ "mix k8s.connect", inspect(finding)
      assert String.length(finding.why) > 15
    end
  end
end
