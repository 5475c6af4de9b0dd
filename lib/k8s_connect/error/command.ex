defmodule K8sConnect.Error.Command do
  @moduledoc false
  # A suggested command as data. It becomes a line only together with the request that failed, so that a
  # pasted line is about the same kubeconfig, context, namespace and target.

  alias K8sConnect.{Error, Shellwords}

  @typedoc """
    * `{:mix, "k8s.connect" | "k8s.doctor", options}`: the failed request with these options added. In code
      the first is a call of `K8sConnect.connect/2`, in the doctor a run of the doctor. After a failed list of pods
      it is that list.
    * `{:mix, "k8s.pods", options}`: a list of pods, with these options added to those of the request.
    * `{:mix, task, arguments}`: any other task, or several targets.
    * `{:kubectl, arguments}`: with the request's kubeconfig, context and namespace where kubectl takes them.
    * `{:apply, yaml}`: `kubectl apply` with the manifest. An admin pastes it, so it has no kubeconfig.
    * `{:permission, verb, resource}`: the doctor, which prints the missing Role. The doctor itself asks
      kubectl for the one permission.
    * `{:sh, words}`, `{:sh, words, switches}`: a program; `switches` are its names for options of the request.
    * `{:raw, line}`: a line for a shell with a pipe or a variable in it.
    * `{:elixir, code}`, `{:elixir, code, command}`: code; where a command line can do the same, the command.
  """
  @type t ::
          {:mix, String.t(), keyword() | [String.t()]}
          | {:kubectl, [String.t(), ...]}
          | {:apply, String.t()}
          | {:permission, String.t(), String.t()}
          | {:sh, [String.t(), ...]}
          | {:sh, [String.t(), ...], [{atom(), String.t()}]}
          | {:raw, String.t()}
          | {:elixir, String.t()}
          | {:elixir, String.t(), t()}

  @requests ["k8s.connect", "k8s.doctor", "k8s.pods"]

  # kubectl has one-letter names for three of our options.
  @letters %{namespace: "-n", selector: "-l", container: "-c"}

  # What a command line shows first; the added options come last.
  @order [:selector, :namespace, :context, :kubeconfig, :container, :node, :port]

  # What only one of the two tasks takes.
  @connect_only [:rpc, :remsh]

  # What a list of pods takes.
  @pods [:selector, :namespace, :context, :kubeconfig, :timeout]

  @doc """
  The command as a line for a shell, or as code for the audience `:code`.
  """
  @spec render(t(), Error.request(), Error.audience()) :: String.t()
  def render({:mix, "k8s.pods", options}, %{call: :connect} = request, audience) do
    pods = %{request | call: :pods, target: nil, options: Keyword.take(request.options, @pods)}
    render({:mix, "k8s.pods", options}, pods, audience)
  end

  def render({:mix, "k8s.connect", options}, %{call: :pods} = request, audience),
    do: render({:mix, "k8s.pods", options}, request, audience)

  def render({:mix, "k8s.pods", options}, request, :code), do: call(request, options)

  def render({:mix, "k8s.connect", options}, request, :code) when options == [],
    do: call(request, [])

  def render({:mix, "k8s.connect", [{_name, _value} | _more] = options}, request, :code),
    do: call(request, options)

  def render({:mix, "k8s.connect", options}, request, :doctor),
    do: render({:mix, "k8s.doctor", options}, request, :doctor)

  def render({:mix, task, options}, request, _audience) when task in @requests and options == [],
    do: mix(task, request, [])

  def render({:mix, task, [{_name, _value} | _more] = options}, request, _audience),
    do: mix(task, request, options)

  def render({:mix, task, arguments}, _request, _audience),
    do: Shellwords.join(program(task) ++ arguments)

  def render({:kubectl, arguments}, request, _audience) do
    {arguments, command} = Enum.split_while(arguments, &(&1 != "--"))
    switches = switches(request.options, kubectl(arguments) -- arguments)
    Shellwords.join(["kubectl" | arguments] ++ switches ++ command)
  end

  def render({:apply, yaml}, request, audience) do
    request = %{request | options: Keyword.delete(request.options, :kubeconfig)}
    render({:kubectl, ["apply", "-f", "-"]}, request, audience) <> " <<'EOF'\n#{yaml}EOF"
  end

  def render({:permission, verb, resource}, request, :doctor),
    do: render({:kubectl, can_i(verb, resource)}, request, :doctor)

  def render({:permission, _verb, _resource}, request, audience),
    do: render({:mix, "k8s.doctor", []}, request, audience)

  def render({:sh, words}, _request, _audience), do: Shellwords.join(words)

  def render({:sh, words, names}, request, _audience),
    do: Shellwords.join(words ++ switches(request.options, names))

  def render({:raw, line}, _request, _audience), do: line
  def render({:elixir, code}, _request, _audience), do: code
  def render({:elixir, code, _command}, _request, :code), do: code
  def render({:elixir, _code, command}, request, audience), do: render(command, request, audience)

  @doc """
  kubectl's arguments that ask for one permission; `name` is that of a single object.
  """
  @spec can_i(String.t(), String.t(), String.t() | nil) :: [String.t(), ...]
  def can_i(verb, resource, name \\ nil) do
    [type | subresource] = String.split(resource, "/", parts: 2)
    object = if name, do: "#{type}/#{name}", else: type
    ["auth", "can-i", verb, object] ++ Enum.map(subresource, &"--subresource=#{&1}")
  end

  @doc """
  An option as the audience writes it: `route: :vm` or `--route vm`.
  """
  @spec option(atom(), term(), Error.audience()) :: String.t()
  def option(name, value, :code), do: String.slice(inspect([{name, value}]), 1..-2//1)
  def option(:route, :exec, _audience), do: "--exec"
  def option(name, false, _audience), do: String.replace_prefix(long(name), "--", "--no-")
  def option(name, value, _audience), do: Shellwords.join(switch(name, value))

  @doc """
  The name of an option as the audience writes it: `option :route` or `--route`.
  """
  @spec option(atom(), Error.audience()) :: String.t()
  def option(name, :code), do: "option #{inspect(name)}"
  def option(name, _audience), do: long(name)

  # The switches of kubectl that a subcommand honours. The context and the namespace of `kubectl config` would
  # be ignored, but for `view`; what concerns the whole cluster has no namespace.
  defp kubectl(["config", "view" | _more] = arguments) do
    if "--kubeconfig" in arguments, do: [], else: [context: "--context"] ++ kubeconfig()
  end

  defp kubectl(["config" | _more]), do: kubeconfig()
  defp kubectl(["cluster-info" | _more]), do: cluster()
  defp kubectl(["auth", "whoami" | _more]), do: cluster()
  defp kubectl(["get", "--raw" | _more]), do: cluster()
  defp kubectl(["get", "namespaces" | _more]), do: cluster()
  defp kubectl(_arguments), do: [namespace: "-n"] ++ cluster()

  defp cluster, do: [context: "--context"] ++ kubeconfig()
  defp kubeconfig, do: [kubeconfig: "--kubeconfig"]

  defp switches(options, names) do
    for {name, written} <- names,
        value = options[name],
        word <- word(name, written, value),
        do: word
  end

  # A value that looks like a switch has to be a part of its own switch.
  defp word(name, _written, "-" <> _rest = value), do: [long(name) <> "=" <> value]
  defp word(_name, written, value), do: [written, value]

  defp mix(task, request, added) do
    options = merge(request, added, task)

    {command, options} =
      if options[:route] == :exec, do: command(task, options), else: {[], options}

    switches = for {name, value} <- options, value != nil, word <- switch(name, value), do: word
    Shellwords.join(program(task) ++ target(task, request, options) ++ switches ++ command)
  end

  # The program of `mix k8s.launcher` runs where there may be no Mix task, and says so.
  defp program("k8s." <> command = task) do
    if command in :persistent_term.get({:k8s_connect, :launcher}, []),
      do: ["k8s_connect", command],
      else: ["mix", task]
  end

  defp program(task), do: ["mix", task]

  # The doctor examines the other routes.
  defp command("k8s.doctor", options), do: {[], Keyword.delete(options, :route)}
  defp command(_task, options), do: {["--", "CMD"], Keyword.delete(options, :route)}

  defp target("k8s.doctor", %{target: nil}, _options), do: []
  defp target(_task, %{call: :pods, target: target}, _options), do: List.wrap(target)

  defp target(_task, %{target: nil}, options),
    do: if(options[:selector], do: [], else: ["TARGET"])

  defp target(_task, %{target: target}, _options), do: [target]

  # The configuration may say otherwise.
  defp switch(:read_only, false), do: ["--no-read-only"]
  defp switch(_name, false), do: []
  defp switch(name, true), do: [long(name)]
  defp switch(name, value), do: word(name, Map.get(@letters, name, long(name)), to_string(value))

  defp long(name), do: "--" <> (name |> Atom.to_string() |> String.replace("_", "-"))

  defp call(%{call: :pods} = request, added) do
    target = if request.target, do: [target: request.target], else: []
    "K8sConnect.pods(#{written(target ++ merge(request, added, "k8s.pods"))})"
  end

  defp call(request, added) do
    options = merge(request, added, "k8s.connect")
    target = request.target || if options[:selector], do: nil, else: "TARGET"
    separator = if options == [], do: "", else: ", "
    "K8sConnect.connect(#{inspect(target)}#{separator}#{written(options)})"
  end

  defp written(options) do
    options |> inspect(limit: :infinity, printable_limit: :infinity) |> String.slice(1..-2//1)
  end

  defp merge(request, added, task) do
    dropped = Keyword.keys(added) ++ Enum.flat_map(added, &replaced/1)
    dropped = if task == "k8s.doctor", do: dropped ++ @connect_only, else: dropped
    options = request.options |> Keyword.drop(dropped) |> Enum.sort_by(&rank/1)
    options ++ if task == "k8s.doctor", do: Keyword.drop(added, @connect_only), else: added
  end

  defp rank({name, _value}), do: Enum.find_index(@order, &(&1 == name)) || length(@order)

  # Options that exclude an added one.
  defp replaced({:cookie_file, _path}), do: [:cookie_from]
  defp replaced({:cookie_from, _source}), do: [:cookie_file]
  defp replaced({:route, :vm}), do: [:sudo, :visible]
  defp replaced({:route, :exec}), do: [:sudo]
  defp replaced({:remsh, true}), do: [:route]
  defp replaced(_other), do: []
end
