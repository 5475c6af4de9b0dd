defmodule Mix.Tasks.K8s.HelperTest do
  # The command on the laptop, where `dev` may use sudo.
  use ExUnit.Case, async: false

  import K8sConnect.{Laptop, Project}

  @moduletag :kernel
  @moduletag timeout: 120_000
  @path "/usr/local/libexec/k8s_connect_helper"

  setup_all do
    {_output, 0} = run(path("."), "mix", ["compile"], [{"MIX_ENV", "dev"}])
    on_exit(&install_helper/0)
  end

  defp helper(words), do: run(path("."), "mix", ["k8s.helper" | words], [{"MIX_ENV", "dev"}])

  # Runs `mix k8s.helper status` behind a command that root runs.
  defp status_in(world) do
    as_root("#{world} setpriv --reuid=4200 --regid=4200 --clear-groups", "k8s.helper status")
  end

  # Root runs a command that changes to the user of the Mix task.
  defp as_root(become, task) do
    names = ~w(PATH HOME KUBECONFIG K8S_CONNECT_NATIVE_DIR LANG)
    env = Enum.map_join(names, " ", &"#{&1}=#{System.get_env(&1)}")
    line = "cd #{path(".")} && #{become} env #{env} MIX_ENV=dev mix #{task}"
    System.cmd("sudo", ["-n", "sh", "-c", line], stderr_to_stdout: true)
  end

  # The directory of this session's cgroup.
  defp session do
    [_all, group] = Regex.run(~r/^0::(.*)$/m, File.read!("/proc/self/cgroup"))

    mount =
      Enum.find(~w(/sys/fs/cgroup/unified /sys/fs/cgroup), &File.exists?(&1 <> "/cgroup.procs"))

    mount <> group
  end

  test "install prints its commands, and runs them only with a confirmation" do
    remove_helper()
    assert {output, 2} = helper(["install"])

    assert output =~
             "/usr/bin/sudo /usr/bin/install -d -o root -g root -m 0755 /usr/local/libexec\n"

    assert output =~
             ~r"sudo /usr/bin/install -o root -g root -m 0755 \S+/priv/native/k8s_connect_helper #{@path}\n"

    assert output =~ ~r"sudo /\S*/setcap cap_bpf,cap_net_admin,cap_perfmon=p #{@path}\n"
    assert output =~ "not running on a terminal"
    refute File.exists?(@path)

    assert {output, 1} = helper(["status"])
    assert output =~ "no such file: #{@path}"
    assert output =~ "mix k8s.helper install"

    assert {output, 0} = helper(["install", "--yes"])
    assert output =~ ~r/^IPv4 +works/m
    assert output =~ ~r/^IPv6 +works/m
    assert %File.Stat{uid: 0, gid: 0, mode: 0o100755} = File.stat!(@path)

    assert {output, 0} = helper(["uninstall", "--yes"])
    assert output =~ "/usr/bin/sudo /usr/bin/rm #{@path}"
    refute File.exists?(@path)
    assert {output, 0} = helper(["uninstall"])
    assert output =~ "not installed: no such file: #{@path}"
  end

  test "on a terminal it asks" do
    remove_helper()
    port = K8sConnect.Terminal.open("mix k8s.helper install", [{"MIX_ENV", "dev"}])
    K8sConnect.Terminal.expect(port, ~r/Run these commands now\? \[Yn\]/)
    K8sConnect.Terminal.type(port, "n\n")
    K8sConnect.Terminal.expect(port, ~r/cancelled: nothing was changed/)
    assert K8sConnect.Terminal.await_end(port) == 2
    refute File.exists?(@path)
  end

  test "install refuses a folder that others can write to" do
    remove_helper()
    sudo("install -d -m 777 /usr/local/libexec")
    on_exit(fn -> sudo("chmod 755 /usr/local/libexec") end)
    assert {output, 1} = helper(["install", "--yes"])
    assert output =~ "users other than root can write to /usr/local/libexec"
    assert output =~ "sudo chmod go-w /usr/local/libexec"
    refute File.exists?(@path)
  end

  test "install does not use the user's PATH" do
    remove_helper()
    directory = Path.join(System.tmp_dir!(), "helper-path-#{System.unique_integer([:positive])}")
    File.mkdir_p!(directory)
    on_exit(fn -> File.rm_rf!(directory) end)

    for tool <- ~w(sudo install setcap) do
      file = Path.join(directory, tool)
      File.write!(file, "#!/bin/sh\ntouch #{directory}/misled\n")
      File.chmod!(file, 0o755)
    end

    path = [{"MIX_ENV", "dev"}, {"PATH", directory <> ":" <> System.get_env("PATH")}]
    assert {_output, 0} = run(path("."), "mix", ["k8s.helper", "install", "--yes"], path)
    assert File.exists?(@path)
    refute File.exists?(Path.join(directory, "misled"))
  end

  test "usage errors" do
    assert {output, 2} = helper([])
    assert output =~ "mix k8s.helper install | status | uninstall"
    assert {output, 2} = helper(["install", "--frob"])
    assert output =~ "unknown option --frob"
  end

  describe "status" do
    setup do
      install_helper()
      :ok
    end

    test "where it works" do
      assert {output, 0} = helper(["status"])
      assert output =~ ~r/^installed +#{@path}, owner uid 0, mode 755$/m
      assert output =~ ~r/^helper +version \d+\.\d+\.\d+, protocol 2\.0$/m
      assert output =~ ~r/^user +redirects connections of uid 4200, gid 4200 only$/m
      assert output =~ ~r/^self-test +passed/m
      assert output =~ ~r/^IPv4 +works: .* after \d+ us$/m
      assert output =~ ~r/^route +kernel, because/m
      assert_nothing_left()
    end

    test "no capability on the file, as after a copy" do
      sudo("cp #{@path} #{@path}.new && mv #{@path}.new #{@path}")
      assert {output, 1} = helper(["status"])
      assert output =~ ~r/^failure +no_capability$/m
      assert output =~ "its file has none, or not all of them"
    end

    test "no_new_privs" do
      assert {output, 1} = status_in("setpriv --no-new-privs")
      assert output =~ "no_new_privs is set"
    end

    test "a bounding set without one of the capabilities" do
      for capability <- ~w(net_admin bpf perfmon) do
        assert {output, 1} = status_in("setpriv --bounding-set=-#{capability}")
        assert output =~ "the bounding set of this container"
      end
    end

    test "a cgroup outside of a login session" do
      assert {output, 1} =
               status_in(
                 "sh -c 'echo $$ > \"$(dirname $(dirname $(dirname #{session()})))/cgroup.procs\"; exec \"$@\"' --"
               )

      assert output =~ ~r/^failure +no_user_slice$/m
      assert output =~ "not in /user.slice/user-4200.slice"
    end

    test "a user namespace" do
      assert {output, 1} =
               run(path("."), "unshare", ["-U", "mix", "k8s.helper", "status"], [
                 {"MIX_ENV", "dev"}
               ])

      assert output =~ "a user namespace of its own"
    end

    test "no BTF" do
      assert {output, 1} =
               status_in(
                 "unshare --mount sh -c 'mount -t tmpfs tmpfs /sys/kernel && exec \"$@\"' --"
               )

      assert output =~ "the kernel's type information has no /sys/kernel/btf/vmlinux"
    end

    test "no cgroup2" do
      hide = for place <- ~w(/sys/fs/cgroup), do: "mount -t tmpfs tmpfs #{place}"

      assert {output, 1} =
               status_in("unshare --mount sh -c '#{Enum.join(hide, " && ")} && exec \"$@\"' --")

      assert output =~ "there is no cgroup2 file system"
    end

    test "root's own BEAM" do
      assert {output, 1} = as_root("", "k8s.helper status")
      assert output =~ "SUDO_UID and SUDO_GID"
    end

    test "a file system that is mounted nosuid" do
      assert {output, 1} =
               status_in(
                 "unshare --mount sh -c 'mount -o remount,bind,nosuid /usr/local && exec \"$@\"' --"
               )

      assert output =~ "mounted nosuid"
    end

    # The helper gives its own capabilities up, and this BEAM keeps one.
    test "a BEAM with a capability" do
      capable = "--inh-caps=+net_raw --ambient-caps=+net_raw"

      for {command, words} <- [
            {"k8s.helper status", "the connection was not redirected"},
            {"k8s.connect app-0 --route kernel --no-wait", "the connection does not arrive"}
          ] do
        assert {output, 1} =
                 as_root("setpriv --reuid=4200 --regid=4200 --clear-groups #{capable}", command)

        assert output =~ words
      end
    end

    test "a helper that is setuid" do
      sudo("chmod u+s #{@path}")
      assert {output, 1} = helper(["status"])
      assert output =~ "the file of the helper is setuid or setgid"
    end

    test "a helper that is not executable for the user" do
      sudo("chmod 750 #{@path}")
      assert {output, 1} = helper(["status"])
      assert output =~ "could not start the helper #{@path}: permission denied"
    end

    test "another program in its place" do
      sudo("printf '#!/bin/sh\\nexit 3\\n' > #{@path}")
      assert {output, 1} = helper(["status"])
      assert output =~ "the helper exited with status 3"
    end
  end
end
