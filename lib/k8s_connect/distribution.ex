defmodule K8sConnect.Distribution do
  @moduledoc false
  # The local node. If the VM is distributed already, it is used as it is. Otherwise distribution is started hidden,
  # not listening and without epmd, so that no other machine can connect to this VM.

  alias K8sConnect.Distribution.{Cookies, Name}
  alias K8sConnect.{Native, Servers, Temporary}

  @own {__MODULE__, :own_node}
  @task_vm {__MODULE__, :task_vm}

  # The applications of the VM of a Mix task: Hex starts `ssl`. If another one runs, its code may need OpenSSL at any time.
  @task_applications [:kernel, :stdlib, :compiler, :elixir, :logger, :mix, :k8s_connect] ++
                       [:hex, :inets, :ssl, :public_key, :asn1, :crypto]

  @doc """
  Records that this VM was started for a Mix task, so that distribution may start without OpenSSL.
  """
  @spec mark_task_vm() :: :ok
  def mark_task_vm, do: :persistent_term.put(@task_vm, true)

  @doc """
  Loads OpenSSL if `ensure/1` will start distribution, which needs a random number of it.
  """
  @spec preload() :: :ok
  def preload do
    # Loading OpenSSL stops all schedulers for 30 ms, so it is loaded while the API server answers. A VM that is distributed
    # already may never need it, nor its 4 MB.
    _ = unless Node.alive?() or alone?(), do: :code.ensure_loaded(:crypto)
    :ok
  end

  @doc """
  Starts distribution if it is not running, with a name of the same kind as that of `node`.
  """
  @spec ensure(node()) :: :ok | {:error, {atom(), map()}}
  def ensure(node) do
    if Node.alive?(), do: :ok, else: start(node)
  end

  @doc """
  Whether the names of the local node and of `node` are both long or both short, as OTP's own distribution requires.
  """
  @spec same_kind?(node()) :: boolean()
  def same_kind?(node) do
    :net_kernel.longnames() == long?(node)
  end

  @doc """
  Whether the name of `node` is long.
  """
  @spec long?(node()) :: boolean()
  # An IPv6 address has no dot.
  def long?(node) do
    [_name, host] = String.split(Atom.to_string(node), "@")
    String.contains?(host, [".", ":"])
  end

  @doc """
  Stops distribution if `ensure/1` has started it, unless there are other connections.
  """
  @spec stop() :: :ok
  def stop do
    # The name is in a persistent term, because the process that started distribution may have been killed.
    name = Node.self()

    if own?() and Node.list(:connected) == [] and :net_kernel.stop() == :ok,
      do: await(5_000, fn -> Node.self() != name end),
      else: :ok
  end

  @doc """
  Closes the connection to `node`.
  """
  @spec disconnect(node()) :: :ok
  def disconnect(node) do
    # The call blocks while net_kernel is busy.
    if node in Node.list(:connected) and Node.disconnect(node) == true,
      do: await(1_000, fn -> node not in Node.list(:connected) end),
      else: :ok
  end

  @doc """
  Ends an attempt to connect to `node` that another process has begun. Whether the node is not connected then.
  """
  @spec end_attempt(node()) :: boolean()
  def end_attempt(node) do
    with {:ok, info} <- :net_kernel.node_info(node), :pending <- info[:state] do
      true = Process.exit(info[:owner], :kill)
      await(1_000, fn -> not match?({:ok, ^info}, :net_kernel.node_info(node)) end)
    end

    node not in Node.list(:connected)
  end

  defp await(0, _fun), do: :ok

  defp await(tries, fun) do
    if fun.() do
      :ok
    else
      # The VM changes `Node.self()` and `Node.list()` shortly after the call, and sends no message.
      Process.sleep(1)
      await(tries - 1, fun)
    end
  end

  @doc """
  Whether `ensure/1` has started the local node.
  """
  @spec own?() :: boolean()
  def own?, do: Node.alive?() and :persistent_term.get(@own, nil) == Node.self()

  @doc """
  Sets the cookie for `node` only.
  """
  @spec set_cookie(node(), binary()) :: :ok
  def set_cookie(node, cookie), do: Cookies.put(node, to_atom(cookie))

  @doc """
  Sets a secret as the cookie for `node`. No other machine knows it.
  """
  @spec replace_cookie(node()) :: :ok
  def replace_cookie(node), do: set_cookie(node, Native.local_cookie(Atom.to_string(node)))

  @doc """
  The nodes whose cookie `set_cookie/2` has set.
  """
  @spec nodes() :: [node()]
  def nodes, do: Cookies.nodes()

  @doc """
  Restores the cookie of `node` from before `set_cookie/2`: a cookie of its own, or the default cookie.
  """
  @spec restore_cookie(node()) :: :ok
  def restore_cookie(node), do: Cookies.restore(node)

  @doc """
  A name for the local node, long or short as the name of `node`. With a name of another kind, code in the pod that
  addresses this node after a disconnect logs errors.
  """
  @spec name(node()) :: node()
  def name(node) do
    :"#{Name.get()}@#{if long?(node), do: "127.0.0.1", else: "localhost"}"
  end

  defp start(node) do
    name = name(node)

    kind =
      if String.ends_with?(Atom.to_string(name), "localhost"), do: :shortnames, else: :longnames

    # Before distribution starts, because this process may be killed.
    :persistent_term.put(@own, name)

    case start_net_kernel(name, %{name_domain: kind, dist_listen: false, hidden: true}) do
      {:ok, _pid} ->
        # The processes of distribution are new.
        _ = Servers.share()
        :ok

      {:error, reason} ->
        _ = :persistent_term.erase(@own)
        # Another process may have started distribution.
        if Node.alive?(), do: :ok, else: failed(name, reason)
    end
  end

  # If `net_kernel` does not find OpenSSL, it uses another random number (`create_creation/0`). Nothing else in this VM loads
  # OpenSSL meanwhile.
  defp start_net_kernel(name, options) do
    directory = alone?() and :code.lib_dir(:crypto)

    if is_list(directory),
      do: Temporary.run(fn -> start_without(directory, name, options) end),
      else: :net_kernel.start(name, options)
  end

  # In a process that is not linked: the caller may be killed, and then OpenSSL would stay off the code path.
  defp start_without(directory, name, options) do
    _ = :code.del_path(:crypto)

    try do
      :net_kernel.start(name, options)
    after
      :code.add_pathz(:filename.join(directory, ~c"ebin"))
    end
  end

  # Whether this VM runs nothing but a task. Other modules of the distribution may need OpenSSL.
  defp alone? do
    :persistent_term.get(@task_vm, false) and
      Enum.all?([:proto_dist, :epmd_module], &(:init.get_argument(&1) == :error)) and
      Enum.all?(:application.which_applications(), &(elem(&1, 0) in @task_applications))
  end

  defp failed(name, reason), do: failed(name, reason, :init.get_argument(:epmd_module))

  @doc false
  # The cause is deep in the reason of a supervisor.
  @spec failed(node(), term(), {:ok, [[charlist()]]} | :error) :: {:error, {atom(), map()}}
  def failed(
        _name,
        {{:shutdown, {:failed_to_start_child, :auth, {text, _stack}}}, _child},
        _module
      )
      when is_list(text) do
    home = System.get_env("HOME", "")
    {:error, {:cookie_file, %{problem: List.to_string(text), home: home}}}
  end

  def failed(
        _name,
        {{:shutdown, {:failed_to_start_child, child, {:EXIT, {:undef, _stack}}}}, _child},
        {:ok, modules}
      ) do
    module = modules |> List.flatten() |> List.to_string()
    # If the option was given more than once, OTP used the last module.
    module = if String.ends_with?(module, Atom.to_string(child)), do: child, else: module
    {:error, {:epmd_module, %{module: to_string(module)}}}
  end

  def failed(name, reason, _module) do
    {:error, {:no_distribution, %{name: Atom.to_string(name), problem: inspect(reason)}}}
  end

  @doc """
  A cookie, as the VM of the pod converts that of its command line.
  """
  @spec to_atom(binary()) :: atom()
  def to_atom(cookie) do
    if String.valid?(cookie),
      do: String.to_atom(cookie),
      else: :erlang.binary_to_atom(cookie, :latin1)
  end
end
