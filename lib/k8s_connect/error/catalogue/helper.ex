defmodule K8sConnect.Error.Catalogue.Helper do
  @moduledoc false
  # The privileged helper of the kernel route.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  # As K8sConnect.Helper.Program has it, which has errors of its own.
  @path "/usr/local/libexec/k8s_connect_helper"

  @status {"Test it with", {:mix, "k8s.helper", ["status"]}}
  @install {:mix, "k8s.helper", ["install"]}
  @upgrade {"Install this version with", @install}

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:not_installed, %{path: path}) do
    {"could not start the helper: it is not installed (no such file: #{path})",
     {[
        "Use ",
        {:option, :sudo, true},
        " to run it without an installation, ",
        {:option, :route, :exec},
        " for one program, or ",
        {:option, :route, :vm}
      ], "Or install it with", @install}}
  end

  def entry(:not_started, %{path: path, problem: problem}),
    do: {"could not start the helper #{path}: #{bare(problem)}", ls(path)}

  def entry(:no_sudo, %{}) do
    {"could not run the helper with sudo: no sudo in PATH",
     {"Install the helper instead", @install}}
  end

  def entry(:sudo, %{}) do
    {"could not run the helper with sudo: it requires a password, or does not allow the command",
     {"Enter the password first", {:sh, ["sudo", "-v"]}}}
  end

  def entry(:exited, %{reason: reason, times: 1}),
    do: {"the helper #{bare(reason)}", advise("Try again", @status)}

  def entry(:exited, %{reason: reason, times: times}) do
    {"the helper failed #{times} times within a minute; the last time it #{bare(reason)}",
     @status}
  end

  def entry(:timed_out, %{timeout_ms: timeout}) do
    {"timed out after #{timeout} ms: the helper did not answer and was killed",
     {"It may have been stopped (SIGSTOP)", "List the helpers with",
      {:sh, ["ps", "-C", "k8s_connect_helper"]}}}
  end

  def entry(:unreadable, %{problem: problem}),
    do: {"invalid answer from the helper: #{bare(problem)}", @upgrade}

  def entry(:wrong_version, %{major: 1}) do
    {"unsupported: the installed helper is of an older version, whose netfilter rules allow any local user to take " <>
       "over TCP connections of other users", @upgrade}
  end

  def entry(:wrong_version, %{major: major, supported: supported} = details)
      when major < supported do
    {"unsupported: the installed helper is older than this version of k8s_connect, #{protocol(details)}",
     @upgrade}
  end

  def entry(:wrong_version, details) do
    {"unsupported: the installed helper is newer than this version of k8s_connect, #{protocol(details)}",
     {"Update k8s_connect, or replace the helper", "Install the helper of this version with",
      @install}}
  end

  def entry(:set_uid, %{}) do
    {"permission denied: the file of the helper is setuid or setgid, and must not be",
     {"Install it again with", @install}}
  end

  def entry(:no_caller, %{}) do
    {"permission denied: the helper runs as root, and SUDO_UID and SUDO_GID do not name a user",
     {[
        "Connections of root are never redirected; doas and pkexec are not supported. Connect as an ordinary user, or use ",
        {:option, :route, :vm}
      ], "Check with", {:sh, ["id", "-un"]}}}
  end

  def entry(:no_capability, %{cause: cause}) do
    {explanation, remedy} = missing_capability(cause)

    {"permission denied: the helper has no cap_bpf, cap_net_admin and cap_perfmon: #{explanation}",
     remedy}
  end

  def entry(:no_new_privs, %{}) do
    {"permission denied: no_new_privs is set for this BEAM, so the helper's file capabilities have no effect",
     {"Sandboxes and some containers set it. Connect from another terminal", "Check with",
      {:sh, ["grep", "NoNewPrivs", "/proc/self/status"]}}}
  end

  def entry(:nosuid, %{}) do
    {"permission denied: the helper's file is on a file system that is mounted nosuid, so its capabilities have no " <>
       "effect", {"Check with", {:sh, ["findmnt", "-T", @path]}}}
  end

  def entry(:no_cgroup2, %{}) do
    {"unsupported: there is no cgroup2 file system at /sys/fs/cgroup or /sys/fs/cgroup/unified",
     {other_routes(), "Check with", {:sh, ["findmnt", "-t", "cgroup2"]}}}
  end

  def entry(:no_user_slice, %{cgroup: cgroup, uid: uid}) do
    {"unsupported: this process runs in cgroup #{cgroup}, not in /user.slice/user-#{uid}.slice",
     {[
        "Containers, su, system services and machines without systemd have no such slice. Connect from a login ",
        "session. ",
        other_routes(),
        " elsewhere"
      ], "Check with", {:sh, ["cat", "/proc/self/cgroup"]}}}
  end

  def entry(:no_btf, %{name: name}) do
    {"unsupported: the kernel's type information has no #{name}",
     {[
        "The helper needs a kernel with BTF (CONFIG_DEBUG_INFO_BTF) that has this type. ",
        other_routes()
      ], "Check with", {:sh, ["ls", "-l", "/sys/kernel/btf/vmlinux"]}}}
  end

  def entry(:no_bpf, %{step: step, problem: problem}) do
    {"unsupported: the kernel failed #{step}: #{bare(problem)}",
     {["The helper needs Linux 5.19 or newer. ", other_routes()], "Check with",
      {:sh, ["uname", "-r"]}}}
  end

  def entry(:exclusive_program, %{cgroup: cgroup}) do
    {"permission denied: a BPF program is attached to #{cgroup} or to a cgroup above it without BPF_F_ALLOW_MULTI",
     cgroup_programs()}
  end

  def entry(:override_program, %{cgroup: cgroup}) do
    {"permission denied: a BPF program is attached to #{cgroup} with BPF_F_ALLOW_OVERRIDE, and the helper would " <>
       "disable it for your processes", cgroup_programs()}
  end

  def entry(:too_many, %{limit: limit}) do
    {"permission denied: #{limit} BPF programs are attached to your slice already, which is the limit",
     {"Each BEAM that connects over the kernel route has its own helper. End one of these BEAMs",
      "List the helpers with", {:sh, ["pgrep", "-a", "k8s_connect"]}}}
  end

  def entry(:self_test_failed, %{test: test}) do
    {"unsupported: the helper's BPF programs failed their self-test on this kernel: #{test}",
     {other_routes(), "Please report it with the output of", {:sh, ["uname", "-r"]}}}
  end

  def entry(:no_such_process, %{pid: pid}) do
    {"no such process: the helper cannot watch the BEAM with the process id #{pid}",
     {"Is it in another PID namespace?", "Check with", {:sh, ["ps", "-p", to_string(pid)]}}}
  end

  def entry(:kernel, %{step: step, problem: problem}),
    do: {"the helper failed #{step}: #{bare(problem)}", @status}

  def entry(:bad_destination, %{to: to, cause: cause}) do
    {"could not redirect #{to}: it is #{destination(cause)}",
     {"Check the pod's address with", {:kubectl, ["get", "pods", "-o", "wide"]}}}
  end

  def entry(:low_port, %{to: to, port: port}) do
    {"could not redirect #{to}: port #{port} is below 1024",
     "Start the node with a higher port, in vm.args: -kernel inet_dist_listen_min 5555 inet_dist_listen_max 5555"}
  end

  def entry(:no_listener, %{via: via}) do
    {"could not redirect to port #{via}: nothing listens there on the loopback address",
     {"Check with", {:sh, ["ss", "-ltn", "sport", "=", ":#{via}"]}}}
  end

  def entry(:foreign_listener, %{via: via, uid: uid}) do
    {"could not redirect to port #{via}: another user listens there (uid #{uid})",
     {"Check with", {:sh, ["sudo", "ss", "-ltnp", "sport", "=", ":#{via}"]}}}
  end

  def entry(:too_many_redirects, %{count: count}) do
    {"could not redirect #{count} addresses: the limit of the helper is 1024",
     {"List the connections with", {:elixir, "K8sConnect.connections()"}}}
  end

  def entry(:duplicate_redirect, %{to: to}),
    do: {"internal error: the helper was sent a second redirect of #{to}", report()}

  def entry(:malformed, %{problem: problem}),
    do: {"internal error: the helper could not read a request: #{bare(problem)}", report()}

  def entry(:too_long, %{length: length}),
    do:
      {"internal error: the helper was sent a frame of #{length} bytes, which is too long",
       report()}

  def entry(:empty, %{}), do: {"internal error: the helper was sent an empty frame", report()}

  def entry(:no_hello, %{}),
    do: {"internal error: the helper was sent a request before the hello", report()}

  def entry(:second_hello, %{}),
    do: {"internal error: the helper was sent two hellos", report()}

  defp advise(advice, {lead, command}), do: {advice, lead, command}

  defp cgroup_programs,
    do: {other_routes(), "List the programs with", {:sh, ["sudo", "bpftool", "cgroup", "tree"]}}

  defp protocol(%{major: major, minor: minor, supported: supported}),
    do: "with protocol version #{major}.#{minor} instead of #{supported}"

  defp missing_capability(:file_capabilities) do
    {"its file has none, or not all of them",
     {"A copy or an upgrade of the file loses them", "Install it again with", @install}}
  end

  defp missing_capability(:bounding_set) do
    {"the bounding set of this container or service does not include them",
     {other_routes(), "Check with", {:sh, ["grep", "CapBnd", "/proc/self/status"]}}}
  end

  defp missing_capability(:user_namespace) do
    {"this process is in a user namespace of its own",
     {other_routes(), "Check with", {:sh, ["lsns", "-t", "user"]}}}
  end

  defp missing_capability(:unknown) do
    {"they were dropped, for example by strace or another tracer",
     {"Check with", {:sh, ["getcap", @path]}}}
  end

  defp destination(:local), do: "an address of this machine"
  defp destination(:loopback), do: "a loopback address"
  defp destination(:unspecified), do: "the unspecified address"
  defp destination(:multicast), do: "a multicast address"
  defp destination(:broadcast), do: "a broadcast address"
  defp destination(:link_local), do: "a link-local address"
  defp destination(:reserved), do: "a reserved address"
  defp destination(:mapped), do: "an IPv4-mapped IPv6 address"
end
