defmodule K8sConnect.OptionsTest do
  # Not async: one test changes the application's environment.
  use ExUnit.Case, async: false

  alias K8sConnect.{Error, Options}

  # The same mistake raises where a program calls, and is an error where a command line is checked.
  defp reason(options) do
    assert {:error, %Error{stage: :options, reason: {kind, _details}} = error} =
             Options.check_pods(options)

    assert_raise ArgumentError, Exception.message(error), fn -> Options.pods(options) end
    assert_raise ArgumentError, Exception.message(error), fn -> K8sConnect.pods(options) end
    kind
  end

  defp reason(target, options) do
    assert {:error, %Error{stage: :options, reason: {kind, _details}} = error} =
             Options.check(target, options)

    message = Exception.message(error)
    assert_raise ArgumentError, message, fn -> Options.connect(target, options) end
    assert_raise ArgumentError, message, fn -> K8sConnect.connect(target, options) end

    # An examination needs no target.
    if kind != :no_target,
      do:
        assert_raise(ArgumentError, message, fn -> K8sConnect.Doctor.examine(target, options) end)

    kind
  end

  test "defaults of missing options" do
    {options, _query} = Options.pods(context: "prod", timeout: 5, namespace: nil)
    assert %{context: "prod", timeout_ms: 5, namespace: nil, kubeconfig: nil} = options
    assert {%{timeout_ms: 15_000}, _query} = Options.pods([])
  end

  test "unknown options" do
    assert reason(contxt: "prod") == :unknown_option
    assert reason(:context) == :not_a_keyword
    assert reason([1]) == :not_a_keyword
  end

  test "a connection needs a target or a selector" do
    assert reason(nil, []) == :no_target
    assert reason(:app, []) == :invalid_option

    assert {:ok, %{target: %{target: nil, labels: "a=b", cookie: :spec}}} =
             Options.connect(nil, selector: "a=b")
  end

  test "sudo and visible imply the kernel route" do
    route = fn options ->
      assert {:ok, %{route: route}} = Options.connect("app-0", options)
      route
    end

    assert route.([]) == %{route: :auto, sudo: false, visible: false}
    assert route.(route: :vm) == %{route: :vm, sudo: false, visible: false}
    assert route.(sudo: true) == %{route: :kernel, sudo: true, visible: false}
    assert route.(visible: true, route: :auto) == %{route: :kernel, sudo: false, visible: true}

    for options <- [[sudo: true, route: :vm], [visible: true, route: :vm]],
        do: assert(reason("app-0", options) == :kernel_only)

    assert reason("app-0", route: :tunnel) == :invalid_option
    assert reason("app-0", tls_ca: "ca", tls_cert: "cert") == :missing_option
    assert reason("app-0", tls_cert: "cert", tls_key: "key") == :missing_option
    assert reason("app-0", audit_arguments: true) == :missing_option
    assert reason("app-0", sudo: "yes") == :invalid_option
  end

  test "the protocols" do
    assert {:ok, %{target: %{protocol: :auto}}} = Options.connect("app-0", [])
    assert {:ok, %{target: %{protocol: :v4}}} = Options.connect("app-0", protocol: :v4)

    assert reason("app-0", protocol: :http) == :invalid_option
  end

  test "a given cookie replaces the search for one" do
    assert {:ok, %{cookie: cookie, target: %{cookie: :nowhere}}} =
             Options.connect("app-0", cookie: :secret)

    assert cookie.() == "secret"

    file = Path.join(System.tmp_dir!(), "k8s_connect-cookie-#{System.pid()}")
    on_exit(fn -> File.rm(file) end)
    File.write!(file, "from a file\n")
    assert {:ok, options} = Options.connect("app-0", cookie_file: file)
    assert options.cookie.() == "from a file"
    assert options.cookie_source == "the file #{file}"

    assert {:error, error} = Options.connect("app-0", cookie_file: "/does/not/exist")
    assert {:no_cookie_file, %{problem: "no such file or directory"}} = error.reason
  end

  test "an option replaces the default of an option that it excludes" do
    on_exit(fn ->
      for name <- [:selector, :cookie], do: Application.delete_env(:k8s_connect, name)
    end)

    Application.put_env(:k8s_connect, :selector, "app=web")
    assert {:ok, %{target: %{target: "app-0", labels: nil}}} = Options.connect("app-0", [])
    assert {:ok, %{target: %{target: nil, labels: "app=web"}}} = Options.connect(nil, [])

    assert reason("app-0", selector: "a=b") == :target_and_selector

    Application.put_env(:k8s_connect, :cookie, "configured")
    assert {:ok, %{cookie_source: "the option :cookie"}} = Options.connect("app-0", [])

    assert {:error, %{reason: {:no_cookie_file, _}}} =
             Options.connect("app-0", cookie_file: "/does/not/exist")

    assert {:error, %{reason: {:invalid_cookie_file, %{size: size}}}} =
             Options.connect("app-0", cookie_file: "mix.exs")

    assert size > 255
  end

  test "an invalid cookie is not shown" do
    assert {:error, error} = Options.check("app-0", %{cookie: "my-secret"})
    refute inspect(error) =~ "my-secret"
    assert reason("app-0", %{cookie: "my-secret"}) == :not_a_keyword

    assert {:error, error} = Options.check("app-0", cookie: ["my-secret"])
    refute inspect(error) =~ "my-secret"
    assert {:invalid_option, %{option: :cookie}} = error.reason
  end

  test "options replace defaults of the configuration" do
    Application.put_env(:k8s_connect, :namespace, "shop")
    on_exit(fn -> Application.delete_env(:k8s_connect, :namespace) end)
    assert {:ok, %{api: %{namespace: "shop"}}} = Options.connect("app-0", [])
    assert {:ok, %{api: %{namespace: "other"}}} = Options.connect("app-0", namespace: "other")
  end

  test "options replace those of a configured target" do
    targets = [prod: [context: "prod", namespace: "shop", target: "sts/app"]]
    Application.put_env(:k8s_connect, :targets, targets)
    on_exit(fn -> Application.delete_env(:k8s_connect, :targets) end)
    assert {:ok, options} = Options.connect("prod", namespace: "other")
    assert options.target.target == "sts/app"
    assert %{context: "prod", namespace: "other"} = options.api
    assert {:ok, %{target: %{target: "app-0"}}} = Options.connect("app-0", [])
  end

  test "pods of a target, of labels, and of all namespaces" do
    targets = [
      prod: [context: "prod", target: "sts/app", trust: true],
      web: [selector: "app=web"]
    ]

    Application.put_env(:k8s_connect, :targets, targets)
    Application.put_env(:k8s_connect, :selector, "of=connections")

    on_exit(fn ->
      for name <- [:targets, :selector], do: Application.delete_env(:k8s_connect, name)
    end)

    assert {%{context: nil}, query} = Options.pods([])
    assert query == %{target: nil, labels: nil, all_namespaces: false}
    assert {%{context: "prod"}, %{target: "sts/app", labels: nil}} = Options.pods(target: "prod")
    assert {_api, %{target: nil, labels: "app=web"}} = Options.pods(target: "web")
    assert {_api, %{all_namespaces: true}} = Options.pods(all_namespaces: true)

    for {options, kind} <- [
          {[target: "prod", selector: "a=b"], :target_and_selector},
          {[target: ""], :invalid_option},
          {[all_namespaces: 1], :invalid_option},
          {[trust: true], :unknown_option}
        ],
        do: assert({:error, %{reason: {^kind, _details}}} = Options.check_pods(options))
  end

  test "an unknown key in the configuration is an error" do
    Application.put_env(:k8s_connect, :protekt, ["prod"])
    on_exit(fn -> Application.delete_env(:k8s_connect, :protekt) end)
    assert {:error, %{reason: {:unknown_configuration, details}}} = Options.check("app-0", [])
    assert %{key: :protekt} = details
    assert reason("app-0", []) == :unknown_configuration
    assert reason([]) == :unknown_configuration
  end

  test "configured targets and protected contexts have a type" do
    on_exit(fn ->
      for name <- [:targets, :protect], do: Application.delete_env(:k8s_connect, name)
    end)

    for {name, value} <- [
          targets: ["app-0"],
          targets: [prod: "app-0"],
          protect: "prod*",
          protect: [:prod]
        ] do
      Application.put_env(:k8s_connect, name, value)
      assert reason("app-0", []) == :invalid_configuration
      assert reason([]) == :invalid_configuration
      Application.delete_env(:k8s_connect, name)
    end
  end

  test "a configured value is checked like an option" do
    Application.put_env(:k8s_connect, :timeout, 0)
    on_exit(fn -> Application.delete_env(:k8s_connect, :timeout) end)
    assert reason("app-0", []) == :invalid_option
    assert reason([]) == :invalid_option
  end

  test "an interactive login has no default deadline" do
    timeout = fn options ->
      {:ok, checked} = Options.connect("app-0", options)
      checked.connect_timeout
    end

    assert timeout.([]) == 60_000
    assert timeout.(interactive: true) == :infinity
    assert timeout.(interactive: true, connect_timeout: 5) == 5
    assert reason("app-0", connect_timeout: 0) == :invalid_option
    assert reason("app-0", owner: :me) == :invalid_option
  end

  test "values of another type" do
    for value <- [:prod, "", 1, 'prod', "\xff"],
        do: assert(reason(context: value) == :invalid_option)

    for value <- [0, -1, 1.5, "1", :infinity, 0x1_0000_0000],
        do: assert(reason(timeout: value) == :invalid_option)
  end
end
