defmodule K8sConnect.Failures do
  @moduledoc """
  Which tests cause the failures of the catalogue that `K8sConnect.FailuresTest` does not cause itself.
  """

  @start "native/helper/tests/kernel/machines.rs"
  @listener "native/helper/tests/kernel/listener.rs"
  @protocol "native/helper/tests/kernel/protocol.rs"
  @limits "native/helper/tests/kernel/limits.rs"
  @kernel "test/k8s_connect/kernel_route_test.exs"
  @kernel_helper "test/k8s_connect/kernel_helper_test.exs"
  @helper "test/mix/helper_task_test.exs"
  @command "test/mix/connect_task_test.exs"
  @project "test/mix/connect_project_test.exs"
  @terminal "test/mix/connect_terminal_test.exs"
  @rpc "test/mix/rpc_test.exs"
  @cancel "test/k8s_connect/cancel_test.exs"
  @distribution "test/k8s_connect/distribution_test.exs"
  @variants "test/host/variants_test.exs"
  @observer "test/mix/observer_task_test.exs"
  @snapshot "test/k8s_connect/snapshot_test.exs"
  @faults "test/host/faults_test.exs"
  @exec "test/mix/exec_test.exs"
  @livebook "test/mix/livebook_task_test.exs"
  @runner "native/exec/tests/life.rs"

  @connect "test/k8s_connect/connect_test.exs"
  @guard "test/k8s_connect/guard/limits_test.exs"
  @read_only "test/k8s_connect/read_only_test.exs"
  @audit "test/k8s_connect/audit_test.exs"
  @trace "test/k8s_connect/trace_test.exs"
  @trace_errors "test/k8s_connect/trace_error_test.exs"
  @trace_cluster "test/k8s_connect/trace_cluster_test.exs"
  @keep "test/k8s_connect/keep_test.exs"
  @logins "test/k8s_connect/login_test.exs"
  @login_servers "test/k8s_connect/login_server_test.exs"
  @plugins "test/k8s_connect/plugin_test.exs"
  @plugin_policies "test/k8s_connect/plugin_policy_test.exs"
  @proxies "test/k8s_connect/proxy_test.exs"
  @gateways "test/k8s_connect/protocol_test.exs"

  @doc """
  Failures that another test causes: its file, and a text in it.
  """
  @spec elsewhere() :: %{{atom(), atom()} => {Path.t(), String.t()}}
  def elsewhere do
    %{
      {:config, :invalid_proxy} => {@proxies, ":invalid_proxy"},
      {:config, :invalid_service_account} => {@logins, ":invalid_service_account"},
      {:cluster, :plugin_not_found} => {@plugins, ":plugin_not_found"},
      {:cluster, :plugin_not_started} => {@plugins, ":plugin_not_started"},
      {:cluster, :plugin_failed} => {@plugins, ":plugin_failed"},
      {:cluster, :plugin_timed_out} => {@plugins, ":plugin_timed_out"},
      {:cluster, :plugin_invalid_output} => {@plugins, ":plugin_invalid_output"},
      {:cluster, :plugin_version} => {@plugins, ":plugin_version"},
      {:cluster, :plugin_needs_terminal} => {@plugins, ":plugin_needs_terminal"},
      {:cluster, :credentials_withheld} => {@logins, ":credentials_withheld"},
      {:cluster, :plugin_forbidden} => {@plugin_policies, ":plugin_forbidden"},
      {:config, :invalid_kuberc} => {@plugin_policies, ":invalid_kuberc"},
      {:cluster, :plugin_no_credentials} => {@plugins, ":plugin_no_credentials"},
      {:cluster, :token_file} => {@logins, ":token_file"},
      {:cluster, :oidc} => {@logins, ":oidc"},
      {:cluster, :proxy_unreachable} => {@proxies, ":proxy_unreachable"},
      {:cluster, :proxy_unauthorized} => {@proxies, ":proxy_unauthorized"},
      {:cluster, :proxy_refused} => {@proxies, ":proxy_refused"},
      {:cluster, :proxy_bad_gateway} => {@proxies, ":proxy_bad_gateway"},
      {:cluster, :proxy_invalid_answer} => {@proxies, ":proxy_invalid_answer"},
      {:cluster, :proxy_timed_out} => {@proxies, ":proxy_timed_out"},
      {:cluster, :server_certificate_not_yet_valid} =>
        {@login_servers, ":server_certificate_not_yet_valid"},
      {:cluster, :server_certificate_expired} => {@login_servers, ":server_certificate_expired"},
      # By a server of the test: a real API server always runs at least one request of each user.
      {:cluster, :too_many_requests} => {@login_servers, ":too_many_requests"},
      {:cluster, :connection_closed} => {@login_servers, ":connection_closed"},
      {:cluster, :forbidden_get_and_create} => {@gateways, ":forbidden_get_and_create"},
      {:cluster, :no_upgrade} => {@gateways, ":no_upgrade"},
      # Neither a sandbox nor a virtual node runs in the test cluster.
      {:node, :sandboxed} => {"native/core/src/node/error.rs", "Error::Sandboxed"},
      {:node, :cannot_forward} => {"native/core/src/node/error.rs", "Error::CannotForward"},
      {:route, :cookie_file} => {@distribution, "{:cookie_file,"},
      {:route, :epmd_module} => {@distribution, "{:epmd_module,"},
      {:target, :replaced} => {@faults, "was replaced by another"},
      {:cookie, :exec_failed} => {@variants, "could not read the cookie from the running node"},
      {:helper, :not_installed} => {@kernel, ":not_installed"},
      {:helper, :not_started} => {@helper, "could not start the helper"},
      {:helper, :no_sudo} => {@kernel, ":no_sudo"},
      {:helper, :sudo} => {@kernel, ":sudo"},
      {:helper, :exited} => {@helper, "the helper exited with status"},
      {:helper, :timed_out} => {@kernel_helper, ":timed_out"},
      {:helper, :wrong_version} => {@protocol, "wrong_version"},
      {:helper, :set_uid} => {@start, "set_uid"},
      {:helper, :no_caller} => {@helper, "SUDO_UID and SUDO_GID"},
      {:helper, :no_capability} => {@kernel, ":no_capability"},
      {:helper, :no_new_privs} => {@helper, "no_new_privs is set"},
      {:helper, :nosuid} => {@helper, "mounted nosuid"},
      {:helper, :no_cgroup2} => {@helper, "no cgroup2 file system"},
      {:helper, :no_user_slice} => {@helper, "not in /user.slice/user-4200.slice"},
      {:helper, :no_btf} => {@helper, "type information has no"},
      {:helper, :exclusive_program} => {@start, "exclusive_program"},
      {:helper, :override_program} => {@start, "override_program"},
      {:helper, :too_many} => {@limits, "too_many"},
      {:helper, :self_test_failed} => {@start, "self_test_failed"},
      {:helper, :no_such_process} => {@protocol, "no_such_process"},
      {:helper, :bad_destination} => {@kernel_helper, ":bad_destination"},
      {:helper, :low_port} => {@kernel_helper, ":low_port"},
      {:helper, :no_listener} => {@listener, "no_listener"},
      {:helper, :foreign_listener} => {@listener, "foreign_listener"},
      {:helper, :no_hello} => {@protocol, "no_hello"},
      {:helper, :second_hello} => {@protocol, "second_hello"},
      {:native, :in_use} => {"test/k8s_connect/native_test.exs", ":in_use"},
      {:target, :workload_deleted} => {@keep, ":workload_deleted"},
      {:connect, :not_up} => {@keep, ":not_up"},
      {:endpoint, :too_many_atoms} => {@guard, ":too_many_atoms"},
      {:endpoint, :too_many_functions} => {@guard, ":too_many_functions"},
      {:endpoint, :message_too_large} => {@guard, ":message_too_large"},
      {:route, :name_kind} => {@kernel, ":name_kind"},
      {:route, :address_family} => {"test/host/ip_families_test.exs", ":address_family"},
      {:endpoint, :no_audit_file} => {@audit, ":no_audit_file"},
      {:endpoint, :audit_not_written} => {@audit, "could not write the audit log"},
      {:route, :connected_otherwise} => {@read_only, ":connected_otherwise"},
      {:route, :linux_only} => {@connect, ":linux_only"},
      {:exec, :linux_only} => {@connect, ":linux_only"},
      {:route, :host_elsewhere} => {@kernel, ":host_elsewhere"},
      {:route, :blocked} => {@helper, "the connection does not arrive"},
      {:options, :unreadable_configuration} => {@project, "could not read config/runtime.exs"},
      {:options, :unknown_configuration} => {@project, "unknown key"},
      {:options, :remsh_in_iex} => {@terminal, "--remsh cannot be used"},
      {:route, :own_name} => {@cancel, ":own_name"},
      {:route, :net_kernel_busy} => {@cancel, ":net_kernel_busy"},
      {:connect, :timeout} => {@cancel, ":timeout"},
      {:connect, :lost} => {@faults, "lost the connection"},
      {:exec, :not_found} => {@exec, "could not run no-such-command"},
      {:exec, :not_executable} => {@exec, "could not run /etc/passwd"},
      {:exec, :nested} => {@exec, "already supervised by seccomp"},
      {:exec, :port_forward_closed} => {@exec, "lost the connection to app@"},
      {:exec, :runner_killed} => {@exec, "the program that runs the command was killed"},
      {:exec, :no_livebook} => {@livebook, "could not start Livebook"},
      {:exec, :no_seccomp} => {@runner, "no_seccomp"},
      {:exec, :no_ptrace} => {@runner, "no_ptrace"},
      {:remote, :raised} => {@command, "could not evaluate the expression"},
      {:remote, :timeout} => {@rpc, "timed out after"},
      {:remote, :too_large} => {@rpc, "could not print the result"},
      {:remote, :no_shell} => {@command, "could not start a shell"},
      {:remote, :no_iex} => {@variants, "has no IEx"},
      {:remote, :no_such_module} => {@trace_errors, ":no_such_module"},
      {:remote, :module_not_loaded} => {@trace_errors, ":module_not_loaded"},
      {:remote, :no_such_function} => {@trace_errors, ":no_such_function"},
      {:remote, :too_many_functions} => {@trace_errors, ":too_many_functions"},
      {:remote, :no_such_process} => {@trace_errors, ":no_such_process"},
      {:remote, :already_traced} => {@trace, ":already_traced"},
      {:remote, :overload} => {@trace, ":overload"},
      {:remote, :tracer_ended} => {@trace, ":tracer_ended"},
      {:remote, :not_traced} => {@trace_errors, ":not_traced"},
      {:remote, :read_only} => {@trace_cluster, "read-only"},
      {:remote, :no_observer} => {@observer, "of this machine has no"},
      {:remote, :no_terminal} => {@observer, "could not show the view on this terminal"},
      {:remote, :no_runtime_tools} => {@observer, "has no runtime_tools"},
      {:remote, :not_observed} => {@snapshot, ":not_observed"},
      {:remote, :not_attachable} => {@livebook, "connects only to nodes with long names"}
    }
  end

  @doc """
  Failures that no test causes, by reason.
  """
  @spec untested() :: %{String.t() => keyword(atom())}
  def untested do
    %{
      "only an internal error of the library" => [
        native: :task_crashed,
        route: :internal_error,
        helper: :unreadable,
        helper: :too_many_redirects,
        helper: :duplicate_redirect,
        helper: :malformed,
        helper: :too_long,
        helper: :empty
      ],
      "no OTP sends it; tests of native/core/src/endpoint/guard.rs cause it" => [
        endpoint: :malformed_message
      ],
      "the options do not allow it; only code of the library could cause it" => [
        route: :always_hidden
      ],
      "another operating system, or a broken machine" => [
        helper: :no_bpf,
        exec: :not_redirected,
        exec: :system,
        exec: :no_runner,
        helper: :kernel,
        endpoint: :no_socket,
        endpoint: :no_listener,
        endpoint: :no_pod_address,
        endpoint: :target_is_server,
        route: :no_distribution,
        remote: :no_window
      ]
    }
  end
end
