defmodule K8sConnect.ErrorExamples do
  @moduledoc """
  One failure of each kind, or one for each message that a kind has.
  """

  @pod %{pod: "app-0", namespace: "shop"}
  @helper "/usr/local/libexec/k8s_connect_helper"
  @server "https://10.0.0.1:6443"
  @proxy %{proxy: "proxy:3128", from: "HTTPS_PROXY"}
  @plugin %{program: "aws", context: "prod", status: "", output: ""}

  @doc """
  All of them, in the order of the stages.
  """
  @spec all() :: [{stage :: atom(), kind :: atom(), details :: map()}]
  def all do
    for {stage, kinds} <- stages(), {kind, details} <- kinds, do: {stage, kind, details}
  end

  defp stages do
    [
      options: [
        not_a_keyword: %{value: "a map"},
        unknown_option: %{option: :namspace, available: [:context, :namespace]},
        unreadable_configuration: %{file: "config/runtime.exs", problem: "undefined variable x"},
        unreadable_configuration: %{
          file: "config/runtime.exs",
          problem: "module Dotenvy is not loaded and could not be found",
          project: false
        },
        remsh_in_iex: %{},
        invalid_configuration: %{key: :protect, expected: "a list of strings"},
        unknown_configuration: %{key: :protected, available: [:namespace, :protect]},
        invalid_option: %{
          option: :timeout,
          value: 0,
          expected: "a positive number of milliseconds"
        },
        invalid_option: %{option: :target, value: :app, expected: "a non-empty string"},
        no_target: %{},
        target_and_selector: %{target: "app-0"},
        no_cookie_file: %{file: "cookie.txt", problem: "no such file or directory"},
        invalid_cookie_file: %{file: "cookie.txt", size: 0},
        kernel_only: %{option: :sudo, route: :vm},
        only_untrusted: %{option: :audit, trusting: :trust},
        missing_option: %{given: :tls_cert, needed: :tls_key},
        unusable_tls_files: %{problem: "ca.crt: No such file or directory"},
        usage: %{problem: "unknown option --frob"},
        usage: %{problem: "missing argument PATTERN", task: "k8s.trace"}
      ],
      native: [
        in_use: %{path: "priv/native/k8s_connect_nif.so"},
        not_loaded: %{path: "priv/native/k8s_connect_nif.so", problem: "no such file"},
        task_crashed: %{}
      ],
      config: [
        not_found: %{paths: ["/home/me/.kube/config"]},
        not_found: %{paths: []},
        unreadable: %{path: "/home/me/.kube/config", problem: "Permission denied (os error 13)"},
        malformed: %{
          path: "/home/me/.kube/config",
          problem: "line 3, column 1: this is not YAML"
        },
        invalid_kuberc: %{
          path: "/home/me/.kube/kuberc",
          problem: "its credentialPluginPolicy is not AllowAll, DenyAll or Allowlist"
        },
        no_context: %{available: ["dev", "prod"]},
        unknown_context: %{context: "pord", available: ["dev", "prod"]},
        unknown_cluster: %{context: "prod", cluster: "eu"},
        unknown_user: %{context: "prod", user: "me"},
        invalid_cluster: %{context: "prod", problem: "failed to parse the certificate authority"},
        invalid_user: %{context: "prod", problem: "failed to read the client key"},
        unsupported_auth_provider: %{context: "prod", provider: "azure", replacement: "kubelogin"},
        unsupported_auth_provider: %{
          context: "prod",
          provider: "gcp",
          replacement: "gke-gcloud-auth-plugin"
        },
        invalid_proxy: %{context: "prod", from: "HTTPS_PROXY", problem: "it has no host"},
        invalid_service_account: %{
          directory: "/var/run/secrets/kubernetes.io/serviceaccount",
          problem: "ca.crt: gone"
        },
        invalid_namespace: %{namespace: "Shop/1"},
        protected: %{context: "prod-eu", pattern: "prod*"},
        protected_trust: %{context: "prod-eu", pattern: "prod*"}
      ],
      cluster: [
        unreachable: %{server: @server, problem: "Connection refused (os error 111)"},
        timed_out: %{server: @server, timeout_ms: 15_000},
        unknown_authority: %{server: @server},
        tls: %{
          server: @server,
          problem: "the certificate authority kubernetes expired at 2026-01-01T00:00:00Z"
        },
        client_certificate_expired: %{context: "prod", not_after: "2026-01-01T00:00:00Z"},
        unauthorized: %{context: "prod", server: @server},
        credentials_withheld: %{context: "prod", server: "http://10.0.0.1:8080"},
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
          verb: "list",
          resource: "pods",
          namespace: "",
          message: "pods is forbidden: User \"dev\" cannot list resource"
        },
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
            output: "Token has expired and refresh failed"
        },
        plugin_timed_out: %{program: "aws", context: "prod", timeout_ms: 15_000},
        plugin_invalid_output: %{program: "aws", context: "prod", problem: "it is not JSON"},
        plugin_version: %{
          program: "aws",
          context: "prod",
          expected: "v1beta1",
          actual: "v1alpha1"
        },
        plugin_needs_terminal: %{program: "kubelogin", context: "prod"},
        plugin_forbidden: %{program: "aws", path: "/home/me/.kube/kuberc", policy: "DenyAll"},
        plugin_forbidden: %{program: "aws", path: "/home/me/.kube/kuberc", policy: "Allowlist"},
        plugin_no_credentials: %{program: "aws", context: "prod"},
        token_file: %{path: "/run/token", problem: "No such file or directory (os error 2)"},
        oidc: %{
          context: "prod",
          issuer: "https://login.example.com",
          problem: "it answered with 400"
        },
        proxy_unreachable: Map.put(@proxy, :problem, "Connection refused (os error 111)"),
        proxy_unauthorized: Map.put(@proxy, :credentials_given, false),
        proxy_unauthorized: Map.put(@proxy, :credentials_given, true),
        proxy_refused: Map.merge(@proxy, %{server: "10.0.0.1:6443", answer: "403 Filtered"}),
        proxy_bad_gateway: Map.merge(@proxy, %{server: "10.0.0.1:6443", answer: "503"}),
        proxy_invalid_answer: Map.put(@proxy, :actual, "SSH-2.0"),
        proxy_timed_out: Map.merge(@proxy, %{server: @server, timeout_ms: 15_000}),
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
        connection_closed: %{server: @server, problem: "unexpected end of file"},
        too_many_requests: %{
          server: @server,
          message: "too many requests, please try again later"
        },
        forbidden_get_and_create: %{
          resource: "pods/portforward",
          namespace: "shop",
          message: "pods \"app-0\" is forbidden: User \"dev\" cannot create resource"
        },
        forbidden_get_and_create: %{resource: "pods/exec", namespace: "shop", message: "no"},
        denied_by_policy: %{
          message:
            "pods \"app-0\" is forbidden: ValidatingAdmissionPolicy 'no-port-forward' with binding 'all' denied " <>
              "request: no port-forward in production"
        },
        no_upgrade:
          Map.merge(@pod, %{
            server: @server,
            answers: ["SPDY was answered with 403", "a WebSocket was answered with 403"]
          }),
        refused: %{server: @server, code: 500, message: "etcdserver: request timed out"},
        not_kubernetes: %{server: @server, problem: "the answer is not JSON"}
      ],
      target: [
        invalid_target: %{target: "app/0/x"},
        no_such_pod: %{pod: "app-9", namespace: "shop"},
        no_pods: %{target: "deploy/web", namespace: "shop", owners: []},
        no_pods: %{target: "sts/app", namespace: "shop", owners: ["statefulset.apps/web"]},
        owners_forbidden: %{
          target: "rabbitmqcluster.rabbitmq.com/mq",
          namespace: "shop",
          resources: ["statefulsets.apps"],
          message: "statefulsets.apps is forbidden: User \"dev\" cannot list resource"
        },
        not_running: Map.put(@pod, :phase, "Pending"),
        no_container: %{container: "ap", available: ["app", "proxy"]},
        replaced: @pod,
        workload_deleted: %{target: "sts/app", namespace: "shop"}
      ],
      node: [
        no_epmd: Map.merge(@pod, %{message: "connection refused", ports: []}),
        no_node_on_port: Map.merge(@pod, %{port: 9100, message: "connection refused"}),
        epmd_timed_out: @pod,
        epmd_invalid_answer: Map.put(@pod, :actual, "\"HTTP/1.1 400\""),
        no_nodes: @pod,
        sandboxed:
          Map.merge(@pod, %{runtime_class: "gvisor", message: "connect: connection refused"}),
        cannot_forward: Map.put(@pod, :message, "unable to do port forwarding: socat not found"),
        unknown_node: Map.merge(@pod, %{name: "web", available: ["app", "worker"]}),
        several_nodes: Map.put(@pod, :available, ["app", "worker"]),
        port_refused: Map.merge(@pod, %{node: "app", port: 5555, message: "connection refused"}),
        handshake_timed_out: Map.put(@pod, :node, "app"),
        handshake_closed: Map.put(@pod, :node, "app"),
        tls_only:
          Map.merge(@pod, %{
            node: "app",
            port: 5555,
            problem:
              "the file /app/tls.config is in no Secret and no ConfigMap that container app mounts"
          }),
        tls_failed:
          Map.merge(@pod, %{
            node: "app",
            port: 5555,
            problem: "the node's certificate is for other-0, not for app-0"
          }),
        invalid_handshake: Map.merge(@pod, %{expected: "a status", actual: "HTTP/1.1 400"}),
        rejected: Map.put(@pod, :status, "not_allowed"),
        unsupported_otp: @pod,
        invalid_name: Map.put(@pod, :name, "app"),
        port_forward_closed: %{reason: "the API server closed the connection"}
      ],
      cookie: [
        not_found: @pod,
        exec_failed: Map.put(@pod, :problem, "there is no sh")
      ],
      endpoint: [
        no_socket: %{directory: "/tmp", problem: "Permission denied (os error 13)"},
        no_listener: %{address: "127.0.0.1", problem: "Too many open files (os error 24)"},
        no_pod_address: @pod,
        target_is_server: %{address: "10.0.0.1:6443"},
        too_many_functions: %{node: :"app@10.244.1.2", limit: 20_000},
        too_many_atoms: %{node: :"app@10.244.1.2", limit: 100_000},
        message_too_large: %{
          node: :"app@10.244.1.2",
          size: 300_000_000,
          limit: 268_435_456
        },
        malformed_message: %{node: :"app@10.244.1.2", problem: "unknown tag"},
        no_audit_file: %{file: "/var/log/audit", problem: "Permission denied (os error 13)"},
        audit_not_written: %{
          node: :"app@10.244.1.2",
          file: "/var/log/audit",
          problem: "No space left on device (os error 28)"
        }
      ],
      helper: [
        not_installed: %{path: @helper},
        not_started: %{path: @helper, problem: "permission denied"},
        no_sudo: %{},
        sudo: %{},
        exited: %{reason: "was killed by signal 9", times: 1},
        exited: %{reason: "was killed by signal 9", times: 3},
        timed_out: %{timeout_ms: 5000},
        unreadable: %{problem: "not a frame"},
        wrong_version: %{major: 3, minor: 0, supported: 2},
        wrong_version: %{major: 2, minor: 1, supported: 3},
        wrong_version: %{major: 1, minor: 0, supported: 2},
        set_uid: %{},
        no_caller: %{},
        no_capability: %{cause: :file_capabilities},
        no_capability: %{cause: :bounding_set},
        no_capability: %{cause: :user_namespace},
        no_capability: %{cause: :unknown},
        no_new_privs: %{},
        nosuid: %{},
        no_cgroup2: %{},
        no_user_slice: %{cgroup: "/system.slice/run-u7.service", uid: 1000},
        no_btf: %{name: "task_struct.cred"},
        no_bpf: %{step: "loading the program", problem: "Invalid argument (os error 22)"},
        exclusive_program: %{cgroup: "/sys/fs/cgroup/user.slice/user-1000.slice"},
        override_program: %{cgroup: "/sys/fs/cgroup/user.slice"},
        too_many: %{limit: 8},
        self_test_failed: %{test: "a connection that should have been redirected was not"},
        no_such_process: %{pid: 4711},
        kernel: %{step: "opening sock_diag", problem: "Protocol not supported (os error 93)"},
        bad_destination: %{to: "127.0.0.1:5555", cause: :loopback},
        low_port: %{to: "10.244.1.8:80", port: 80},
        no_listener: %{via: 40_000},
        foreign_listener: %{via: 40_000, uid: 1001},
        too_many_redirects: %{count: 2000},
        duplicate_redirect: %{to: "10.244.1.8:5555"},
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
        address_family: %{node: :"app@fd00::8"},
        host_elsewhere: %{
          node: :ejabberd@localhost,
          host: "localhost",
          ip: "10.244.1.8",
          route: :kernel
        },
        blocked: %{address: "10.244.1.8:4369", problem: "timed out"},
        unknown_net_kernel: %{otp: "40", untouched: false},
        no_distribution: %{name: "rem-me-x1@127.0.0.1", problem: "not allowed"},
        cookie_file: %{
          home: "/home/me",
          problem: "Cookie file /home/me/.erlang.cookie must be accessible by owner only"
        },
        cookie_file: %{
          home: "/nonexistent",
          problem: "Failed to create cookie file '/nonexistent/.erlang.cookie': enoent"
        },
        epmd_module: %{module: "my_epmd"},
        node_taken: %{node: :"app@10.244.1.8"},
        connected_otherwise: %{
          node: :"app@10.244.1.8",
          trust: false,
          read_only: false,
          audit: nil
        },
        own_name: %{node: :"app@10.244.1.8"},
        net_kernel_busy: %{seconds: 5},
        internal_error: %{problem: "badarg"}
      ],
      connect: [
        timeout: %{ms: 60_000, step: "port-forward", target: "app-0"},
        refused: %{node: :"app@10.244.1.8", source: "Secret app-cookie, key cookie"},
        refused: %{node: :"app@10.244.1.8", source: "the process in app"},
        missing_flags: %{
          node: :"app@10.244.1.8",
          pod: "app-0",
          flags: ["UNLINK_ID", "V4_NC"],
          otp: "27"
        },
        session_crashed: %{problem: "killed"},
        lost: %{node: :"app@10.244.1.8", reason: :connection_closed},
        not_up: %{target: "sts/app", state: :reconnecting},
        not_up: %{target: "sts/app", state: :down}
      ],
      exec: [
        not_found: %{command: "iex", problem: "No such file or directory"},
        not_executable: %{command: "./run", problem: "Permission denied"},
        no_livebook: %{directory: "/home/me/.mix/escripts"},
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
        port_forward_closed: %{
          node: :"app@10.244.1.8",
          reason: "the API server closed the connection"
        },
        other_route: %{node: :"app@10.244.1.8", route: :vm},
        linux_only: %{}
      ],
      remote: [
        raised: %{node: :"app@10.244.1.8", text: "** (RuntimeError) boom"},
        timeout: %{node: :"app@10.244.1.8", timeout_ms: 500},
        too_large: %{node: :"app@10.244.1.8", size: 5_000_000, limit: 1_048_576},
        no_iex: %{node: :"app@10.244.1.8"},
        no_shell: %{problem: "standard input is not a terminal"},
        no_terminal: %{problem: "stty could not set it to raw mode"},
        no_such_module: %{node: :"app@10.244.1.8", module: "MyApp.Cart"},
        module_not_loaded: %{node: :"app@10.244.1.8", module: "MyApp.Cart"},
        no_such_function: %{
          node: :"app@10.244.1.8",
          function: "MyApp.Cart.ad/2",
          module: "MyApp.Cart",
          private: false,
          available: ["add/2", "add/3"]
        },
        no_such_function: %{
          node: :"app@10.244.1.8",
          function: "MyApp.Cart.sum/1",
          module: "MyApp.Cart",
          private: true,
          available: ["add/2", "add/3"]
        },
        no_such_function: %{
          node: :"app@10.244.1.8",
          function: "MyApp.Empty.*",
          module: "MyApp.Empty",
          private: false,
          available: []
        },
        too_many_functions: %{node: :"app@10.244.1.8", count: 1204, max: 1000},
        no_such_process: %{node: :"app@10.244.1.8"},
        already_traced: %{node: :"app@10.244.1.8"},
        overload: %{node: :"app@10.244.1.8", calls: 20_412},
        tracer_ended: %{node: :"app@10.244.1.8"},
        not_traced: %{node: :"app@10.244.1.8", problem: ":badarg"},
        read_only: %{node: :"app@10.244.1.8"},
        no_observer: %{application: "wx", otp: "25"},
        no_window: %{problem: "the display :1 does not answer"},
        no_runtime_tools: %{node: :"app@10.244.1.8"},
        not_observed: %{node: :"app@10.244.1.8", problem: "no answer for 32000 ms"},
        not_attachable: %{node: :"app@app-0", why: :short_name},
        not_attachable: %{node: :"app@10.244.1.8", why: :no_elixir},
        not_attachable: %{
          node: :"app@10.244.1.8",
          why: :other_elixir,
          elixir: "1.17.3",
          livebook: "1.18.4"
        },
        not_attachable: %{node: :"app@10.244.1.8", why: :colon},
        not_attachable: %{node: :"remote_runtime_22@10.244.1.8", why: :reserved_name}
      ]
    ]
  end
end
