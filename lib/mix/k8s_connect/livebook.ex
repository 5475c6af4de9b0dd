defmodule Mix.K8sConnect.Livebook do
  @moduledoc false
  # Livebook on this machine, whose default runtime is the node of a connection. Livebook reads it from
  # LIVEBOOK_DEFAULT_RUNTIME=attached:NODE:COOKIE, split at the last colon (lib/livebook/config.ex of Livebook 0.19.9).

  alias K8sConnect.{Connection, Distribution, Error}

  @timeout 5_000
  # A version is shorter, unless the node is not what it says.
  @max_version 64

  @doc """
  The path of the program `livebook`: in PATH, or where `mix escript.install` puts it.
  """
  @spec find() :: {:ok, Path.t()} | {:error, Error.t()}
  def find do
    directory = Mix.path_for(:escripts)
    installed = Path.join(directory, "livebook")

    case System.find_executable("livebook") || System.find_executable(installed) do
      nil -> {:error, Error.new(:exec, {:no_livebook, %{directory: directory}})}
      program -> {:ok, program}
    end
  end

  @doc """
  Starts to ask `livebook --version` for the version of Elixir, which an escript contains.
  """
  @spec ask_elixir(Path.t()) :: Task.t()
  def ask_elixir(program) do
    Task.async(fn ->
      try do
        {output, _code} = System.cmd(program, ["--version"], stderr_to_stdout: true)
        with [_line, version] <- Regex.run(~r/^Elixir (\d+\.\d+\.\S+)/m, output), do: version
      rescue
        # What is wrong with the program is reported when it is started.
        ErlangError -> nil
      end
    end)
  end

  @doc """
  Its answer, or nil without a usable one.
  """
  @spec elixir(Task.t()) :: String.t() | nil
  def elixir(task) do
    case Task.yield(task, @timeout) || Task.shutdown(task, :brutal_kill) do
      {:ok, version} -> version
      _none -> nil
    end
  end

  @doc """
  Checks that Livebook with this version of Elixir can attach to a node that this BEAM is connected to, and returns the
  value of LIVEBOOK_DEFAULT_RUNTIME in a function, so that a crash report does not show the cookie.
  """
  @spec runtime(node(), cookie :: atom(), elixir :: String.t() | nil) ::
          {:ok, (() -> String.t())} | {:error, Error.t()}
  def runtime(node, cookie, livebook) do
    cookie = Atom.to_string(cookie)

    with :ok <- check_name(node),
         :ok <- if(cookie =~ ":", do: not_attachable(node, :colon), else: :ok),
         {:ok, version} <- version(node),
         :ok <- check_version(node, version, livebook),
         do: {:ok, fn -> "attached:#{node}:#{cookie}" end}
  end

  # For a reserved name, Livebook.EPMD connects to the port in the name, on this machine.
  defp check_name(node) do
    cond do
      String.starts_with?(Atom.to_string(node), "remote_runtime_") ->
        not_attachable(node, :reserved_name)

      Distribution.long?(node) ->
        :ok

      true ->
        not_attachable(node, :short_name)
    end
  end

  # A release can have Elixir's modules for its tools, without the application.
  defp version(node) do
    with running when is_pid(running) <-
           :erpc.call(node, :erlang, :whereis, [:elixir_sup], @timeout),
         version when is_binary(version) and byte_size(version) < @max_version <-
           :erpc.call(node, System, :version, [], @timeout),
         {:ok, _parsed} <- Version.parse(version) do
      {:ok, version}
    else
      _no_version -> not_attachable(node, :no_elixir)
    end
  catch
    # The reason can be of the node's making, and is not shown.
    _kind, _reason -> {:error, Error.new(:connect, {:lost, %{node: node, reason: nil}})}
  end

  defp check_version(node, there, livebook) do
    if livebook == nil or minor(there) == minor(livebook),
      do: :ok,
      else: not_attachable(node, :other_elixir, %{elixir: there, livebook: livebook})
  end

  defp minor(version), do: version |> String.split(".") |> Enum.take(2)

  defp not_attachable(node, why, more \\ %{}),
    do: {:error, Error.new(:remote, {:not_attachable, Map.merge(%{node: node, why: why}, more)})}

  @doc """
  The variables of the environment that Livebook is started with.
  """
  @spec environment(Connection.t(), runtime :: String.t()) :: [{String.t(), String.t()}]
  def environment(%{node: node, ip: ip}, runtime) do
    {:ok, address} = :inet.parse_strict_address(to_charlist(ip))
    [_name, host] = node |> Atom.to_string() |> String.split("@")
    flags = family(address) ++ hosts(:inet.parse_strict_address(to_charlist(host)), host, address)
    before = List.wrap(System.get_env("ERL_AFLAGS"))

    [{"LIVEBOOK_DEFAULT_RUNTIME", runtime}] ++
      if flags == [], do: [], else: [{"ERL_AFLAGS", Enum.join(before ++ flags, " ")}]
  end

  defp family(address),
    do: if(tuple_size(address) == 8, do: ["-proto_dist inet6_tcp"], else: [])

  defp hosts({:ok, _address}, _host, _pod), do: []

  # The name resolves only in the cluster. As numbers it needs no quotes.
  defp hosts({:error, :einval}, host, pod) do
    numbers = fn list -> "[#{Enum.join(list, ",")}]" end
    address = "{#{pod |> Tuple.to_list() |> Enum.join(",")}}"
    add = "inet_db:add_host(#{address},[#{host |> to_charlist() |> numbers.()}])"
    ["-eval inet_db:set_lookup([file,native]),#{add}."]
  end
end
