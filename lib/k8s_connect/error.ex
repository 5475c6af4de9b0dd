defmodule K8sConnect.Error do
  @moduledoc """
  What went wrong, for programs and for people.

    * `:stage` - how far we came: `:options`, `:native` (the library itself), `:config` (the
      kubeconfig), `:cluster` (the API server), `:target` (the pod), `:node` (what answers in it),
      `:cookie`, `:outlet`, `:helper` and `:route` (the way from there to this BEAM), or `:connect`.
    * `:reason` - `{kind, details}`, a term to match on.

  `message/1` makes the sentence: what was tried, what was seen, and what to do next. It is a pure
  function of the reason. Text that came from outside loses its control characters on the way.

  | stage | kinds |
  |---|---|
  | `:options` | `:not_a_keyword`, `:unknown_option`, `:bad_option`, `:no_target`, `:target_and_selector`, `:no_cookie_file`, `:bad_cookie_file`, `:kernel_only` |
  | `:native` | `:not_loaded`, `:task_died` |
  | `:config` | `:not_found`, `:unreadable`, `:malformed`, `:no_context`, `:unknown_context`, `:unknown_cluster`, `:unknown_user`, `:bad_cluster`, `:bad_user`, `:bad_namespace`, `:old_auth_provider`, `:bad_proxy`, `:bad_service_account` |
  | `:cluster` | `:unreachable`, `:timed_out`, `:unknown_authority`, `:tls`, `:client_certificate_expired`, `:unauthorized`, `:forbidden`, `:refused`, `:not_kubernetes`, `:plugin_not_found`, `:plugin_not_started`, `:plugin_failed`, `:plugin_too_slow`, `:plugin_rubbish`, `:plugin_version`, `:plugin_needs_terminal`, `:plugin_empty`, `:token_file`, `:oidc`, `:proxy_unreachable`, `:proxy_login`, `:proxy_refused`, `:proxy_cannot_reach`, `:not_a_proxy`, `:timed_out_by_proxy`, `:server_certificate_not_yet_valid`, `:server_certificate_expired`, `:hung_up`, `:too_many_requests` |
  | `:target` | `:bad_target`, `:no_such_pod`, `:no_pods`, `:not_running`, `:no_container` |
  | `:node` | `:no_epmd`, `:nothing_at`, `:epmd_silent`, `:epmd_junk`, `:no_nodes`, `:unknown_node`, `:several_nodes`, `:port_refused`, `:handshake_silent`, `:junk`, `:rejected`, `:too_old`, `:bad_name`, `:link_closed` |
  | `:cookie` | `:not_found`, `:not_there` |
  | `:outlet` | `:no_socket`, `:no_listener`, `:no_pod_address` |
  | `:helper` | `:not_installed`, `:not_started`, `:no_sudo`, `:sudo`, `:died`, `:silent`, `:unreadable`, `:wrong_version`, `:not_permitted`, `:set_uid`, `:not_your_process`, `:kernel`, `:too_many_helpers`, `:no_route`, `:bad_destination`, `:low_port`, `:no_listener`, `:foreign_listener`, `:too_many`, `:twice`, `:malformed`, `:too_long`, `:empty`, `:no_hello`, `:second_hello` |
  | `:route` | `:unknown_net_kernel`, `:no_distribution`, `:node_taken`, `:linux_only`, `:always_hidden`, `:name_kind`, `:host_elsewhere`, `:blocked` |
  | `:connect` | `:refused`, `:session_died` |
  """

  # As K8sConnect.Helper.Program has it, which has errors of its own.
  @helper "/usr/local/libexec/k8s_connect_helper"

  # What `cookie_from: :exec` needs.
  @exec_rule ~s(- {apiGroups: [""], resources: [pods/exec], verbs: [create]})

  @enforce_keys [:stage, :reason]
  defexception @enforce_keys

  @type stage ::
          :options
          | :native
          | :config
          | :cluster
          | :target
          | :node
          | :cookie
          | :outlet
          | :helper
          | :route
          | :connect
  @type t :: %__MODULE__{stage: stage(), reason: {kind :: atom(), details :: map()}}

  @doc false
  @spec new(stage(), {atom(), map()}) :: t()
  def new(stage, reason), do: %__MODULE__{stage: stage, reason: reason}

  @doc """
  The sentence for people.
  """
  @spec message(t()) :: String.t()
  @impl true
  def message(%__MODULE__{stage: stage, reason: {kind, details}}) do
    stage |> sentence(kind, details) |> printable()
  end

  # Options

  defp sentence(:options, :not_a_keyword, %{value: value}) do
    "options must be a keyword list, got #{value}. " <>
      "For example: K8sConnect.pods(namespace: \"shop\")"
  end

  defp sentence(:options, :unknown_option, %{option: option, known: known}) do
    "there is no option #{inspect(option)}. The options are #{Enum.map_join(known, ", ", &inspect/1)}"
  end

  defp sentence(:options, :bad_option, %{option: option, value: value, expected: expected}) do
    "option #{inspect(option)} must be #{expected}, got #{inspect(value)}"
  end

  defp sentence(:options, :no_target, %{}) do
    "no target was given: name a pod (\"app-0\"), its owner (\"sts/app\", \"deploy/web\"), a Service " <>
      "(\"svc/app\"), or a label selector. See what is there with: kubectl get pods"
  end

  defp sentence(:options, :no_cookie_file, %{file: file, problem: problem}) do
    "could not read the cookie from #{file}: #{problem}. Look at it with: ls -l #{file}"
  end

  defp sentence(:options, :bad_cookie_file, %{file: file, size: size}) do
    "the file #{file} is no cookie: it has #{size} bytes, and a cookie has 1 to 255. " <>
      "Look at its size with: wc -c #{file}"
  end

  defp sentence(:options, :target_and_selector, %{target: target}) do
    "give the target #{inspect(target)} or a selector, not both"
  end

  defp sentence(:options, :kernel_only, %{option: option}) do
    "option #{inspect(option)} is for the kernel route, and :vm was asked for. Leave out one of the two"
  end

  # The library

  defp sentence(:native, :not_loaded, %{path: path, problem: problem}) do
    "could not load the native library #{path}: #{bare(problem)}. " <>
      "Build it again with: mix deps.compile k8s_connect --force"
  end

  defp sentence(:native, :task_died, %{}) do
    "the native library gave up on this request by a fault of its own, the VM is unharmed. " <>
      "Please report it, with what was printed before"
  end

  # The kubeconfig

  defp sentence(:config, :not_found, %{tried: []}) do
    "found no kubeconfig: neither KUBECONFIG nor HOME is set. " <>
      "Set one: export KUBECONFIG=/path/to/kubeconfig"
  end

  defp sentence(:config, :not_found, %{tried: tried}) do
    "found no kubeconfig: there is no file #{Enum.join(tried, ", nor ")}. " <>
      "Point to yours with: export KUBECONFIG=/path/to/kubeconfig"
  end

  defp sentence(:config, :unreadable, %{path: path, problem: problem}) do
    "could not read the kubeconfig #{path}: #{bare(problem)}. Look at it with: ls -l #{path}"
  end

  defp sentence(:config, :malformed, %{path: path, problem: problem}) do
    "#{path} is not a kubeconfig: #{bare(problem)}. " <>
      "Check it with: kubectl config view --kubeconfig #{path}"
  end

  defp sentence(:config, :no_context, %{known: known}) do
    "the kubeconfig has no current-context, and no context was given. #{contexts(known)}"
  end

  defp sentence(:config, :unknown_context, %{context: context, known: known}) do
    "the kubeconfig has no context #{inspect(context)}. #{contexts(known)}"
  end

  defp sentence(:config, :unknown_cluster, %{context: context, cluster: cluster}) do
    "context #{inspect(context)} names the cluster #{inspect(cluster)}, which the kubeconfig does " <>
      "not have. See what is there with: kubectl config get-clusters"
  end

  defp sentence(:config, :unknown_user, %{context: context, user: user}) do
    "context #{inspect(context)} names the user #{inspect(user)}, whom the kubeconfig does not " <>
      "have. See who is there with: kubectl config get-users"
  end

  defp sentence(:config, :bad_cluster, %{context: context, problem: problem}) do
    "the cluster of context #{inspect(context)} cannot be used: #{bare(problem)}. " <>
      "Look at its entry with: kubectl config view --minify --context #{context}"
  end

  defp sentence(:config, :bad_user, %{context: context, problem: problem}) do
    "the credentials of context #{inspect(context)} cannot be used: #{bare(problem)}. " <>
      "Look at their entry with: kubectl config view --minify --context #{context}"
  end

  defp sentence(:config, :bad_namespace, %{namespace: namespace}) do
    "#{inspect(namespace)} cannot be a namespace: its name has at most 63 of a-z, 0-9 and -. " <>
      "See the names with: kubectl get namespaces"
  end

  defp sentence(:config, :old_auth_provider, details) do
    %{context: context, provider: provider, replacement: replacement} = details

    "the user of context #{inspect(context)} logs in by the auth provider #{inspect(provider)}, which " <>
      "Kubernetes itself has taken out since: #{replaced(replacement)}"
  end

  defp sentence(:config, :bad_proxy, %{from: from, problem: problem} = details) do
    "the proxy in #{from} cannot be used: #{bare(problem)}. It looks like http://proxy:3128 or " <>
      "socks5://proxy:1080. Look at it with: #{look_at_proxy(from, details.context)}"
  end

  defp sentence(:config, :bad_service_account, %{folder: folder, problem: problem}) do
    "there is no kubeconfig, and the service account of this pod cannot be used: #{bare(problem)}. " <>
      "Look at it with: ls -l #{folder}"
  end

  # The API server

  defp sentence(:cluster, :unreachable, %{server: server, problem: problem}) do
    "could not reach the API server #{server}: #{bare(problem)}. " <>
      "Is the cluster up, and a VPN needed? Check with: kubectl cluster-info"
  end

  defp sentence(:cluster, :timed_out, %{server: server, timeout_ms: timeout}) do
    "the API server #{server} did not answer within #{timeout} ms. " <>
      "Is a VPN needed? Check with: kubectl cluster-info"
  end

  defp sentence(:cluster, :unknown_authority, %{server: server}) do
    "the API server #{server} shows a certificate of an authority that the kubeconfig does not " <>
      "trust. Is it the right cluster? Compare certificate-authority in: kubectl config view --minify"
  end

  defp sentence(:cluster, :tls, %{server: server, problem: problem}) do
    "no TLS with the API server #{server}: #{bare(problem)}. Check with: kubectl cluster-info"
  end

  defp sentence(:cluster, :client_certificate_expired, %{context: context, not_after: not_after}) do
    "the client certificate of context #{inspect(context)} expired at #{not_after}. " <>
      "Get a new kubeconfig where you got this one"
  end

  defp sentence(:cluster, :unauthorized, %{context: context, server: server}) do
    "the API server #{server} does not take the credentials of context #{inspect(context)} (401). " <>
      "Log in again, then check with: kubectl auth whoami --context #{context}"
  end

  defp sentence(:cluster, :forbidden, %{resource: "pods/exec"} = details) do
    "may not read the cookie from the running node: no right to create pods/exec in namespace " <>
      "#{inspect(details.namespace)} (403). Ask for one more line in the Role: #{@exec_rule}. " <>
      "Or pass the cookie in a file: --cookie-file PATH"
  end

  defp sentence(:cluster, :forbidden, details) do
    %{verb: verb, resource: resource, namespace: namespace, message: message} = details

    "may not #{verb} #{resource} in namespace #{inspect(namespace)} (403): #{bare(message)}. " <>
      "Ask for the Role in the README, and check with: " <>
      "kubectl auth can-i #{verb} #{resource} -n #{namespace}"
  end

  defp sentence(:cluster, :refused, %{server: server, code: code, message: message}) do
    "the API server #{server} answered with #{code}: #{bare(message)}. Check with: kubectl cluster-info"
  end

  defp sentence(:cluster, :not_kubernetes, %{server: server, problem: problem}) do
    "what answers at #{server} is no Kubernetes API server: #{bare(problem)}. " <>
      "Check the server in: kubectl config view --minify"
  end

  defp sentence(:cluster, :plugin_not_found, %{program: program, path: nil} = details) do
    "the kubeconfig logs in by #{program}, and there is no such file." <>
      hint(details.hint) <> " Look with: ls -l #{program}"
  end

  defp sentence(:cluster, :plugin_not_found, %{program: program, path: path} = details) do
    "the kubeconfig logs in by the program #{program}, which is in no folder of PATH (#{path})." <>
      hint(details.hint) <> " Look with: which #{program}"
  end

  defp sentence(:cluster, :plugin_not_started, %{program: program, problem: problem}) do
    "could not run #{program}, which the kubeconfig logs in by: #{bare(problem)}. " <>
      "Run it by hand, to see: #{program} --help"
  end

  defp sentence(:cluster, :plugin_failed, details) do
    %{program: program, status: status, words: words, context: context} = details

    "#{program}, which the kubeconfig logs in by, failed with #{status}#{said(words)}. " <>
      "Try the login alone, on a terminal: #{login(context)}"
  end

  defp sentence(:cluster, :plugin_too_slow, details) do
    %{program: program, timeout_ms: timeout, context: context} = details

    "#{program}, which the kubeconfig logs in by, was not done after #{timeout} ms. Does it wait for " <>
      "somebody, or for a network? Give it more time with the option :timeout, on a command line: " <>
      "--timeout 60000. Or try the login alone, on a terminal: #{login(context)}"
  end

  defp sentence(:cluster, :plugin_rubbish, details) do
    %{program: program, problem: problem, context: context} = details

    "what #{program} printed, which the kubeconfig logs in by, are no credentials: #{bare(problem)}. " <>
      "Try the login alone, on a terminal: #{login(context)}"
  end

  defp sentence(:cluster, :plugin_version, details) do
    %{program: program, expected: expected, seen: seen, context: context} = details

    "#{program} answers in #{seen}, and the kubeconfig has its apiVersion as #{expected}. " <>
      "Make them the same in the user's exec entry: kubectl config view --minify --context #{context}"
  end

  defp sentence(:cluster, :plugin_needs_terminal, %{program: program, context: context}) do
    "#{program}, which the kubeconfig logs in by, wants to ask you something on a terminal, and here it can have none " <>
      "(interactiveMode: Always). Log in on one first, it will remember: #{login(context)}"
  end

  defp sentence(:cluster, :plugin_empty, %{program: program, context: context}) do
    "#{program}, which the kubeconfig logs in by, gave neither a token nor a certificate. " <>
      "Try the login alone, on a terminal: #{login(context)}"
  end

  defp sentence(:cluster, :token_file, %{path: path, problem: problem}) do
    "there is no token in #{path}: #{bare(problem)}. Look at it with: ls -l #{path}"
  end

  defp sentence(:cluster, :oidc, details) do
    %{context: context, issuer: issuer, problem: problem} = details

    "got no new token from #{issuer} for context #{inspect(context)}: #{bare(problem)}. Log in again " <>
      "where you got this kubeconfig, or have an exec plugin do it: kubectl oidc-login setup"
  end

  defp sentence(:cluster, :proxy_unreachable, %{proxy: proxy, from: from, problem: problem}) do
    "could not reach the proxy #{proxy} (#{from}): #{bare(problem)}. " <>
      "Is it the right one for this network? Check with: curl -v telnet://#{proxy}"
  end

  defp sentence(:cluster, :proxy_login, %{proxy: proxy, from: from, given: given}) do
    wanted =
      if given,
        do: "does not take the name and password it was given",
        else: "wants a name and a password"

    "the proxy #{proxy} (#{from}) #{wanted}. " <>
      "They go into its URL, as in: http://name:password@#{proxy}"
  end

  defp sentence(:cluster, :proxy_refused, details) do
    %{proxy: proxy, from: from, server: server, answer: answer} = details

    "the proxy #{proxy} (#{from}) does not let us through to #{server}: #{bare(answer)}. Ask its admin to, or " <>
      "go past it, where there is a direct way: #{past(from, server)}"
  end

  defp sentence(:cluster, :proxy_cannot_reach, details) do
    %{proxy: proxy, from: from, server: server, answer: answer} = details

    "the proxy #{proxy} (#{from}) could not reach #{server}: #{bare(answer)}. Is it the right proxy for this " <>
      "cluster? Where there is a direct way, go past it: #{past(from, server)}"
  end

  defp sentence(:cluster, :not_a_proxy, %{proxy: proxy, from: from, seen: seen}) do
    "what answers at #{proxy} (#{from}) is no proxy, or one of another kind: #{bare(seen)}. " <>
      "Its URL begins with http://, https:// or socks5://"
  end

  defp sentence(:cluster, :timed_out_by_proxy, details) do
    %{server: server, proxy: proxy, from: from, timeout_ms: timeout} = details

    "the API server #{server} did not answer through the proxy #{proxy} (#{from}) within #{timeout} ms. " <>
      "Check with: kubectl cluster-info"
  end

  defp sentence(:cluster, :server_certificate_not_yet_valid, details) do
    %{server: server, not_before: from, now: now} = details

    "the certificate of the API server #{server} is valid from #{from} on, and by this machine's clock it is " <>
      "#{now}. If the clock is wrong, set it: sudo timedatectl set-ntp true"
  end

  defp sentence(:cluster, :server_certificate_expired, details) do
    %{server: server, not_after: until, now: now} = details

    "the certificate of the API server #{server} was valid until #{until}, and by this machine's clock it is " <>
      "#{now}. If the clock is right, the cluster's admin has to renew it: kubeadm certs renew apiserver"
  end

  defp sentence(:cluster, :hung_up, %{server: server, problem: problem}) do
    "the API server #{server}, or what stands before it, took the connection and hung up without an answer " <>
      "(#{bare(problem)}). Some gateways do that to one connection too many. Check with: kubectl cluster-info"
  end

  defp sentence(:cluster, :too_many_requests, %{server: server, message: message}) do
    "the API server #{server} has more requests than it can take (429): #{bare(message)}. Try again later, or wait " <>
      "for it longer with the option :timeout, on a command line: --timeout 60000"
  end

  # The pod

  defp sentence(:target, :bad_target, %{target: target}) do
    "#{inspect(target)} is no target. It can be a pod (app-0), its owner (sts/app, deploy/web) or a " <>
      "Service (svc/app). See what is there with: kubectl get pods"
  end

  defp sentence(:target, :no_such_pod, %{pod: pod, namespace: namespace}) do
    "there is no pod #{inspect(pod)} in namespace #{inspect(namespace)}. " <>
      "See what is there with: kubectl get pods -n #{namespace}"
  end

  defp sentence(:target, :no_pods, %{target: target, namespace: namespace}) do
    "no pod belongs to #{target} in namespace #{inspect(namespace)}. " <>
      "See what is there with: kubectl get pods -n #{namespace} --show-labels"
  end

  defp sentence(:target, :not_running, %{pod: pod, namespace: namespace, phase: phase}) do
    "pod #{inspect(pod)} in namespace #{inspect(namespace)} is not running: #{phase}. " <>
      "See why with: kubectl describe pod #{pod} -n #{namespace}"
  end

  defp sentence(:target, :no_container, %{container: container, known: known}) do
    "the pod has no container #{inspect(container)}. There are: #{Enum.join(known, ", ")}"
  end

  # What answers in it

  defp sentence(:node, :no_epmd, %{message: message, tried: tried} = details) do
    "no Erlang node can be found in #{pod(details)}: nothing listens on epmd's port 4369 there " <>
      "(#{bare(message)})#{nor_at(tried)}. Is it the right pod, and does its node have a name? " <>
      "If it runs without epmd, give its port with the option :port, on a command line: --port 9100. " <>
      "Check with: " <> logs(details)
  end

  defp sentence(:node, :nothing_at, %{port: port, message: message} = details) do
    "no Erlang node is at port #{port} of #{pod(details)}: nothing takes a connection there on the pod's " <>
      "loopback (#{bare(message)}). See which ports there are with: " <> exec(details, "ss -ltn")
  end

  defp sentence(:node, :epmd_silent, %{} = details) do
    "something in #{pod(details)} takes connections on epmd's port 4369, and does not answer for 5 s. " <>
      "Check with: " <> exec(details, "epmd -names")
  end

  defp sentence(:node, :epmd_junk, %{seen: seen} = details) do
    "what listens on epmd's port 4369 in #{pod(details)} is not epmd: it answers with #{bare(seen)}. " <>
      "Check with: " <> exec(details, "epmd -names")
  end

  defp sentence(:node, :no_nodes, %{} = details) do
    "epmd runs in #{pod(details)} and knows no node: none was started with a name, or it is still starting. " <>
      "Check with: " <> logs(details)
  end

  defp sentence(:node, :unknown_node, %{wanted: wanted, known: known} = details) do
    "there is no node #{inspect(wanted)} in #{pod(details)}. epmd knows: #{Enum.join(known, ", ")}"
  end

  defp sentence(:node, :several_nodes, %{known: known} = details) do
    "there are several nodes in #{pod(details)}: #{Enum.join(known, ", ")}. " <>
      "Choose one with the option :node, on a command line: --node #{hd(known)}"
  end

  defp sentence(:node, :port_refused, %{node: node, port: port, message: message}) do
    "node #{inspect(node)} is registered with port #{port}, and nothing takes a connection there on the " <>
      "pod's loopback (#{bare(message)}). It listens on the pod's IP only: take " <>
      "inet_dist_use_interface out of its vm.args, or set it to {0,0,0,0}"
  end

  defp sentence(:node, :handshake_silent, %{node: node} = details) do
    "node #{inspect(node)} took the connection and did not answer the handshake. Is the VM stuck, or " <>
      "does its distribution speak TLS? Check with: " <> logs(details)
  end

  defp sentence(:node, :junk, %{expected: expected, seen: seen} = details) do
    "what listens on the node's port in #{pod(details)} is not an Erlang node: #{expected} was due, " <>
      "and #{inspect(seen)} came. Check with: " <> exec(details, "epmd -names")
  end

  defp sentence(:node, :rejected, %{status: status} = details) do
    "the node in #{pod(details)} refused the handshake: #{bare(status)}. Does it only allow certain nodes " <>
      "(:net_kernel.allow/1)? Check with: " <> logs(details)
  end

  defp sentence(:node, :too_old, %{} = details) do
    "the node in #{pod(details)} is older than OTP 23, whose distribution protocol is the oldest that is spoken here. " <>
      "Use what is in its own image: " <> exec(details, "sh")
  end

  defp sentence(:node, :bad_name, %{name: name} = details) do
    "the node in #{pod(details)} calls itself #{inspect(name)}, which is not a name that a node can have. " <>
      "Check with: " <> exec(details, "epmd -names")
  end

  defp sentence(:node, :link_closed, %{reason: reason}) do
    "the connection to the pod ended on the way: #{bare(reason)}. " <>
      "Try again, and check with: kubectl get pods"
  end

  # The cookie

  defp sentence(:cookie, :not_found, %{pod: pod}) do
    "the spec of pod #{inspect(pod)} does not lead to a cookie: no variable of its container is " <>
      "called RELEASE_COOKIE, ERLANG_COOKIE or the like, or what it refers to is not there. A release " <>
      "without one has its own, in releases/COOKIE of the image. Have it read from the running node: " <>
      "--cookie-from exec, which needs one more line in your Role: #{@exec_rule}. " <>
      "Or pass it in a file: --cookie-file PATH"
  end

  defp sentence(:cookie, :not_there, %{pod: pod, problem: problem}) do
    "could not read the cookie from the running node in pod #{inspect(pod)}: #{bare(problem)}. It takes a " <>
      "container with sh and sed, and the rights of the node's user there. Pass it in a file: --cookie-file PATH"
  end

  # The way to this BEAM

  defp sentence(:outlet, :no_socket, %{directory: directory, problem: problem}) do
    "could not make a socket in #{directory}: #{bare(problem)}. " <>
      "Choose another directory with: export TMPDIR=/path"
  end

  defp sentence(:outlet, :no_listener, %{address: address, problem: problem}) do
    "could not listen on #{address}: #{bare(problem)}. See what is there with: ip addr show lo"
  end

  defp sentence(:outlet, :no_pod_address, %{pod: pod, namespace: namespace}) do
    "pod #{inspect(pod)} has no address yet, and the kernel route needs one. " <>
      "See it with: kubectl get pod #{pod} -n #{namespace} -o wide"
  end

  # The helper

  defp sentence(:helper, :not_installed, %{path: path}) do
    "the kernel route needs the helper, and there is no #{path}. Install it once, as an admin: " <>
      "mix k8s.helper install. Or run it by sudo, with --sudo; or do without: --route vm"
  end

  defp sentence(:helper, :not_started, %{path: path, problem: problem}) do
    "could not start the helper #{path}: #{bare(problem)}. Look at it with: ls -l #{path}"
  end

  defp sentence(:helper, :no_sudo, %{}) do
    "there is no sudo in PATH to run the helper by. Install the helper instead: mix k8s.helper install"
  end

  defp sentence(:helper, :sudo, %{}) do
    "sudo did not run the helper; it was not let ask for a password. Give it one first: sudo -v"
  end

  defp sentence(:helper, :died, %{words: words, times: 1}) do
    "the helper is gone: #{bare(words)}. Try again, and see how it is with: mix k8s.helper status"
  end

  defp sentence(:helper, :died, %{words: words, times: times}) do
    "the helper died #{times} times within a minute, the last time so: #{bare(words)}. " <>
      "See how it is with: mix k8s.helper status"
  end

  defp sentence(:helper, :silent, %{timeout_ms: timeout}) do
    "the helper did not answer within #{timeout} ms and was ended, if that is allowed. " <>
      "Was it stopped? See what is left with: ps -C k8s_connect_helper"
  end

  defp sentence(:helper, :unreadable, %{problem: problem}) do
    "the helper's answer cannot be read: #{bare(problem)}. Install the one of this version: " <>
      "mix k8s.helper install"
  end

  defp sentence(:helper, :wrong_version, %{major: major, minor: minor}) do
    "the installed helper speaks version #{major}.#{minor} of its protocol, which this library does not. " <>
      "Install the one of this version: mix k8s.helper install"
  end

  defp sentence(:helper, :not_permitted, %{why: why}) do
    "the helper may not change the kernel's rules: #{missing(why)}"
  end

  defp sentence(:helper, :set_uid, %{}) do
    "the helper is setuid, which it refuses to be: it would act for somebody else. " <>
      "Install it again: mix k8s.helper install"
  end

  defp sentence(:helper, :not_your_process, %{pid: pid}) do
    "the helper does not work for process #{pid}: it is not there, or another user's. " <>
      "It works for the user who runs it, or who runs sudo. Look with: ps -o user= -p #{pid}"
  end

  defp sentence(:helper, :kernel, %{step: step, problem: problem}) do
    "the kernel refused #{step}: #{bare(problem)}. It needs Linux 5.12 with nf_tables; " <>
      "see what works here with: mix k8s.helper status"
  end

  defp sentence(:helper, :too_many_helpers, %{limit: limit}) do
    "this user has #{limit} helpers already, one for each BEAM that is connected by the kernel route, and may " <>
      "have no more. See them with: pgrep -a k8s_connect"
  end

  defp sentence(:helper, :no_route, %{to: to, problem: problem}) do
    "this machine has no route to #{to}, and could not be given one: #{bare(problem)}. " <>
      "Open the device with: sudo chmod 0666 /dev/net/tun"
  end

  defp sentence(:helper, :bad_destination, %{to: to, why: why}) do
    "the helper does not redirect #{to}: it is #{destination(why)}. " <>
      "See the pod's address with: kubectl get pods -o wide"
  end

  defp sentence(:helper, :low_port, %{to: to, port: port}) do
    "the helper does not redirect #{to}: port #{port} is below 1024. " <>
      "Give the node another one: -kernel inet_dist_listen_min 5555 inet_dist_listen_max 5555"
  end

  defp sentence(:helper, :no_listener, %{via: via}) do
    "the helper does not redirect to port #{via}, as nothing listens there on the loopback. " <>
      "Look with: ss -ltn sport = :#{via}"
  end

  defp sentence(:helper, :foreign_listener, %{via: via, uid: uid}) do
    "the helper does not redirect to port #{via}: who listens there is the user #{uid}. " <>
      "Look with: sudo ss -ltnp sport = :#{via}"
  end

  defp sentence(:helper, :too_many, %{count: count}) do
    "the helper holds 1024 redirects at most, and #{count} were asked for. " <>
      "End some connections: K8sConnect.connections()"
  end

  defp sentence(:helper, :twice, %{to: to}),
    do: "the helper was asked to redirect #{to} twice. Please report it"

  defp sentence(:helper, :malformed, %{problem: problem}) do
    "the helper could not read what it was asked: #{bare(problem)}. Please report it"
  end

  defp sentence(:helper, :too_long, %{length: length}),
    do: "the helper was sent a frame of #{length} bytes, which is too long. Please report it"

  defp sentence(:helper, :empty, %{}), do: "the helper was sent an empty frame. Please report it"

  defp sentence(:helper, :no_hello, %{}),
    do: "the helper was asked for something before it was greeted. Please report it"

  defp sentence(:helper, :second_hello, %{}),
    do: "the helper was greeted twice. Please report it"

  # The route

  defp sentence(:route, :linux_only, %{}),
    do: "the kernel route is for Linux. Take the other one: --route vm"

  defp sentence(:route, :always_hidden, %{}) do
    "a connection on the route :vm is always a hidden one. Leave out :visible, or take the kernel's: " <>
      "--route kernel --visible"
  end

  defp sentence(:route, :name_kind, %{node: node, me: me}) do
    "this BEAM is the node #{me}, and one of #{node} has a name of the other kind, long or short; by " <>
      "the kernel route they cannot connect. Take the other one: --route vm"
  end

  defp sentence(:route, :host_elsewhere, %{node: node, host: host, ip: ip}) do
    "node #{node} is in the pod with the address #{ip}, and #{host} does not lead there on this machine; " <>
      "programs that take the kernel route look it up. Take the other one: --route vm. " <>
      "Or make it known: echo '#{ip} #{host}' | sudo tee -a /etc/hosts"
  end

  defp sentence(:route, :blocked, %{address: address, problem: problem}) do
    "the kernel redirects #{address}, and a connection does not get through (#{bare(problem)}): is there a " <>
      "firewall that denies what leaves this machine, or another rule for that address? See what works with: " <>
      "mix k8s.helper status. The other route is not touched by it: --route vm"
  end

  defp sentence(:route, :unknown_net_kernel, %{otp: otp}) do
    "the net_kernel of this OTP (#{otp}) is not one that is known here (those of OTP 25 to 29 are), or is not to " <>
      "be touched, and was left alone. Without that it takes OTP 27.2, no -epmd_module, and a node here whose name " <>
      "is long or short as the pod's is. Take the other route: --route kernel"
  end

  defp sentence(:route, :no_distribution, %{name: name, problem: problem}) do
    "could not make this BEAM the node #{name}: #{bare(problem)}. " <>
      "Start it as a node yourself: iex --sname me -S mix"
  end

  defp sentence(:route, :node_taken, %{node: node}) do
    "this BEAM is connected to a node #{node} already, of another pod or by another way: two " <>
      "clusters can have the same addresses. End that first: Node.disconnect(#{inspect(node)})"
  end

  # The connection

  defp sentence(:connect, :refused, %{node: node, source: source}) do
    "node #{node} was reached and did not let us in: the cookie from #{bare(source)} is not its own. " <>
      "Pass the right one in a file: --cookie-file PATH, or the option :cookie_file"
  end

  defp sentence(:connect, :session_died, %{problem: problem}) do
    "the session ended by a fault of its own: #{bare(problem)}. Please report it"
  end

  # Escape sequences first, as a whole, then whatever else could move a cursor.
  defp printable(text) do
    text
    |> String.codepoints()
    |> Enum.map_join(&if(String.valid?(&1), do: &1, else: "\uFFFD"))
    |> String.replace(~r/\e\[[0-9;?]*[ -\/]*[@-~]|\e\][^\a\e]*(\a|\e\\)?/, "")
    |> String.replace(~r/[\x00-\x08\x0b-\x1f\x7f]|[\x{80}-\x{9f}]/u, "")
  end

  defp missing(:file_capability) do
    "its file has no capability; a copy or an upgrade of it loses that. Install it again: mix k8s.helper install"
  end

  defp missing(:no_new_privs) do
    "this terminal, or what started it, forbids new privileges (no_new_privs), as sandboxes and some " <>
      "containers do. Start from another one. Check with: grep NoNewPrivs /proc/self/status"
  end

  defp missing(:bounding_set) do
    "the bounding set of this container does not have cap_net_admin. Start it with: --cap-add NET_ADMIN"
  end

  defp missing(:no_suid) do
    "its file is on a file system that is mounted nosuid. Look with: findmnt -T #{@helper}"
  end

  defp missing(:unknown) do
    "why cannot be told. Look with: getcap #{@helper}"
  end

  defp destination(:local), do: "an address of this machine"
  defp destination(:loopback), do: "a loopback address"
  defp destination(:unspecified), do: "no address of a single machine"
  defp destination(:multicast), do: "a multicast address"
  defp destination(:broadcast), do: "a broadcast address"
  defp destination(:link_local), do: "an address that is only valid on one link"
  defp destination(:reserved), do: "a reserved address"
  defp destination(:mapped), do: "an IPv4 address in an IPv6 one"

  defp replaced(nil),
    do: "log in by a token, or by an exec plugin. See: kubectl config set-credentials --help"

  defp replaced("kubelogin"),
    do: "have kubelogin change the kubeconfig: kubelogin convert-kubeconfig"

  defp replaced(plugin) do
    "log in by the plugin #{plugin}, and have the kubeconfig written anew: " <>
      "gcloud container clusters get-credentials CLUSTER"
  end

  defp look_at_proxy("proxy-url" <> _kubeconfig, context),
    do: "kubectl config view --minify --context #{context}"

  defp look_at_proxy(variable, _context), do: "printenv #{variable}"

  defp past("proxy-url" <> _kubeconfig, _server), do: "take proxy-url out of the kubeconfig"

  defp past(_variable, server), do: "export NO_PROXY=#{String.replace(server, ~r/:\d+\z/, "")}"

  defp login(context), do: "kubectl get --raw /version --context #{context}"

  defp hint(nil), do: ""
  defp hint(text), do: " The kubeconfig says: " <> (text |> String.trim() |> bare()) <> "."

  defp said(""), do: " and said nothing"
  defp said(words), do: ": " <> bare(words)

  defp pod(%{pod: pod}), do: "pod #{inspect(pod)}"
  defp nor_at([]), do: ""
  defp nor_at(ports), do: ", and no node at #{Enum.join(ports, ", ")}, where its spec leads to"

  defp logs(%{pod: pod, namespace: namespace}), do: "kubectl logs #{pod} -n #{namespace}"

  defp exec(%{pod: pod, namespace: namespace}, command) do
    "kubectl exec -it #{pod} -n #{namespace} -- #{command}"
  end

  # Text from outside brings its own full stop or none.
  defp bare(text), do: String.trim_trailing(text, ".")

  defp contexts([]), do: "It has none at all; see: kubectl config view"
  defp contexts(known), do: "There are: #{Enum.join(known, ", ")}"
end
