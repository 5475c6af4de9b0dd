defmodule K8sConnect.Laptop do
  @moduledoc """
  What a test does on the laptop as an admin, and what it looks at there.
  """

  import ExUnit.Assertions

  @helper "/usr/local/libexec/k8s_connect_helper"
  # Of this laptop only: another cluster's may stand beside it.
  @helpers "pgrep --ns $$ --nslist net --runstates R,S,D,T --exact k8s_connect_hel"

  @doc """
  Runs a command line as root, and answers what it prints.
  """
  def sudo(line) do
    {output, status} = System.cmd("sudo", ["-n", "sh", "-c", line], stderr_to_stdout: true)
    assert status == 0, "#{line}: #{output}"
    output
  end

  @doc """
  Runs a command line of kubectl as the cluster's admin, and answers what it prints.
  """
  def as_admin(line) do
    kubeconfig = Path.expand("../../pki/admin.kubeconfig", System.fetch_env!("HOME"))

    {output, status} =
      System.cmd("sudo", ["-n", "env", "KUBECONFIG=#{kubeconfig}", "sh", "-c", line],
        stderr_to_stdout: true
      )

    assert status == 0, "#{line}: #{output}"
    output
  end

  @doc """
  Installs the helper, as `mix k8s.helper install` says.
  """
  def install_helper do
    built = K8sConnect.Helper.Program.built()

    sudo(
      "install -D -m 755 #{built} #{@helper} && setcap cap_bpf,cap_net_admin,cap_perfmon=p #{@helper}"
    )
  end

  @doc """
  Removes it.
  """
  def remove_helper, do: sudo("rm -f #{@helper}")

  @doc """
  All that connections could leave on a machine: BPF programs, listeners, helpers.
  """
  def left, do: String.split(sudo(look()), "\n", trim: true)

  @doc """
  Fails if something stays. A process that ends leaves its programs to a work queue of the kernel, which detaches them a
  moment later.
  """
  def assert_nothing_left(tries \\ 100) do
    case left() do
      [] -> :ok
      left when tries == 0 -> flunk("left: #{inspect(left)}")
      _left -> Process.sleep(10) && assert_nothing_left(tries - 1)
    end
  end

  @doc """
  The command line, as root's, that shows these. epmd is started by plain nodes. A process that has
  ended, and whose end nobody has asked for yet, is none.
  """
  def look do
    """
    #{programs()}
    ss -Hltn | grep -E '127.0.0.1:|\\[::1\\]:' | grep -v :4369
    #{@helpers}
    true
    """
  end

  @doc """
  The command line, as root's, that shows the BPF programs in the login sessions of the laptop's users.
  """
  def programs do
    """
    for slice in /sys/fs/cgroup/user.slice/user-420[01].slice /sys/fs/cgroup/unified/user.slice/user-420[01].slice; do
      [ ! -d $slice ] || bpftool cgroup tree $slice | grep -o 'kc_connect.*'
    done
    """
  end

  @doc """
  Waits until `fun` answers something true, and answers that.
  """
  def await(fun, tries \\ 500) do
    cond do
      value = fun.() -> value
      tries == 0 -> flunk("it never came")
      true -> Process.sleep(10) && await(fun, tries - 1)
    end
  end

  @doc """
  The process ids of this user on this laptop whose command line matches. Processes of pods, and of the laptops of other
  clusters, are in sight as well.
  """
  def processes(pattern) do
    own = File.stat!("/proc/self").uid
    network = File.read_link!("/proc/self/ns/net")

    for folder <- Path.wildcard("/proc/[0-9]*"),
        match?({:ok, %{uid: ^own}}, File.stat(folder)),
        match?({:ok, ^network}, File.read_link(Path.join(folder, "ns/net"))),
        {:ok, text} <- [File.read(Path.join(folder, "cmdline"))],
        text =~ pattern,
        do: folder |> Path.basename() |> String.to_integer()
  end

  @doc """
  The process ids of helpers that run.
  """
  def helpers do
    String.split(sudo("#{@helpers}; true"), "\n", trim: true)
  end

  @doc """
  Whether the API server takes a WebSocket by the verb `get` alone, as it does before Kubernetes 1.35.
  """
  def get_is_enough? do
    {version, 0} = System.cmd("kubectl", ~w(get --raw /version))
    [_all, minor] = Regex.run(~r/"minor": "(\d+)"/, version)
    String.to_integer(minor) < 35
  end

  @doc """
  The cookie of the article's app.
  """
  def cookie do
    {encoded, 0} = System.cmd("kubectl", ~w(get secret app-cookie -o jsonpath={.data.cookie}))
    Base.decode64!(encoded)
  end

  @doc """
  A home with nothing in it but a cookie, readable for its owner only, as OTP wants it.
  """
  def home(directory, user \\ nil) do
    home = Path.join(directory, "home-#{user}")
    File.mkdir_p!(home)
    File.write!(Path.join(home, ".erlang.cookie"), cookie())
    File.chmod!(Path.join(home, ".erlang.cookie"), 0o400)

    if user do
      sudo("chmod go+rx #{directory} && chown -R #{user} #{home}")
      ExUnit.Callbacks.on_exit(fn -> sudo("rm -r #{home}") end)
    end

    home
  end
end
