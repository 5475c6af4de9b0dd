defmodule K8sConnect.Options do
  @moduledoc false
  # Options of the public functions: checked once, then one map for the native side. A mistake of the
  # programmer raises `ArgumentError`; what depends on the machine is `{:error, error}`. Environment variables
  # are read at each call, because a NIF does not see `System.put_env/2`.

  alias K8sConnect.{Error, ReadOnly}

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
  # Keys of the configuration that are no options; `:service_account` and `:stable_after` are for tests.
  @configuration [:targets, :protect, :read_only_calls] ++
                   [:net_kernel, :service_account, :stable_after]
  @booleans [
              :all_namespaces,
              :interactive,
              :log,
              :sudo,
              :visible,
              :trust,
              :read_only,
              :audit_arguments
            ] ++
              [:yes, :verbose]
  # Of what a pod may send. The atom table of a VM has room for 1,048,576.
  @max_atoms 100_000
  @max_message 256 * 1024 * 1024
  @routes [:auto, :vm, :kernel, :exec]
  @protocols [:auto, :spdy, :websocket, :v4]

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
           trust: options[:route] != :exec,
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
    with :ok <- check_options(options, @pods), :ok <- check_configuration() do
      {target, options} = Keyword.pop(options, :target)
      {target, options} = named(target, options)
      options = defaults() |> Keyword.take(@api) |> Keyword.merge(Keyword.take(options, @pods))

      with :ok <- check_options(options, @pods),
           :ok <- if(target, do: check_target(target, options), else: :ok),
           do: {:ok, {target, options}}
    end
  end

  defp connect_options(target, options) do
    with :ok <- check_options(options, @connect),
         :ok <- check_configuration(),
         {target, options} = named(target, options),
         options = Keyword.merge(defaults(target, options), options),
         :ok <- check_options(options, @connect),
         :ok <- check_target(target, options),
         :ok <- check_route(options),
         :ok <- check_untrusted(options),
         :ok <- check_complete(options),
         do: {:ok, {target, options}}
  end

  defp unwrap!({:ok, value}), do: value
  defp unwrap!({:error, error}), do: raise(ArgumentError, Exception.message(error))

  @doc """
  Replaces a target of the configuration by its `:target` and its options. Given options win.
  """
  @spec named(String.t() | nil, keyword()) :: {String.t() | nil, keyword()}
  def named(nil, options), do: {nil, options}

  def named(target, options) do
    targets = Application.get_env(:k8s_connect, :targets, [])

    case Enum.find(targets, fn {name, _settings} -> Atom.to_string(name) == target end) do
      nil ->
        {target, options}

      {_name, settings} ->
        {target, settings} = Keyword.pop(settings, :target)
        {target, Keyword.merge(settings, options)}
    end
  end

  @doc """
  An option of a connection, or what the configuration has for it.
  """
  @spec setting(String.t() | nil, keyword(), atom()) :: term()
  def setting(target, options, name) do
    {target, options} = named(target, options)
    Keyword.merge(defaults(target, options), options)[name]
  end

  # With a misspelled `:protect` no context would be protected.
  defp check_configuration do
    known = @connect ++ @configuration
    keys = Keyword.keys(Application.get_all_env(:k8s_connect))

    case Enum.find(keys, &(&1 not in known)) do
      nil -> check_targets()
      key -> failed(:unknown_configuration, %{key: key, available: Enum.sort(known)})
    end
  end

  defp check_targets do
    targets = Application.get_env(:k8s_connect, :targets, [])
    patterns = Application.get_env(:k8s_connect, :protect, [])

    cond do
      not (Keyword.keyword?(targets) and Enum.all?(Keyword.values(targets), &Keyword.keyword?/1)) ->
        failed(:invalid_configuration, %{key: :targets, expected: "[name: [option: value]]"})

      not ReadOnly.valid?(Application.get_env(:k8s_connect, :read_only_calls, [])) ->
        expected = "a list of {module, function, arity} or {module, function}"
        failed(:invalid_configuration, %{key: :read_only_calls, expected: expected})

      not (is_list(patterns) and Enum.all?(patterns, &is_binary/1)) ->
        failed(:invalid_configuration, %{key: :protect, expected: "a list of strings"})

      true ->
        :ok
    end
  end

  # An option also replaces the defaults of options that it excludes.
  defp defaults(target, options) do
    cookie? = Enum.any?([:cookie, :cookie_file, :cookie_from], &(options[&1] != nil))

    for {option, value} <- defaults(),
        not (option == :selector and target != nil),
        not (option in [:cookie, :cookie_file] and cookie?),
        do: {option, value}
  end

  # A confirmation is for one call.
  defp defaults,
    do: Keyword.take(Application.get_all_env(:k8s_connect), @connect -- [:yes, :confirm])

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
      not text?(target) ->
        failed(:invalid_option, %{option: :target, value: target, expected: expected(:target)})

      options[:selector] ->
        failed(:target_and_selector, %{target: target})

      true ->
        :ok
    end
  end

  defp check_options(options, known) do
    if Keyword.keyword?(options),
      do: check_each(options, known),
      else: failed(:not_a_keyword, %{value: kind(options)})
  end

  defp check_each(options, known) do
    Enum.find_value(options, :ok, fn {option, value} ->
      cond do
        option not in known ->
          failed(:unknown_option, %{option: option, available: known})

        value == nil or valid?(option, value) ->
          nil

        true ->
          failed(:invalid_option, %{
            option: option,
            value: printable_value(option, value),
            expected: expected(option)
          })
      end
    end)
  end

  defp valid?(:timeout, value), do: is_integer(value) and value in 1..0xFFFF_FFFF
  defp valid?(:max_atoms, value), do: is_integer(value) and value in 1..1_000_000
  defp valid?(:max_message, value), do: is_integer(value) and value in 1..0xFFFF_FFFF
  defp valid?(:connect_timeout, value), do: value == :infinity or valid?(:timeout, value)
  defp valid?(:reconnect, value) when is_boolean(value), do: true

  defp valid?(:reconnect, [_ | _] = limits) do
    Keyword.keyword?(limits) and
      Enum.all?(limits, fn {limit, value} ->
        limit in [:max_attempts, :deadline] and valid?(:timeout, value)
      end)
  end

  defp valid?(:reconnect, _value), do: false
  defp valid?(:owner, value), do: is_pid(value) and node(value) == node()
  defp valid?(option, value) when option in @booleans, do: is_boolean(value)
  defp valid?(:route, value), do: value in @routes
  defp valid?(:protocol, value), do: value in @protocols
  defp valid?(:cookie_from, value), do: value in [:spec, :exec]
  defp valid?(:port, value), do: is_integer(value) and value in 1..0xFFFF
  defp valid?(option, value) when option in [:progress, :confirm], do: is_function(value, 1)

  defp valid?(:cookie, value),
    do: (is_atom(value) or is_binary(value)) and byte_size(to_string(value)) in 1..255

  defp valid?(_text, value), do: text?(value)

  defp text?(value), do: is_binary(value) and String.valid?(value) and value != ""

  defp expected(:timeout), do: "a positive number of milliseconds"
  defp expected(:max_atoms), do: "a number from 1 to 1000000"
  defp expected(:max_message), do: "a positive number of bytes, less than 4 GiB"
  defp expected(:connect_timeout), do: "a positive number of milliseconds or :infinity"
  defp expected(:reconnect), do: "true, false or [max_attempts: number, deadline: milliseconds]"
  defp expected(:owner), do: "a local pid"
  defp expected(option) when option in @booleans, do: "true or false"
  defp expected(:route), do: ":auto, :vm, :kernel or :exec"
  defp expected(:protocol), do: ":auto, :spdy, :websocket or :v4"
  defp expected(:cookie_from), do: ":spec or :exec"
  defp expected(:port), do: "a port, from 1 to 65535"
  defp expected(option) when option in [:progress, :confirm], do: "a function of one argument"
  defp expected(:cookie), do: "an atom or a string of 1 to 255 bytes"
  defp expected(_text), do: "a non-empty string"

  # The value may contain a cookie, so only its type is shown.
  defp kind(options) when is_list(options), do: "another list"
  defp kind(options) when is_map(options), do: "a map"
  defp kind(_options), do: "something else"

  # A cookie is never shown, not even an invalid one.
  defp printable_value(:cookie, _value), do: :something_else
  defp printable_value(_option, value), do: value

  defp failed(kind, details), do: {:error, Error.new(:options, {kind, details})}
end
