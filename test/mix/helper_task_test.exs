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

  # In another world: words that `mix k8s.helper status` is run behind, as root at first.
  defp status_in(world) do
    user = "setpriv --reuid=4200 --regid=4200 --clear-groups"

    env =
      for name <- ~w(PATH HOME K8S_CONNECT_NATIVE_DIR LANG), do: "#{name}=#{System.get_env(name)}"

    line =
      "cd #{path(".")} && #{world} #{user} env #{Enum.join(env, " ")} MIX_ENV=dev mix k8s.helper status"

    System.cmd("sudo", ["-n", "sh", "-c", line], stderr_to_stdout: true)
  end

  test "install says what it does, and does it only when it is told to" do
    remove_helper()
    assert {output, 2} = helper(["install"])
    assert output =~ "sudo install -d -o root -g root -m 0755 /usr/local/libexec\n"

    assert output =~
             ~r"sudo install -o root -g root -m 0755 \S+/priv/native/k8s_connect_helper #{@path}\n"

    assert output =~ ~r"sudo \S*setcap cap_net_admin=p #{@path}\n"
    assert output =~ "nobody is there to ask"
    refute File.exists?(@path)

    assert {output, 1} = helper(["status"])
    assert output =~ "there is no #{@path}"
    assert output =~ "mix k8s.helper install"

    assert {output, 0} = helper(["install", "--yes"])
    assert output =~ ~r/^IPv4 +works/m
    assert output =~ ~r/^IPv6 +works/m
    assert %File.Stat{uid: 0, gid: 0, mode: 0o100755} = File.stat!(@path)

    assert {output, 0} = helper(["uninstall", "--yes"])
    assert output =~ "sudo rm #{@path}"
    refute File.exists?(@path)
    assert {output, 0} = helper(["uninstall"])
    assert output =~ "there is no #{@path}"
  end

  test "on a terminal it asks" do
    remove_helper()
    port = K8sConnect.Terminal.open("mix k8s.helper install", [{"MIX_ENV", "dev"}])
    K8sConnect.Terminal.expect(port, ~r/Run these commands now\? \[Yn\]/)
    K8sConnect.Terminal.type(port, "n\n")
    K8sConnect.Terminal.expect(port, ~r/nothing was done/)
    assert K8sConnect.Terminal.await_end(port) == 2
    refute File.exists?(@path)
  end

  test "a folder that others can change is refused" do
    remove_helper()
    sudo("install -d -m 777 /usr/local/libexec")
    on_exit(fn -> sudo("chmod 755 /usr/local/libexec") end)
    assert {output, 1} = helper(["install", "--yes"])
    assert output =~ "/usr/local/libexec can be changed by others than root"
    assert output =~ "sudo chmod go-w /usr/local/libexec"
    refute File.exists?(@path)
  end

  test "wrong words" do
    assert {output, 2} = helper([])
    assert output =~ "mix k8s.helper install, status, uninstall"
    assert {output, 2} = helper(["install", "--frob"])
    assert output =~ "--frob is no option here"
  end

  describe "status finds out why it does not work" do
    setup do
      install_helper()
      :ok
    end

    test "where it works" do
      assert {output, 0} = helper(["status"])
      assert output =~ ~r/^installed +#{@path}, of uid 0, mode 755$/m
      assert output =~ ~r/^helper +version \d+\.\d+\.\d+, protocol 1\.0$/m
      assert output =~ ~r/^user +connections of uid 4200/m
      assert output =~ ~r/^keeps +cap_net_admin$/m
      assert output =~ ~r/^mechanism +nft$/m
      assert output =~ ~r/^IPv4 +works: .* after \d+ us$/m
      assert output =~ ~r/^route +kernel, as there is/m
      assert left() == []
    end

    test "no capability on the file, as after a copy" do
      sudo("cp #{@path} #{@path}.new && mv #{@path}.new #{@path}")
      assert {output, 1} = helper(["status"])
      assert output =~ "its file has no capability"
    end

    test "no_new_privs" do
      assert {output, 1} = status_in("setpriv --no-new-privs")
      assert output =~ "(no_new_privs)"
    end

    test "a bounding set without the capability" do
      assert {output, 1} = status_in("setpriv --bounding-set=-net_admin")
      assert output =~ "the bounding set of this container"
    end

    test "a file system that is mounted nosuid" do
      assert {output, 1} =
               status_in(
                 "unshare --mount sh -c 'mount -o remount,bind,nosuid /usr/local && exec \"$@\"' --"
               )

      assert output =~ "mounted nosuid"
    end

    test "no route, and no TUN device" do
      sudo("chmod 600 /dev/net/tun")
      on_exit(fn -> sudo("chmod 666 /dev/net/tun") end)
      assert {output, 1} = helper(["status"])
      assert output =~ "this machine has no route to 192.0.2.1"
      assert output =~ "/dev/net/tun cannot be opened"
    end

    test "a firewall that denies what leaves" do
      sudo("""
      nft 'table inet firewall { chain output { type filter hook output priority 0; policy drop; oifname "lo" accept; }; }'
      """)

      on_exit(fn -> sudo("nft delete table inet firewall") end)
      assert {output, 1} = helper(["status"])
      assert output =~ "is there a firewall that denies what leaves this machine?"
    end

    test "a helper that is setuid" do
      sudo("chmod u+s #{@path}")
      assert {output, 1} = helper(["status"])
      assert output =~ "setuid, which it refuses to be"
    end

    test "a helper that may not be run" do
      sudo("chmod 750 #{@path}")
      assert {output, 1} = helper(["status"])
      assert output =~ "could not start the helper #{@path}: permission denied"
    end

    test "something else in its place" do
      sudo("printf '#!/bin/sh\\nexit 3\\n' > #{@path}")
      assert {output, 1} = helper(["status"])
      assert output =~ "the helper is gone: it ended "
    end
  end
end
