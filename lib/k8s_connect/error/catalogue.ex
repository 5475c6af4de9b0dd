defmodule K8sConnect.Error.Catalogue do
  @moduledoc false
  # Every failure that a user can cause or meet: what was tried and seen, and what to do next.
  #
  # An entry is `{says, next}`, and `next` one of
  #
  #   * `{words, command}`: the command can be pasted
  #   * `words`: there is something to do, and no command for it
  #   * `nil`: it says all there is
  #
  # `examples/0` has one for each kind, which the tests and `guides/troubleshooting.md` are made of.

  # As K8sConnect.Helper.Program has it, which has errors of its own.
  @helper "/usr/local/libexec/k8s_connect_helper"

  # What `cookie_from: :exec` needs.
  @exec_rule ~s(- {apiGroups: [""], resources: [pods/exec], verbs: [get, create]})
  @portforward_rule ~s(- {apiGroups: [""], resources: [pods/portforward], verbs: [get, create]})

  # From 1.35 on the API server authorizes the GET of a WebSocket for `create`, too: its feature gate
  # AuthorizePodWebsocketUpgradeCreatePermission.
  @verbs "SPDY needs create. A WebSocket needs get, and from Kubernetes 1.35 on create as well"

  @type entry :: {says :: String.t(), next()}
  @type next :: {words :: String.t(), command :: String.t()} | String.t() | nil

  @doc """
  How a program ends that could not go on: with 2 for wrong words, which trying again does not
  mend, as a shell does for a command that it cannot run, and with 1 otherwise.
  """
  @spec exit_code(atom(), atom()) :: 1 | 2 | 126 | 127
  def exit_code(:exec, :not_found), do: 127
  def exit_code(:exec, :not_executable), do: 126
  def exit_code(:options, _kind), do: 2
  def exit_code(_stage, kind) when kind in [:bad_target, :bad_namespace], do: 2
  def exit_code(_stage, _kind), do: 1

  @doc """
  What is to be said of a failure.
  """
  @spec entry(stage :: atom(), kind :: atom(), details :: map()) :: entry()

  # Options

  def entry(:options, :not_a_keyword, %{value: value}) do
    {"options must be a keyword list, got #{value}",
     {"For example", "K8sConnect.pods(namespace: \"shop\")"}}
  end

  def entry(:options, :unknown_option, %{option: option, known: known}) do
    {"there is no option #{inspect(option)}. The options are #{Enum.map_join(known, ", ", &inspect/1)}",
     nil}
  end

  def entry(:options, :unknown_configuration, %{key: key, known: known}) do
    {"unknown key #{inspect(key)} in config :k8s_connect. The keys are #{Enum.map_join(known, ", ", &inspect/1)}",
     nil}
  end

  def entry(:options, :bad_configuration, %{file: file, problem: problem}) do
    {"could not read #{file}: #{bare(problem)}. It may protect contexts, so it has to be read",
     {"See the whole error with", "mix app.config"}}
  end

  def entry(:options, :remsh_in_iex, %{}) do
    {"--remsh cannot be used in iex -S mix: two shells would read from one terminal",
     {"Without IEx", "mix k8s.connect TARGET --remsh"}}
  end

  def entry(:options, :bad_option, %{option: option, value: value, expected: expected}),
    do: {"option #{inspect(option)} must be #{expected}, got #{inspect(value)}", nil}

  def entry(:options, :no_target, %{}) do
    {"no target was given: name a pod (\"app-0\"), its owner (\"sts/app\", \"deploy/web\"), a Service " <>
       "(\"svc/app\"), or a label selector", {"See what is there with", "kubectl get pods"}}
  end

  def entry(:options, :no_cookie_file, %{file: file, problem: problem}) do
    {"could not read the cookie from #{file}: #{bare(problem)}",
     {"Look at it with", "ls -l #{file}"}}
  end

  def entry(:options, :bad_cookie_file, %{file: file, size: size}) do
    {"the file #{file} is no cookie: it has #{size} bytes, and a cookie has 1 to 255",
     {"Look at its size with", "wc -c #{file}"}}
  end

  def entry(:options, :target_and_selector, %{target: target}),
    do: {"give the target #{inspect(target)} or a selector, not both", nil}

  def entry(:options, :kernel_only, %{option: option, route: route}) do
    {"option #{inspect(option)} is for the kernel route, and #{inspect(route)} was asked for",
     "Leave out one of the two"}
  end

  def entry(:options, :bad_words, %{problem: problem}),
    do: {problem, {"See", "mix help k8s.connect"}}

  # The library

  def entry(:native, :not_loaded, %{path: path, problem: problem}) do
    {"could not load the native library #{path}: #{bare(problem)}",
     {"Build it again with", "mix deps.compile k8s_connect --force"}}
  end

  def entry(:native, :task_died, %{}) do
    {"the native library gave up on this request by a fault of its own, the VM is unharmed",
     report()}
  end

  # The kubeconfig

  def entry(:config, :not_found, %{tried: []}) do
    {"found no kubeconfig: neither KUBECONFIG nor HOME is set",
     {"Set one", "export KUBECONFIG=/path/to/kubeconfig"}}
  end

  def entry(:config, :not_found, %{tried: tried}) do
    {"found no kubeconfig: there is no file #{Enum.join(tried, ", nor ")}",
     {"Point to yours with", "export KUBECONFIG=/path/to/kubeconfig"}}
  end

  def entry(:config, :unreadable, %{path: path, problem: problem}) do
    {"could not read the kubeconfig #{path}: #{bare(problem)}",
     {"Look at it with", "ls -l #{path}"}}
  end

  def entry(:config, :malformed, %{path: path, problem: problem}) do
    {"#{path} is not a kubeconfig: #{bare(problem)}",
     {"Check it with", "kubectl config view --kubeconfig #{path}"}}
  end

  def entry(:config, :no_context, %{known: known}) do
    {"the kubeconfig has no current-context, and no context was given. #{contexts(known)}",
     choose_context(known)}
  end

  def entry(:config, :unknown_context, %{context: context, known: known}) do
    {"the kubeconfig has no context #{inspect(context)}. #{contexts(known)}",
     {"See them with", "kubectl config get-contexts"}}
  end

  def entry(:config, :unknown_cluster, %{context: context, cluster: cluster}) do
    {"context #{inspect(context)} names the cluster #{inspect(cluster)}, which the kubeconfig does not have",
     {"See what is there with", "kubectl config get-clusters"}}
  end

  def entry(:config, :unknown_user, %{context: context, user: user}) do
    {"context #{inspect(context)} names the user #{inspect(user)}, whom the kubeconfig does not have",
     {"See who is there with", "kubectl config get-users"}}
  end

  def entry(:config, :bad_cluster, %{context: context, problem: problem}) do
    {"the cluster of context #{inspect(context)} cannot be used: #{bare(problem)}",
     {"Look at its entry with", view(context)}}
  end

  def entry(:config, :bad_user, %{context: context, problem: problem}) do
    {"the credentials of context #{inspect(context)} cannot be used: #{bare(problem)}",
     {"Look at their entry with", view(context)}}
  end

  def entry(:config, :old_auth_provider, details) do
    %{context: context, provider: provider, replacement: replacement} = details

    {"the user of context #{inspect(context)} logs in by the auth provider #{inspect(provider)}, which Kubernetes " <>
       "itself has taken out since", replaced(replacement)}
  end

  def entry(:config, :bad_proxy, %{from: from, problem: problem, context: context}) do
    {"the proxy in #{from} cannot be used: #{bare(problem)}. It looks like http://proxy:3128 or " <>
       "socks5://proxy:1080", {"Look at it with", look_at_proxy(from, context)}}
  end

  def entry(:config, :bad_service_account, %{folder: folder, problem: problem}) do
    {"there is no kubeconfig, and the service account of this pod cannot be used: #{bare(problem)}",
     {"Look at it with", "ls -l #{folder}"}}
  end

  def entry(:config, :bad_namespace, %{namespace: namespace}) do
    {"#{inspect(namespace)} cannot be a namespace: its name has at most 63 of a-z, 0-9 and -",
     {"See the names with", "kubectl get namespaces"}}
  end

  def entry(:config, :protected, %{context: context, pattern: pattern}) do
    {"context #{inspect(context)} is protected by #{inspect(pattern)} in the configuration, and nobody has " <>
       "confirmed that it is meant: in code by yes: true",
     {"Confirm it with", "mix k8s.connect TARGET --context #{context} --yes"}}
  end

  # The API server

  def entry(:cluster, :unreachable, %{server: server, problem: problem}) do
    {"could not reach the API server #{server}: #{bare(problem)}. Is the cluster up, and a VPN needed?",
     {"Check with", "kubectl cluster-info"}}
  end

  def entry(:cluster, :timed_out, %{server: server, timeout_ms: timeout}) do
    {"the API server #{server} did not answer within #{timeout} ms. Is a VPN needed?",
     {"Check with", "kubectl cluster-info"}}
  end

  def entry(:cluster, :unknown_authority, %{server: server}) do
    {"the API server #{server} shows a certificate of an authority that the kubeconfig does not trust. Is it " <>
       "the right cluster?", {"Compare certificate-authority in", "kubectl config view --minify"}}
  end

  def entry(:cluster, :tls, %{server: server, problem: problem}) do
    {"no TLS with the API server #{server}: #{bare(problem)}",
     {"Check with", "kubectl cluster-info"}}
  end

  def entry(:cluster, :client_certificate_expired, %{context: context, not_after: not_after}) do
    {"the client certificate of context #{inspect(context)} expired at #{not_after}. Get a new kubeconfig where " <>
       "you got this one", {"Then check with", whoami(context)}}
  end

  def entry(:cluster, :unauthorized, %{context: context, server: server}) do
    {"the API server #{server} does not take the credentials of context #{inspect(context)} (401). Log in again",
     {"Then check with", whoami(context)}}
  end

  def entry(:cluster, :forbidden, %{resource: "pods/exec", verb: verb} = details),
    do: exec_forbidden("verb #{verb} on pods/exec is missing", details)

  def entry(:cluster, :forbidden, %{message: message} = details) do
    %{verb: verb, resource: resource, namespace: namespace} = details

    cond do
      message =~ "cannot impersonate" ->
        {"may not act as whom the kubeconfig names (403): #{bare(message)}. Ask for the verb impersonate, or take as: out " <>
           "of the user's entry", {"Look at it with", "kubectl config view --minify"}}

      resource == "pods/portforward" ->
        portforward_forbidden("verb #{verb} on pods/portforward is missing", details)

      true ->
        {"may not #{verb} #{resource} in namespace #{inspect(namespace)} (403): #{bare(message)}. Is it the right " <>
           "namespace?", role(details)}
    end
  end

  def entry(:cluster, :refused, %{server: server, code: code, message: message}) do
    {"the API server #{server} answered with #{code}: #{bare(message)}",
     {"Check with", "kubectl cluster-info"}}
  end

  def entry(:cluster, :not_kubernetes, %{server: server, problem: problem}) do
    {"what answers at #{server} is no Kubernetes API server: #{bare(problem)}",
     {"Check the server in", "kubectl config view --minify"}}
  end

  # The login

  def entry(:cluster, :plugin_not_found, %{program: program, path: nil, hint: hint}) do
    {"the kubeconfig logs in by #{program}, and there is no such file#{hint(hint)}",
     {"Look with", "ls -l #{program}"}}
  end

  def entry(:cluster, :plugin_not_found, %{program: program, path: path, hint: hint}) do
    {"the kubeconfig logs in by the program #{program}, which is in no folder of PATH#{hint(hint)}. PATH is #{path}",
     {"Look with", "which #{program}"}}
  end

  def entry(:cluster, :plugin_not_started, %{program: program, problem: problem}) do
    {"could not run #{program}, which the kubeconfig logs in by: #{bare(problem)}",
     {"Run it by hand, to see", "#{program} --help"}}
  end

  def entry(:cluster, :plugin_failed, %{program: program, status: status} = details) do
    {"#{program}, which the kubeconfig logs in by, failed with #{status}#{said(details.words)}",
     login(details)}
  end

  def entry(:cluster, :plugin_too_slow, %{program: program, timeout_ms: timeout} = details) do
    {"#{program}, which the kubeconfig logs in by, was not done after #{timeout} ms. Does it wait for somebody, or " <>
       "for a network? Give it more time with the option :timeout, on a command line: --timeout 60000",
     login(details)}
  end

  def entry(:cluster, :plugin_rubbish, %{program: program, problem: problem} = details) do
    {"what #{program} printed, which the kubeconfig logs in by, are no credentials: #{bare(problem)}",
     login(details)}
  end

  def entry(:cluster, :plugin_version, %{program: program, context: context} = details) do
    {"#{program} answers in #{details.seen}, and the kubeconfig has its apiVersion as #{details.expected}",
     {"Make them the same in the user's exec entry", view(context)}}
  end

  def entry(:cluster, :plugin_needs_terminal, %{program: program, context: context}) do
    {"#{program}, which the kubeconfig logs in by, wants to ask you something on a terminal, and here it can have " <>
       "none (interactiveMode: Always). Log in on one first, it will remember",
     {"For example", "kubectl get --raw /version --context #{context}"}}
  end

  def entry(:cluster, :plugin_empty, %{program: program} = details) do
    {"#{program}, which the kubeconfig logs in by, gave neither a token nor a certificate",
     login(details)}
  end

  def entry(:cluster, :token_file, %{path: path, problem: problem}),
    do: {"there is no token in #{path}: #{bare(problem)}", {"Look at it with", "ls -l #{path}"}}

  def entry(:cluster, :oidc, %{context: context, issuer: issuer, problem: problem}) do
    {"got no new token from #{issuer} for context #{inspect(context)}: #{bare(problem)}. Log in again where you got " <>
       "this kubeconfig, or have the plugin kubelogin do it",
     {"See the entry with", view(context)}}
  end

  # A proxy on the way

  def entry(:cluster, :proxy_unreachable, %{proxy: proxy, from: from, problem: problem}) do
    {"could not reach the proxy #{proxy} (#{from}): #{bare(problem)}. Is it the right one for this network?",
     {"Check with", "curl -v telnet://#{proxy}"}}
  end

  def entry(:cluster, :proxy_login, %{proxy: proxy, from: from, given: given}) do
    wanted =
      if given,
        do: "does not take the name and password it was given",
        else: "wants a name and a password"

    {"the proxy #{proxy} (#{from}) #{wanted}. They go into its URL: http://name:password@#{proxy}",
     look_at_proxy(from)}
  end

  def entry(:cluster, :proxy_refused, %{proxy: proxy, from: from, server: server} = details) do
    {"the proxy #{proxy} (#{from}) does not let us through to #{server}: #{bare(details.answer)}. Ask its admin to, " <>
       "or go past it, where there is a direct way", past(from, server)}
  end

  def entry(:cluster, :proxy_cannot_reach, %{proxy: proxy, from: from, server: server} = details) do
    {"the proxy #{proxy} (#{from}) could not reach #{server}: #{bare(details.answer)}. Is it the right proxy for this " <>
       "cluster? Where there is a direct way, go past it", past(from, server)}
  end

  def entry(:cluster, :not_a_proxy, %{proxy: proxy, from: from, seen: seen}) do
    {"what answers at #{proxy} (#{from}) is no proxy, or one of another kind: #{bare(seen)}. Its URL begins with " <>
       "http://, https:// or socks5://",
     {"Check with", "curl -v --proxy #{proxy} https://SERVER"}}
  end

  def entry(:cluster, :timed_out_by_proxy, %{server: server, proxy: proxy, from: from} = details) do
    {"the API server #{server} did not answer through the proxy #{proxy} (#{from}) within #{details.timeout_ms} ms",
     {"Check with", "kubectl cluster-info"}}
  end

  # Time, and too much of something

  def entry(:cluster, :server_certificate_not_yet_valid, details) do
    {"the certificate of the API server #{details.server} is valid from #{details.not_before} on, and by this " <>
       "machine's clock it is #{details.now}",
     {"If the clock is wrong, set it", "sudo timedatectl set-ntp true"}}
  end

  def entry(:cluster, :server_certificate_expired, details) do
    {"the certificate of the API server #{details.server} was valid until #{details.not_after}, and by this machine's " <>
       "clock it is #{details.now}",
     {"If the clock is right, the cluster's admin has to renew it",
      "kubeadm certs renew apiserver"}}
  end

  def entry(:cluster, :hung_up, %{server: server, problem: problem}) do
    {"the API server #{server}, or what stands before it, took the connection and hung up without an answer " <>
       "(#{bare(problem)}). Some gateways do that to one connection too many",
     {"Check with", "kubectl cluster-info"}}
  end

  def entry(:cluster, :too_many_requests, %{server: server, message: message}) do
    {"the API server #{server} has more requests than it can take (429): #{bare(message)}. Try again later, or wait " <>
       "for it longer by the option :timeout",
     {"On a command line", "mix k8s.connect TARGET --timeout 60000"}}
  end

  def entry(:cluster, :forbidden_both_ways, %{resource: "pods/exec"} = details),
    do: exec_forbidden("verbs get and create on pods/exec are missing", details)

  def entry(:cluster, :forbidden_both_ways, details),
    do: portforward_forbidden("verbs get and create on pods/portforward are missing", details)

  def entry(:cluster, :no_upgrade, %{server: server, pod: pod, answers: answers} = details) do
    {"no connection to pod #{inspect(pod)} can be made through #{server}: " <>
       "#{answers |> Enum.map_join(", and ", &bare/1)}. A proxy or a gateway on the way has to let one of them " <>
       "pass, with its header Upgrade, and without a change of protocol",
     {"Check with", "kubectl port-forward #{pod} 4369 -n #{details.namespace}"}}
  end

  # The pod

  def entry(:target, :bad_target, %{target: target}) do
    {"#{inspect(target)} is no target. It can be a pod (app-0), its owner (sts/app, deploy/web) or a Service " <>
       "(svc/app)", {"See what is there with", "kubectl get pods"}}
  end

  def entry(:target, :no_such_pod, %{pod: pod, namespace: namespace}) do
    {"there is no pod #{inspect(pod)} in namespace #{inspect(namespace)}",
     {"See what is there with", "kubectl get pods -n #{namespace}"}}
  end

  def entry(:target, :no_pods, %{target: target, namespace: namespace}) do
    {"no pod belongs to #{target} in namespace #{inspect(namespace)}",
     {"See what is there with", "kubectl get pods -n #{namespace} --show-labels"}}
  end

  def entry(:target, :not_running, %{pod: pod, namespace: namespace, phase: phase}) do
    {"pod #{inspect(pod)} in namespace #{inspect(namespace)} is not running: #{phase}",
     {"See why with", "kubectl describe pod #{pod} -n #{namespace}"}}
  end

  def entry(:target, :no_container, %{container: container, known: known}) do
    {"the pod has no container #{inspect(container)}. There are: #{Enum.join(known, ", ")}",
     {"Choose one with", "mix k8s.connect TARGET --container #{List.first(known)}"}}
  end

  def entry(:target, :workload_deleted, %{target: target, namespace: namespace}) do
    {"#{target} in namespace #{inspect(namespace)} was deleted, and its pods with it",
     {"See what is there with", "kubectl get pods -n #{namespace}"}}
  end

  def entry(:target, :replaced, %{pod: pod, namespace: namespace}) do
    {"pod #{inspect(pod)} in namespace #{inspect(namespace)} was replaced by another one of the same name " <>
       "meanwhile", {"Connect again, to the new one", "mix k8s.connect #{pod} -n #{namespace}"}}
  end

  # What answers in it

  def entry(:node, :no_epmd, %{message: message, tried: tried} = details) do
    {"no Erlang node can be found in #{pod(details)}: nothing listens on epmd's port 4369 there " <>
       "(#{bare(message)})#{nor_at(tried)}. Is it the right pod, and does its node have a name? " <>
       "If it runs without epmd, give its port with the option :port, on a command line: --port 9100",
     {"Check with", logs(details)}}
  end

  def entry(:node, :nothing_at, %{port: port, message: message} = details) do
    {"no Erlang node is at port #{port} of #{pod(details)}: nothing takes a connection there on the pod's " <>
       "loopback (#{bare(message)})",
     {"See which ports there are with", exec(details, "ss -ltn")}}
  end

  def entry(:node, :epmd_silent, %{} = details) do
    {"something in #{pod(details)} takes connections on epmd's port 4369, and does not answer for 5 s",
     {"Check with", exec(details, "epmd -names")}}
  end

  def entry(:node, :epmd_junk, %{seen: seen} = details) do
    {"what listens on epmd's port 4369 in #{pod(details)} is not epmd: it answers with #{bare(seen)}",
     {"Check with", exec(details, "epmd -names")}}
  end

  def entry(:node, :no_nodes, %{} = details) do
    {"epmd runs in #{pod(details)} and knows no node: none was started with a name, or it is still starting",
     {"Check with", logs(details)}}
  end

  def entry(:node, :unknown_node, %{wanted: wanted, known: known} = details) do
    {"there is no node #{inspect(wanted)} in #{pod(details)}. epmd knows: #{Enum.join(known, ", ")}",
     {"Choose one with", "#{connect(details)} --node #{List.first(known)}"}}
  end

  def entry(:node, :several_nodes, %{known: known} = details) do
    {"there are several nodes in #{pod(details)}: #{Enum.join(known, ", ")}. Choose one with the option :node",
     {"On a command line", "#{connect(details)} --node #{hd(known)}"}}
  end

  def entry(:node, :port_refused, %{node: node, port: port, message: message} = details) do
    {"node #{inspect(node)} is registered with port #{port}, and nothing takes a connection there on the pod's " <>
       "loopback (#{bare(message)}). It listens on the pod's IP only: take inet_dist_use_interface out of its " <>
       "vm.args, or set it to {0,0,0,0}", {"See where it listens with", exec(details, "ss -ltn")}}
  end

  def entry(:node, :handshake_silent, %{node: node} = details) do
    {"node #{inspect(node)} took the connection and did not answer the handshake. Is the VM stuck?",
     {"Check with", logs(details)}}
  end

  def entry(:node, :tls_only, %{node: node, port: port} = details) do
    {"node #{inspect(node)} in #{pod(details)} speaks TLS at port #{port} (it was started with -proto_dist " <>
       "inet_tls), which this version does not",
     {"A remote shell in its own container does", exec(details, "sh")}}
  end

  def entry(:node, :handshake_closed, %{node: node} = details) do
    {"node #{inspect(node)} in #{pod(details)} ended the connection without a word of the handshake. It may ask for " <>
       "distribution flags that this version does not have, and then says so in its log",
     {"Check with", logs(details)}}
  end

  def entry(:node, :junk, %{expected: expected, seen: seen} = details) do
    {"what listens on the node's port in #{pod(details)} is not an Erlang node: #{expected} was due, and " <>
       "#{inspect(seen)} came", {"Check with", exec(details, "epmd -names")}}
  end

  def entry(:node, :rejected, %{status: status} = details) do
    {"the node in #{pod(details)} refused the handshake: #{bare(status)}. Does it only allow certain nodes " <>
       "(:net_kernel.allow/1)?", {"Check with", logs(details)}}
  end

  def entry(:node, :too_old, %{} = details) do
    {"the node in #{pod(details)} is older than OTP 23, whose distribution protocol is the oldest that is " <>
       "spoken here", {"Use what is in its own image", exec(details, "sh")}}
  end

  def entry(:node, :bad_name, %{name: name} = details) do
    {"the node in #{pod(details)} calls itself #{inspect(name)}, which is not a name that a node can have",
     {"Check with", exec(details, "epmd -names")}}
  end

  def entry(:node, :link_closed, %{reason: reason}) do
    {"the connection to the pod ended on the way: #{bare(reason)}. Try again",
     {"See how the pod is with", "kubectl get pods"}}
  end

  # The cookie

  def entry(:cookie, :not_found, %{pod: pod} = details) do
    {"the spec of pod #{inspect(pod)} does not lead to a cookie: no variable of its container is called " <>
       "RELEASE_COOKIE, ERLANG_COOKIE or the like, or what it refers to is not there. A release without one has " <>
       "its own, in releases/COOKIE of the image. Pass it in a file: --cookie-file PATH. Or have it read from the " <>
       "running node, which needs one more line in your Role: #{@exec_rule}",
     {"Then", "#{connect(details)} --cookie-from exec"}}
  end

  def entry(:cookie, :not_there, %{pod: pod, problem: problem} = details) do
    {"could not read the cookie from the running node in pod #{inspect(pod)}: #{bare(problem)}. It takes a " <>
       "container with sh and sed, and the rights of the node's user there",
     {"Pass it in a file", "#{connect(details)} --cookie-file PATH"}}
  end

  # The way to this BEAM

  def entry(:outlet, :no_socket, %{directory: directory, problem: problem}) do
    {"could not make a socket in #{directory}: #{bare(problem)}",
     {"Choose another directory with", "export TMPDIR=/path"}}
  end

  def entry(:outlet, :no_listener, %{address: address, problem: problem}) do
    {"could not listen on #{address}: #{bare(problem)}",
     {"See what is there with", "ip addr show lo"}}
  end

  def entry(:outlet, :no_pod_address, %{pod: pod, namespace: namespace}) do
    {"pod #{inspect(pod)} has no address yet, and the kernel route needs one",
     {"See it with", "kubectl get pod #{pod} -n #{namespace} -o wide"}}
  end

  def entry(:outlet, :target_is_server, %{address: address}) do
    {"could not redirect #{address}: it is the address of the API server as well. Use --route vm",
     {"See the server's address with", "kubectl cluster-info"}}
  end

  # The helper

  def entry(:helper, :not_installed, %{path: path}) do
    {"the helper is not installed (no such file: #{path}). Run it once with --sudo, use --exec for one program, or " <>
       "--route vm", {"Or install it, as an admin", "mix k8s.helper install"}}
  end

  def entry(:helper, :not_started, %{path: path, problem: problem}) do
    {"could not start the helper #{path}: #{bare(problem)}", {"Look at it with", "ls -l #{path}"}}
  end

  def entry(:helper, :no_sudo, %{}) do
    {"could not run the helper with sudo: no sudo in PATH",
     {"Install the helper instead", "mix k8s.helper install"}}
  end

  def entry(:helper, :sudo, %{}) do
    {"sudo did not run the helper: it needs a password, or does not allow it",
     {"Enter the password first", "sudo -v"}}
  end

  def entry(:helper, :died, %{words: words, times: 1}) do
    {"the helper has ended: #{bare(words)}. Retry", {"Test it with", "mix k8s.helper status"}}
  end

  def entry(:helper, :died, %{words: words, times: times}) do
    {"the helper has ended #{times} times within a minute, the last time: #{bare(words)}",
     {"Test it with", "mix k8s.helper status"}}
  end

  def entry(:helper, :silent, %{timeout_ms: timeout}) do
    {"timed out after #{timeout} ms: the helper did not answer and was killed. It may have been stopped (SIGSTOP)",
     {"List the helpers with", "ps -C k8s_connect_helper"}}
  end

  def entry(:helper, :unreadable, %{problem: problem}) do
    {"invalid answer from the helper: #{bare(problem)}",
     {"Install the helper of this version", "mix k8s.helper install"}}
  end

  def entry(:helper, :wrong_version, %{major: 1, minor: _minor}) do
    {"the installed helper is of an older version, whose netfilter rules allow any local user to take over TCP " <>
       "connections of other users. Replace it",
     {"Install the helper of this version", "mix k8s.helper install"}}
  end

  def entry(:helper, :wrong_version, %{major: major, minor: minor}) do
    {"the installed helper uses version #{major}.#{minor} of the protocol, which this library does not support",
     {"Install the helper of this version", "mix k8s.helper install"}}
  end

  def entry(:helper, :set_uid, %{}) do
    {"the helper's file is setuid or setgid, so it refuses to run",
     {"Install it again", "mix k8s.helper install"}}
  end

  def entry(:helper, :no_caller, %{}) do
    {"the helper runs as root and cannot tell for which user: SUDO_UID and SUDO_GID are missing. Connections of root " <>
       "are never redirected; doas and pkexec are not supported. Connect as an ordinary user, or use --route vm",
     {"See who you are with", "id -un"}}
  end

  def entry(:helper, :no_capability, %{why: why}) do
    {because, next} = missing_capability(why)

    {"permission denied: the helper has no cap_bpf, cap_net_admin and cap_perfmon, as #{because}",
     next}
  end

  def entry(:helper, :no_new_privs, %{}) do
    {"permission denied: no_new_privs is set for this BEAM, so the helper's file capabilities have no effect. " <>
       "Sandboxes and some containers set it; connect from another terminal",
     {"Check with", "grep NoNewPrivs /proc/self/status"}}
  end

  def entry(:helper, :nosuid, %{}) do
    {"permission denied: the helper's file is on a file system that is mounted nosuid, so its capabilities have no " <>
       "effect", {"Check with", "findmnt -T #{@helper}"}}
  end

  def entry(:helper, :no_cgroup2, %{}) do
    {"unsupported: there is no cgroup2 file system at /sys/fs/cgroup or /sys/fs/cgroup/unified. Use --exec or " <>
       "--route vm", {"Check with", "findmnt -t cgroup2"}}
  end

  def entry(:helper, :no_user_slice, %{cgroup: cgroup, uid: uid}) do
    {"unsupported: this process runs in cgroup #{cgroup}, not in /user.slice/user-#{uid}.slice. Containers, su, " <>
       "system services and machines without systemd have no such slice. Connect from a login session, or use " <>
       "--exec or --route vm", {"Check with", "cat /proc/self/cgroup"}}
  end

  def entry(:helper, :no_btf, %{name: name}) do
    {"unsupported: the kernel's type information has no #{name}. The helper needs a kernel with BTF " <>
       "(CONFIG_DEBUG_INFO_BTF) that has this type. Use --exec or --route vm",
     {"Check with", "ls -l /sys/kernel/btf/vmlinux"}}
  end

  def entry(:helper, :no_bpf, %{step: step, problem: problem}) do
    {"unsupported: the kernel failed #{step}: #{bare(problem)}. The helper needs Linux 5.19 or newer. Use --exec or " <>
       "--route vm", {"Check with", "uname -r"}}
  end

  def entry(:helper, :exclusive_program, %{cgroup: cgroup}) do
    {"permission denied: a BPF program is attached to #{cgroup} or to a cgroup above it without " <>
       "BPF_F_ALLOW_MULTI. Use --exec or --route vm", {"See it with", "sudo bpftool cgroup tree"}}
  end

  def entry(:helper, :would_hide, %{cgroup: cgroup}) do
    {"permission denied: a BPF program is attached to #{cgroup} with BPF_F_ALLOW_OVERRIDE, and the helper would " <>
       "disable it for your processes. Use --exec or --route vm",
     {"See it with", "sudo bpftool cgroup tree"}}
  end

  def entry(:helper, :too_many, %{limit: limit}) do
    {"permission denied: #{limit} programs are attached to your slice already. Each BEAM that is connected by the " <>
       "kernel route has a helper of its own", {"List them with", "pgrep -a k8s_connect"}}
  end

  def entry(:helper, :not_led, %{test: test}) do
    {"unsupported: the helper's programs do not work with this kernel: #{test}. Use --exec or --route vm. " <>
       "Please report it", {"With the output of", "uname -r"}}
  end

  def entry(:helper, :no_such_process, %{pid: pid}) do
    {"no such process: the helper cannot watch the BEAM with the process id #{pid}. Is it in another PID namespace?",
     {"Check with", "ps -p #{pid}"}}
  end

  def entry(:helper, :kernel, %{step: step, problem: problem}) do
    {"the helper failed #{step}: #{bare(problem)}", {"Test it with", "mix k8s.helper status"}}
  end

  def entry(:helper, :bad_destination, %{to: to, why: why}) do
    {"the helper does not redirect #{to}: it is #{destination(why)}",
     {"See the pod's address with", "kubectl get pods -o wide"}}
  end

  def entry(:helper, :low_port, %{to: to, port: port}) do
    {"the helper does not redirect #{to}: port #{port} is below 1024",
     {"Start the node with a port above 1023",
      "-kernel inet_dist_listen_min 5555 inet_dist_listen_max 5555"}}
  end

  def entry(:helper, :no_listener, %{via: via}) do
    {"the helper does not redirect to port #{via}: nothing listens there on the loopback address",
     {"Check with", "ss -ltn sport = :#{via}"}}
  end

  def entry(:helper, :foreign_listener, %{via: via, uid: uid}) do
    {"the helper does not redirect to port #{via}: another user listens there (uid #{uid})",
     {"Check with", "sudo ss -ltnp sport = :#{via}"}}
  end

  def entry(:helper, :too_many_redirects, %{count: count}) do
    {"the helper holds 1024 redirects at most, and #{count} were asked for",
     {"List the connections with", "K8sConnect.connections()"}}
  end

  def entry(:helper, :twice, %{to: to}),
    do: {"the helper was asked to redirect #{to} twice", report()}

  def entry(:helper, :malformed, %{problem: problem}),
    do: {"the helper could not read a request: #{bare(problem)}", report()}

  def entry(:helper, :too_long, %{length: length}),
    do: {"the helper was sent a frame of #{length} bytes, which is too long", report()}

  def entry(:helper, :empty, %{}), do: {"the helper was sent an empty frame", report()}

  def entry(:helper, :no_hello, %{}),
    do: {"the helper was sent a request before the hello", report()}

  def entry(:helper, :second_hello, %{}), do: {"the helper was sent two hellos", report()}

  # The route

  def entry(:route, :linux_only, %{}) do
    {"unsupported: the kernel route needs Linux",
     {"Use the vm route", "mix k8s.connect TARGET --route vm"}}
  end

  def entry(:route, :always_hidden, %{}) do
    {"a connection on the route :vm is always a hidden one. Leave out :visible",
     {"Or take the kernel's", "mix k8s.connect TARGET --route kernel --visible"}}
  end

  def entry(:route, :name_kind, %{node: node, me: me}) do
    {"this BEAM is the node #{me}, and one of #{node} has a name of the other kind, long or short; by the " <>
       "kernel route they cannot connect",
     {"Take the other one", "mix k8s.connect TARGET --route vm"}}
  end

  def entry(:route, :host_elsewhere, %{node: node, host: host, ip: ip}) do
    {"node #{node} is in the pod with the address #{ip}, and #{host} does not lead there on this machine; " <>
       "programs that take the kernel route look it up. Take the other one: --route vm",
     {"Or make it known", "echo '#{ip} #{host}' | sudo tee -a /etc/hosts"}}
  end

  def entry(:route, :blocked, %{address: address, problem: problem}) do
    {"could not connect to #{address}: the helper redirects it, and the connection does not arrive " <>
       "(#{bare(problem)}). Is this BEAM in its user's slice, with the primary group and without capabilities? Use " <>
       "--exec or --route vm", {"Test it with", "mix k8s.helper status"}}
  end

  def entry(:route, :unknown_net_kernel, %{otp: otp}) do
    {"the net_kernel of this OTP (#{otp}) is not one that is known here (those of OTP 25 to 29 are), or is not to " <>
       "be touched, and was left alone. Without that it takes OTP 27.2, no -epmd_module, and a node here whose name " <>
       "is long or short as the pod's is",
     {"Take the other route", "mix k8s.connect TARGET --route kernel"}}
  end

  def entry(:route, :no_distribution, %{name: name, problem: problem}) do
    {"could not make this BEAM the node #{name}: #{bare(problem)}",
     {"Start it as a node yourself", "iex --sname me -S mix"}}
  end

  def entry(:route, :node_taken, %{node: node}) do
    {"this BEAM is connected to a node #{node} already, of another pod or by another way: two clusters can have " <>
       "the same addresses", {"End that first", "Node.disconnect(#{inspect(node)})"}}
  end

  def entry(:route, :own_name, %{node: node}) do
    {"the node in the pod has the name of the local node, #{node}: a VM cannot connect to its own name",
     {"Start the local node with another name", "iex --name me@127.0.0.1 -S mix"}}
  end

  def entry(:route, :net_kernel_busy, %{seconds: seconds}) do
    {"timed out after #{seconds} s waiting for net_kernel, which is busy with another connection or a name lookup",
     "Try again when that is done"}
  end

  def entry(:route, :job_failed, %{problem: problem}),
    do: {"internal error while changing the local node: #{bare(problem)}", report()}

  # The connection

  def entry(:connect, :timeout, %{ms: ms, step: step, target: target}) do
    {"timed out after #{ms} ms connecting to #{target || "the pod"}#{after_step(step)}",
     {"Allow more time", "mix k8s.connect TARGET --connect-timeout #{2 * ms}"}}
  end

  def entry(:connect, :refused, %{node: node, source: source}) do
    {"node #{node} was reached and did not let us in: the cookie from #{bare(source)} is not its own. Pass the " <>
       "right one by the option :cookie_file",
     {"On a command line", "mix k8s.connect TARGET --cookie-file PATH"}}
  end

  def entry(:connect, :session_died, %{problem: problem}),
    do: {"the session ended by a fault of its own: #{bare(problem)}", report()}

  def entry(:connect, :lost, %{node: node, reason: reason}) do
    {"lost the connection to #{node}#{because(reason)}", "Connect again with the same command"}
  end

  def entry(:connect, :not_up, %{target: target, state: :down}),
    do: {"no connection to #{target}: it has ended", nil}

  def entry(:connect, :not_up, %{target: target, state: state}),
    do: {"not connected to #{target}: it is #{state}", nil}

  # A command

  def entry(:exec, :not_found, %{command: command, problem: problem}) do
    {"could not run #{command}: #{bare(problem)}",
     {"See whether it is in PATH", "command -v #{command}"}}
  end

  def entry(:exec, :not_executable, %{command: command, problem: problem}) do
    {"could not run #{command}: #{bare(problem)}", {"Look at it with", "ls -l #{command}"}}
  end

  def entry(:exec, :no_seccomp, %{problem: problem}) do
    {"unsupported: --exec needs seccomp user notification (Linux 5.9, and a container that does not " <>
       "forbid it), and the kernel says: #{bare(problem)}",
     {"Connect this BEAM instead", "mix k8s.connect TARGET --route vm"}}
  end

  def entry(:exec, :nested, %{problem: problem}) do
    {"unsupported: this process is supervised by seccomp already, by another --exec or by the manager of " <>
       "this container (#{bare(problem)}). One --exec takes several targets",
     {"For example", "mix k8s.connect app-0 app-1 -- CMD"}}
  end

  def entry(:exec, :no_ptrace, %{problem: problem}) do
    {"permission denied: --exec has to read the memory of the command, and the kernel refuses that " <>
       "(#{bare(problem)}), as with kernel.yama.ptrace_scope 2 or 3",
     {"Check with", "cat /proc/sys/kernel/yama/ptrace_scope"}}
  end

  def entry(:exec, :not_redirected, %{problem: problem}) do
    {"could not redirect a trial connection on this machine: #{bare(problem)}",
     {"Connect this BEAM instead", "mix k8s.connect TARGET --route vm"}}
  end

  def entry(:exec, :system, %{problem: problem}),
    do: {"could not run the command: #{bare(problem)}", report()}

  def entry(:exec, :no_runner, %{program: program, problem: problem}) do
    {"could not start #{program}: #{bare(problem)}",
     {"Build it again with", "mix deps.compile k8s_connect --force"}}
  end

  def entry(:exec, :runner_killed, %{}),
    do: {"the program that runs the command was killed, and the command with it", nil}

  def entry(:exec, :link_closed, %{node: node, reason: reason}) do
    {"lost the connection to #{node}: #{bare(reason)}. The command was ended",
     "Connect again with the same command"}
  end

  def entry(:exec, :other_route, %{node: node, route: route}) do
    {"#{node} is connected by the route #{inspect(route)}, and a command needs the route :exec",
     {"Connect with it", "K8sConnect.connect(\"app-0\", route: :exec)"}}
  end

  def entry(:exec, :linux_only, %{}) do
    {"unsupported: --exec needs Linux",
     {"Connect this BEAM instead", "mix k8s.connect TARGET --route vm"}}
  end

  # What was wanted of the node

  def entry(:remote, :raised, %{node: node, text: text}),
    do: {"it was evaluated on #{node}, and this came of it: #{text}", nil}

  def entry(:remote, :no_elixir, %{node: node}) do
    {"#{node} has no Elixir to evaluate with. Use :erpc from this side",
     {"In an IEx here", "mix k8s.connect TARGET"}}
  end

  def entry(:remote, :no_iex, %{node: node}) do
    {"#{node} has no IEx. Use the one on this side",
     {"Without --remsh", "mix k8s.connect TARGET"}}
  end

  def entry(:remote, :no_shell, %{problem: problem}) do
    {"could not start a shell on this terminal: #{bare(problem)}",
     {"Evaluate without one", "mix k8s.connect TARGET --rpc 'node()'"}}
  end

  # OTP's reasons: https://www.erlang.org/doc/apps/kernel/net_kernel.html#monitor_nodes/2
  defp because(nil), do: ""
  defp because(:connection_closed), do: ": the node closed it"
  defp because(:disconnect), do: ": it was disconnected"
  defp because(:net_tick_timeout), do: ": the node did not answer for net_ticktime"
  defp because(:net_kernel_terminated), do: ": net_kernel was stopped"
  defp because(reason), do: ": #{reason}"

  defp after_step(nil), do: ""
  defp after_step(step), do: "; the last completed step is #{step}"

  defp report, do: "Please report it, with what was printed before"

  defp missing_capability(:file_capabilities) do
    {"its file has none, or not all of them; a copy or an upgrade of the file loses them",
     {"Install it again", "mix k8s.helper install"}}
  end

  defp missing_capability(:bounding_set) do
    {"the bounding set of this container or service does not include them. Use --exec or --route vm",
     {"Check with", "grep CapBnd /proc/self/status"}}
  end

  defp missing_capability(:user_namespace) do
    {"this process is in a user namespace of its own. Use --exec or --route vm",
     {"Check with", "lsns -t user"}}
  end

  defp missing_capability(:unknown) do
    {"they were dropped, for example by strace or another tracer",
     {"Check with", "getcap #{@helper}"}}
  end

  defp destination(:local), do: "an address of this machine"
  defp destination(:loopback), do: "a loopback address"
  defp destination(:unspecified), do: "no address of a single machine"
  defp destination(:multicast), do: "a multicast address"
  defp destination(:broadcast), do: "a broadcast address"
  defp destination(:link_local), do: "an address that is only valid on one link"
  defp destination(:reserved), do: "a reserved address"
  defp destination(:mapped), do: "an IPv4 address in an IPv6 one"

  defp pod(%{pod: pod}), do: "pod #{inspect(pod)}"
  defp nor_at([]), do: ""
  defp nor_at(ports), do: ", and no node at #{Enum.join(ports, ", ")}, where its spec leads to"

  # Commands

  defp connect(%{pod: pod, namespace: namespace}), do: "mix k8s.connect #{pod} -n #{namespace}"
  defp connect(%{pod: pod}), do: "mix k8s.connect #{pod}"
  defp logs(%{pod: pod, namespace: namespace}), do: "kubectl logs #{pod} -n #{namespace}"
  defp view(context), do: "kubectl config view --minify --context #{context}"
  defp whoami(context), do: "kubectl auth whoami --context #{context}"

  # The doctor looks at a Secret only where there is a pod that refers to it.
  defp portforward_forbidden(missing, %{namespace: namespace, message: message} = details) do
    {"permission denied: #{missing} in namespace #{inspect(namespace)} (403): #{bare(message)}. #{@verbs}. Ask for " <>
       "this line in the Role: #{@portforward_rule}", role(details)}
  end

  defp exec_forbidden(missing, %{namespace: namespace}) do
    {"permission denied: could not read the cookie from the running node, as #{missing} in namespace " <>
       "#{inspect(namespace)} (403). #{@verbs}. Ask for this line in the Role: #{@exec_rule}",
     {"Or pass the cookie in a file", "mix k8s.connect TARGET --cookie-file PATH"}}
  end

  defp role(%{namespace: namespace} = details) do
    words = Enum.reject(["mix k8s.doctor", details[:target], "-n", namespace], &is_nil/1)
    {"See what is missing, as a Role to ask for, with", Enum.join(words, " ")}
  end

  defp login(%{context: context}),
    do: {"Try the login alone, on a terminal", "kubectl get --raw /version --context #{context}"}

  defp replaced(nil),
    do: {"Log in by a token, or by an exec plugin", "kubectl config set-credentials --help"}

  defp replaced("kubelogin"),
    do: {"Have kubelogin change the kubeconfig", "kubelogin convert-kubeconfig"}

  defp replaced(plugin) do
    {"Log in by the plugin #{plugin}, and have the kubeconfig written anew",
     "gcloud container clusters get-credentials CLUSTER"}
  end

  defp look_at_proxy("proxy-url" <> _kubeconfig),
    do: {"See where it is named with", "kubectl config view --minify"}

  defp look_at_proxy(variable), do: {"See it with", "printenv #{variable}"}
  defp look_at_proxy("proxy-url" <> _kubeconfig, context), do: view(context)
  defp look_at_proxy(variable, _context), do: "printenv #{variable}"

  defp past("proxy-url" <> _kubeconfig, _server),
    do: {"Take proxy-url out of the kubeconfig", "kubectl config view --minify"}

  defp past(_variable, server),
    do: {"For example", "export NO_PROXY=$NO_PROXY,#{String.replace(server, ~r/:\d+\z/, "")}"}

  defp exec(%{pod: pod, namespace: namespace}, command),
    do: "kubectl exec -it #{pod} -n #{namespace} -- #{command}"

  defp hint(nil), do: ""

  defp hint(text),
    do: ". The kubeconfig says: " <> (text |> String.split() |> Enum.join(" ") |> bare())

  defp said(""), do: " and said nothing"
  defp said(words), do: ": " <> bare(words)

  # Text from outside brings its own full stop or none.
  # The API server ends with a colon where it has no reason to add.
  defp bare(text), do: text |> String.trim_trailing(": ") |> String.trim_trailing(".")

  defp choose_context([]), do: {"See what there is with", "kubectl config view"}

  defp choose_context([first | _more]),
    do: {"Choose one with", "kubectl config use-context #{first}"}

  defp contexts([]), do: "It has none at all"
  defp contexts(known), do: "There are: #{Enum.join(known, ", ")}"

  @doc """
  The kinds of each stage, as rows of a table.
  """
  @spec table() :: String.t()
  def table do
    Enum.map_join(all(), "\n", fn {stage, kinds} ->
      names = kinds |> Keyword.keys() |> Enum.uniq() |> Enum.map_join(", ", &"`#{inspect(&1)}`")
      "| `#{inspect(stage)}` | #{names} |"
    end)
  end

  # Examples

  @pod %{pod: "app-0", namespace: "shop"}
  @server "https://10.0.0.1:6443"
  @proxy %{proxy: "proxy:3128", from: "HTTPS_PROXY"}
  @plugin %{program: "aws", context: "prod", status: "", words: ""}

  @doc """
  One failure of each kind, or one for each sentence that a kind has.
  """
  @spec examples() :: [{stage :: atom(), kind :: atom(), details :: map()}]
  def examples do
    for {stage, kinds} <- all(), {kind, details} <- kinds, do: {stage, kind, details}
  end

  defp all do
    [
      options: [
        not_a_keyword: %{value: "a map"},
        unknown_option: %{option: :namspace, known: [:context, :namespace]},
        bad_configuration: %{file: "config/runtime.exs", problem: "undefined variable x"},
        remsh_in_iex: %{},
        unknown_configuration: %{key: :protected, known: [:namespace, :protect]},
        bad_option: %{option: :timeout, value: 0, expected: "a positive number of milliseconds"},
        no_target: %{},
        target_and_selector: %{target: "app-0"},
        no_cookie_file: %{file: "cookie.txt", problem: "no such file or directory"},
        bad_cookie_file: %{file: "cookie.txt", size: 0},
        kernel_only: %{option: :sudo, route: :vm},
        bad_words: %{problem: "--frob is no option, or needs a value"}
      ],
      native: [
        not_loaded: %{path: "priv/native/k8s_connect_nif.so", problem: "no such file"},
        task_died: %{}
      ],
      config: [
        not_found: %{tried: ["/home/me/.kube/config"]},
        not_found: %{tried: []},
        unreadable: %{path: "/home/me/.kube/config", problem: "Permission denied (os error 13)"},
        malformed: %{path: "/home/me/.kube/config", problem: "line 3, column 1"},
        no_context: %{known: ["dev", "prod"]},
        unknown_context: %{context: "pord", known: ["dev", "prod"]},
        unknown_cluster: %{context: "prod", cluster: "eu"},
        unknown_user: %{context: "prod", user: "me"},
        bad_cluster: %{context: "prod", problem: "failed to parse the certificate authority"},
        bad_user: %{context: "prod", problem: "failed to read the client key"},
        old_auth_provider: %{context: "prod", provider: "azure", replacement: "kubelogin"},
        old_auth_provider: %{
          context: "prod",
          provider: "gcp",
          replacement: "gke-gcloud-auth-plugin"
        },
        bad_proxy: %{context: "prod", from: "HTTPS_PROXY", problem: "it has no host"},
        bad_service_account: %{
          folder: "/var/run/secrets/kubernetes.io/serviceaccount",
          problem: "ca.crt: gone"
        },
        bad_namespace: %{namespace: "Shop/1"},
        protected: %{context: "prod-eu", pattern: "prod*"}
      ],
      cluster: [
        unreachable: %{server: @server, problem: "Connection refused (os error 111)"},
        timed_out: %{server: @server, timeout_ms: 15_000},
        unknown_authority: %{server: @server},
        tls: %{server: @server, problem: "invalid peer certificate: not valid for name"},
        client_certificate_expired: %{context: "prod", not_after: "2026-01-01T00:00:00Z"},
        unauthorized: %{context: "prod", server: @server},
        forbidden: %{
          verb: "create",
          resource: "pods/portforward",
          namespace: "shop",
          message: "pods \"app-0\" is forbidden: User \"dev\" cannot create resource"
        },
        forbidden: %{
          target: "app-0",
          verb: "get",
          resource: "secrets",
          namespace: "shop",
          message: "secrets \"app-cookie\" is forbidden: User \"dev\" cannot get resource"
        },
        forbidden: %{
          verb: "get",
          resource: "pods",
          namespace: "shop",
          message:
            "users \"lead\" is forbidden: User \"dev\" cannot impersonate resource \"users\""
        },
        forbidden: %{verb: "create", resource: "pods/exec", namespace: "shop", message: "no"},
        forbidden: %{
          verb: "get",
          resource: "pods/portforward",
          namespace: "shop",
          message: "pods \"app-0\" is forbidden: User \"dev\" cannot get resource"
        },
        plugin_not_found: %{
          program: "aws",
          path: "/usr/local/bin:/usr/bin",
          hint: "Install the AWS CLI"
        },
        plugin_not_found: %{program: "/opt/bin/aws", path: nil, hint: nil},
        plugin_not_started: %{program: "aws", problem: "Exec format error (os error 8)"},
        plugin_failed: %{
          @plugin
          | status: "exit code 255",
            words: "Token has expired and refresh failed"
        },
        plugin_too_slow: %{program: "aws", context: "prod", timeout_ms: 15_000},
        plugin_rubbish: %{program: "aws", context: "prod", problem: "it is no JSON"},
        plugin_version: %{program: "aws", context: "prod", expected: "v1beta1", seen: "v1alpha1"},
        plugin_needs_terminal: %{program: "kubelogin", context: "prod"},
        plugin_empty: %{program: "aws", context: "prod"},
        token_file: %{path: "/run/token", problem: "No such file or directory (os error 2)"},
        oidc: %{
          context: "prod",
          issuer: "https://login.example.com",
          problem: "it answered with 400"
        },
        proxy_unreachable: Map.put(@proxy, :problem, "Connection refused (os error 111)"),
        proxy_login: Map.put(@proxy, :given, false),
        proxy_login: Map.put(@proxy, :given, true),
        proxy_refused: Map.merge(@proxy, %{server: "10.0.0.1:6443", answer: "403 Filtered"}),
        proxy_cannot_reach: Map.merge(@proxy, %{server: "10.0.0.1:6443", answer: "503"}),
        not_a_proxy: Map.put(@proxy, :seen, "SSH-2.0"),
        timed_out_by_proxy: Map.merge(@proxy, %{server: @server, timeout_ms: 15_000}),
        server_certificate_not_yet_valid: %{
          server: @server,
          not_before: "2026-11-24T12:00:00Z",
          now: "2026-11-23T12:00:00Z"
        },
        server_certificate_expired: %{
          server: @server,
          not_after: "2026-11-23T12:00:00Z",
          now: "2026-11-24T12:00:00Z"
        },
        hung_up: %{server: @server, problem: "unexpected end of file"},
        too_many_requests: %{
          server: @server,
          message: "too many requests, please try again later"
        },
        forbidden_both_ways: %{
          resource: "pods/portforward",
          namespace: "shop",
          message: "pods \"app-0\" is forbidden: User \"dev\" cannot create resource"
        },
        no_upgrade:
          Map.merge(@pod, %{
            server: @server,
            answers: ["SPDY was answered with 403", "a WebSocket was answered with 403"]
          }),
        refused: %{server: @server, code: 500, message: "etcdserver: request timed out"},
        not_kubernetes: %{server: @server, problem: "an answer that is no JSON"}
      ],
      target: [
        bad_target: %{target: "job/x"},
        no_such_pod: %{pod: "app-9", namespace: "shop"},
        no_pods: %{target: "sts/app", namespace: "shop"},
        not_running: Map.put(@pod, :phase, "Pending"),
        no_container: %{container: "ap", known: ["app", "proxy"]},
        replaced: @pod,
        workload_deleted: %{target: "sts/app", namespace: "shop"}
      ],
      node: [
        no_epmd: Map.merge(@pod, %{message: "connection refused", tried: []}),
        nothing_at: Map.merge(@pod, %{port: 9100, message: "connection refused"}),
        epmd_silent: @pod,
        epmd_junk: Map.put(@pod, :seen, "\"HTTP/1.1 400\""),
        no_nodes: @pod,
        unknown_node: Map.merge(@pod, %{wanted: "web", known: ["app", "worker"]}),
        several_nodes: Map.put(@pod, :known, ["app", "worker"]),
        port_refused: Map.merge(@pod, %{node: "app", port: 5555, message: "connection refused"}),
        handshake_silent: Map.put(@pod, :node, "app"),
        handshake_closed: Map.put(@pod, :node, "app"),
        tls_only: Map.merge(@pod, %{node: "app", port: 5555}),
        junk: Map.merge(@pod, %{expected: "a status", seen: "HTTP/1.1 400"}),
        rejected: Map.put(@pod, :status, "not_allowed"),
        too_old: @pod,
        bad_name: Map.put(@pod, :name, "app"),
        link_closed: %{reason: "the API server closed the connection"}
      ],
      cookie: [
        not_found: @pod,
        not_there: Map.put(@pod, :problem, "there is no sh")
      ],
      outlet: [
        no_socket: %{directory: "/tmp", problem: "Permission denied (os error 13)"},
        no_listener: %{address: "127.0.0.1", problem: "Too many open files (os error 24)"},
        no_pod_address: @pod,
        target_is_server: %{address: "10.0.0.1:6443"}
      ],
      helper: [
        not_installed: %{path: @helper},
        not_started: %{path: @helper, problem: "permission denied"},
        no_sudo: %{},
        sudo: %{},
        died: %{words: "killed", times: 1},
        died: %{words: "killed", times: 3},
        silent: %{timeout_ms: 5000},
        unreadable: %{problem: "not a frame"},
        wrong_version: %{major: 3, minor: 0},
        wrong_version: %{major: 1, minor: 0},
        set_uid: %{},
        no_caller: %{},
        no_capability: %{why: :file_capabilities},
        no_capability: %{why: :bounding_set},
        no_capability: %{why: :user_namespace},
        no_capability: %{why: :unknown},
        no_new_privs: %{},
        nosuid: %{},
        no_cgroup2: %{},
        no_user_slice: %{cgroup: "/system.slice/run-u7.service", uid: 1000},
        no_btf: %{name: "task_struct.cred"},
        no_bpf: %{step: "loading the program", problem: "Invalid argument (os error 22)"},
        exclusive_program: %{cgroup: "/sys/fs/cgroup/user.slice/user-1000.slice"},
        would_hide: %{cgroup: "/sys/fs/cgroup/user.slice"},
        too_many: %{limit: 8},
        not_led: %{test: "a process that its user may trace must be redirected"},
        no_such_process: %{pid: 4711},
        kernel: %{step: "opening sock_diag", problem: "Protocol not supported (os error 93)"},
        bad_destination: %{to: "127.0.0.1:5555", why: :loopback},
        low_port: %{to: "10.244.1.8:80", port: 80},
        no_listener: %{via: 40_000},
        foreign_listener: %{via: 40_000, uid: 1001},
        too_many_redirects: %{count: 2000},
        twice: %{to: "10.244.1.8:5555"},
        malformed: %{problem: "a frame of another version"},
        too_long: %{length: 70_000},
        empty: %{},
        no_hello: %{},
        second_hello: %{}
      ],
      route: [
        linux_only: %{},
        always_hidden: %{},
        name_kind: %{node: :"app@10.244.1.8", me: :me@laptop},
        host_elsewhere: %{node: :"app@app.shop.svc", host: "app.shop.svc", ip: "10.244.1.8"},
        blocked: %{address: "10.244.1.8:4369", problem: "timed out"},
        unknown_net_kernel: %{otp: "40"},
        no_distribution: %{name: "rem-me-x1@127.0.0.1", problem: "not allowed"},
        node_taken: %{node: :"app@10.244.1.8"},
        own_name: %{node: :"app@10.244.1.8"},
        net_kernel_busy: %{seconds: 5},
        job_failed: %{problem: "badarg"}
      ],
      connect: [
        timeout: %{ms: 60_000, step: "link", target: "app-0"},
        refused: %{node: :"app@10.244.1.8", source: "Secret app-cookie, key cookie"},
        session_died: %{problem: "killed"},
        lost: %{node: :"app@10.244.1.8", reason: :connection_closed},
        not_up: %{target: "sts/app", state: :reconnecting},
        not_up: %{target: "sts/app", state: :down}
      ],
      exec: [
        not_found: %{command: "iex", problem: "No such file or directory"},
        not_executable: %{command: "./run", problem: "Permission denied"},
        no_seccomp: %{problem: "Function not implemented (os error 38)"},
        nested: %{problem: "Device or resource busy (os error 16)"},
        no_ptrace: %{problem: "Operation not permitted (os error 1)"},
        not_redirected: %{problem: "Connection refused (os error 111)"},
        system: %{problem: "no_new_privs: Operation not permitted"},
        no_runner: %{
          program: "priv/native/k8s_connect_exec",
          problem: "No such file or directory"
        },
        runner_killed: %{},
        link_closed: %{
          node: :"app@10.244.1.8",
          reason: "the API server closed the connection"
        },
        other_route: %{node: :"app@10.244.1.8", route: :vm},
        linux_only: %{}
      ],
      remote: [
        raised: %{node: :"app@10.244.1.8", text: "** (RuntimeError) boom"},
        no_elixir: %{node: :"app@10.244.1.8"},
        no_iex: %{node: :"app@10.244.1.8"},
        no_shell: %{problem: ":already_started"}
      ]
    ]
  end
end
