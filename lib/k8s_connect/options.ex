defmodule K8sConnect.Options do
  @moduledoc false
  # Options of the public functions: checked once, then one map for the native side. A mistake of the
  # programmer raises `ArgumentError`; what depends on the machine is `{:error, error}`. Environment variables
  # are read at each call, because a NIF does not see `System.put_env/2`.

  alias K8sConnect.Error
  alias K8sConnect.Options.{Configuration, Values}

  @default_timeout 15_000
  @default_connect_timeout 60_000
  @api [:kubeconfig, :context, :namespace, :timeout, :interactive]
  @pods @api ++ [:target, :selector, :all_namespaces]
  # Kubernetes mounts it there in a pod.
  @service_account "/var/run/secrets/kubernetes.io/serviceaccount"
  @connect @api ++
             [:selector, :container, :node, :port, :cookie, :cookie_file, :cookie_from] ++
             [:tls_ca, :tls_cert, :tls_key] ++
             [:owner, :connect_timeout, :reconnect, :log, :progress, :protocol] ++
             [:route, :sudo, :visible, :trust, :read_only, :audit, :audit_arguments] ++
             [:max_atoms, :max_message, :yes, :confirm, :verbose]
  # Of what a pod may send. The atom table of a VM has room for 1,048,576.
  @max_atoms 100_000
  @max_message 256 * 1024 * 1024

  @type api :: %{
          kubeconfig: String.t() | nil,
          kubeconfig_env: String.t() | nil,
          home: String.t() | nil,
          context: String.t() | nil,
          namespace: String.t() | nil,
          timeout_ms: pos_integer(),
          service_account: String.t(),
          interactive: boolean()
        }

  @type query :: %{
          target: String.t() | nil,
          labels: String.t() | nil,
          all_namespaces: boolean()
        }

  @type connect :: %{
          api: api(),
          target: map(),
          cookie: (() -> binary() | nil),
          cookie_source: String.t() | nil,
          owner: pid() | nil,
          connect_timeout: timeout(),
          log: boolean(),
          reconnect: K8sConnect.Reconnect.policy(),
          route: K8sConnect.Route.Behaviour.options(),
          trust: boolean(),
          read_only: boolean(),
          audit: {file :: String.t(), arguments :: boolean()} | nil,
          limits: %{atoms: pos_integer(), message: pos_integer()},
          progress: (tuple() -> term()),
          yes: boolean(),
          confirmed: boolean(),
          confirm: (String.t() -> boolean())
        }

  @doc """
  The options of a request to the API server.
  """
  @spec api_only(keyword()) :: keyword()
  def api_only(options), do: Keyword.take(options, @api)

  @doc """
  Options of `K8sConnect.pods/1`: those of its request, and which pods are listed. Raises `ArgumentError` where
  `check_pods/1` has an error.
  """
  @spec pods(keyword()) :: {api(), query()}
  def pods(options) do
    {target, options} = options |> pods_options() |> unwrap!()
    {to_api(options), query(target, options)}
  end

  @doc """
  Which pods are listed.
  """
  @spec query(String.t() | nil, keyword()) :: query()
  def query(target, options) do
    all = options[:all_namespaces] || false
    %{target: target, labels: options[:selector], all_namespaces: all}
  end

  @doc """
  Checks options of `K8sConnect.pods/1`, and the configuration.
  """
  @spec check_pods(keyword()) :: :ok | {:error, Error.t()}
  def check_pods(options), do: with({:ok, _checked} <- pods_options(options), do: :ok)

  @doc """
  Options of a connection, with defaults from the application's environment. Raises `ArgumentError` where
  `check/2` has an error. A cookie file that cannot be read is `{:error, error}`.
  """
  @spec connect(String.t() | nil, keyword()) :: {:ok, connect()} | {:error, Error.t()}
  def connect(target, options) do
    {target, options} = target |> connect_options(options) |> unwrap!()

    with {:ok, cookie, source} <- cookie(options) do
      {:ok,
       %{
         api: to_api(options),
         target: %{
           target: target,
           labels: options[:selector],
           container: options[:container],
           node: options[:node],
           port: options[:port],
           cookie: cookie_source(cookie, options),
           # This VM does not connect on the exec route, so it would not notice a wrong name in the pod's spec.
           assume_name: options[:route] != :exec,
           verbose: options[:verbose] || false,
           protocol: options[:protocol] || :auto,
           tls: tls(options),
           # Of a reconnect: the pod that it must be, and what owned the one before.
           wait: false,
           uid: nil,
           controller: nil
         },
         # In a function: crash reports do not show what it returns.
         cookie: fn -> cookie end,
         cookie_source: source,
         owner: options[:owner],
         connect_timeout: connect_timeout(options),
         log: options[:log] != false,
         reconnect: reconnect(options),
         route: route(options),
         # Visible nodes of a cluster call each other.
         trust: options[:trust] || options[:visible] || false,
         read_only: options[:read_only] || false,
         audit: audit(options),
         limits: %{
           atoms: options[:max_atoms] || @max_atoms,
           message: options[:max_message] || @max_message
         },
         progress: options[:progress] || fn _step -> :ok end,
         yes: options[:yes] || false,
         confirmed: false,
         confirm: options[:confirm] || fn _context -> false end
       }}
    end
  end

  @doc """
  Checks a target and options of a connection, and the configuration, without a look at any file.
  """
  @spec check(String.t() | nil, keyword()) :: :ok | {:error, Error.t()}
  def check(target, options),
    do: with({:ok, _checked} <- connect_options(target, options), do: :ok)

  # A configured target has options of a connection, too.
  defp pods_options(options) do
    with :ok <- Values.check(options, @pods), :ok <- Configuration.check(@connect) do
      {target, options} = Keyword.pop(options, :target)
      {target, options} = Configuration.named(target, options)
      options = @api |> Configuration.defaults() |> Keyword.merge(Keyword.take(options, @pods))

      with :ok <- Values.check(options, @pods),
           :ok <- if(target, do: check_target(target, options), else: :ok),
           do: {:ok, {target, options}}
    end
  end

  defp connect_options(target, options) do
    with :ok <- Values.check(options, @connect),
         :ok <- Configuration.check(@connect),
         {target, options} = Configuration.named(target, options),
         options = Keyword.merge(Configuration.defaults(@connect, target, options), options),
         :ok <- Values.check(options, @connect),
         :ok <- check_target(target, options),
         :ok <- check_route(options),
         :ok <- check_untrusted(options),
         :ok <- check_complete(options),
         do: {:ok, {target, options}}
  end

  defp unwrap!({:ok, value}), do: value
  defp unwrap!({:error, error}), do: raise(ArgumentError, Exception.message(error))

  @doc """
  An option of a connection, or what the configuration has for it.
  """
  @spec setting(String.t() | nil, keyword(), atom()) :: term()
  def setting(target, options, name) do
    {target, options} = Configuration.named(target, options)
    Keyword.merge(Configuration.defaults(@connect, target, options), options)[name]
  end

  defp to_api(options) do
    %{
      kubeconfig: options[:kubeconfig],
      kubeconfig_env: System.get_env("KUBECONFIG"),
      home: System.get_env("HOME"),
      context: options[:context],
      namespace: options[:namespace],
      timeout_ms: options[:timeout] || @default_timeout,
      service_account: Application.get_env(:k8s_connect, :service_account, @service_account),
      interactive: options[:interactive] || false
    }
  end

  # A person who logs in has no time limit.
  defp connect_timeout(options) do
    default = if options[:interactive], do: :infinity, else: @default_connect_timeout
    options[:connect_timeout] || default
  end

  @doc """
  The options for one context and namespace, whose protection was checked.
  """
  @spec confirmed(connect(), %{
          :context => String.t(),
          :namespace => String.t(),
          optional(atom()) => term()
        }) :: connect()
  def confirmed(options, %{context: context, namespace: namespace}) do
    api = %{options.api | namespace: namespace}
    # A pod's service account, without a kubeconfig
    api = if context == "in-cluster", do: api, else: %{api | context: context}
    %{options | api: api, confirmed: true}
  end

  # A command of the route :exec ends with its connection.
  defp reconnect(options) do
    cond do
      options[:route] == :exec -> false
      options[:reconnect] == nil -> true
      true -> options[:reconnect]
    end
  end

  defp cookie(options) do
    case {options[:cookie], options[:cookie_file]} do
      {nil, nil} -> {:ok, nil, nil}
      {nil, file} -> read_cookie(file)
      {cookie, _file} -> {:ok, to_string(cookie), "the option :cookie"}
    end
  end

  # The command of the exec route has a cookie of its own.
  defp cookie_source(cookie, options) do
    if cookie != nil or options[:route] == :exec,
      do: :nowhere,
      else: options[:cookie_from] || :spec
  end

  # Without the last newline, as the VM reads ~/.erlang.cookie.
  defp read_cookie(file) do
    with {:ok, text} <- File.read(file),
         cookie = String.trim_trailing(text, "\n"),
         {_size, true} <- {byte_size(cookie), byte_size(cookie) in 1..255} do
      {:ok, cookie, "the file #{file}"}
    else
      {:error, reason} ->
        failed(:no_cookie_file, %{file: file, problem: to_string(:file.format_error(reason))})

      {size, false} ->
        failed(:invalid_cookie_file, %{file: file, size: size})
    end
  end

  # These two options imply the kernel route.
  defp route(options) do
    sudo = options[:sudo] || false
    visible = options[:visible] || false

    case options[:route] || :auto do
      :auto when sudo or visible -> %{route: :kernel, sudo: sudo, visible: visible}
      route -> %{route: route, sudo: sudo, visible: visible}
    end
  end

  defp check_route(options) do
    others = %{vm: [:sudo, :visible], exec: [:sudo]}
    only_kernel = Enum.find(others[options[:route]] || [], &options[&1])

    if only_kernel,
      do: failed(:kernel_only, %{option: only_kernel, route: options[:route]}),
      else: :ok
  end

  # The current directory can be another one at a reconnect.
  defp audit(options) do
    if file = options[:audit], do: {Path.expand(file), options[:audit_arguments] || false}
  end

  # Code of a trusted pod could do from here what would not be refused, and not be logged.
  defp check_untrusted(options) do
    trusting = Enum.find([:trust, :visible], &options[&1])
    untrusted = Enum.find([:read_only, :audit], &options[&1])

    if trusting && untrusted,
      do: failed(:only_untrusted, %{option: untrusted, trusting: trusting}),
      else: :ok
  end

  # The authority, and the certificate with its key
  defp tls(options) do
    identity = if options[:tls_cert], do: {options[:tls_cert], options[:tls_key]}
    if options[:tls_ca], do: {options[:tls_ca], identity}
  end

  defp check_complete(options) do
    needs = [
      tls_cert: :tls_key,
      tls_key: :tls_cert,
      tls_cert: :tls_ca,
      audit_arguments: :audit
    ]

    case Enum.find(needs, fn {given, needed} -> options[given] && !options[needed] end) do
      nil -> :ok
      {given, needed} -> failed(:missing_option, %{given: given, needed: needed})
    end
  end

  defp check_target(nil, options) do
    if options[:selector], do: :ok, else: failed(:no_target, %{})
  end

  defp check_target(target, options) do
    cond do
      not Values.text?(target) ->
        details = %{option: :target, value: target, expected: "a non-empty string"}
        failed(:invalid_option, details)

      options[:selector] ->
        failed(:target_and_selector, %{target: target})

      true ->
        :ok
    end
  end

  defp failed(kind, details), do: {:error, Error.new(:options, {kind, details})}
end
