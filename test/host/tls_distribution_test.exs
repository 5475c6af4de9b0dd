defmodule K8sConnect.TLSDistributionTest do
  # Nodes whose distribution is over TLS, with certificates on both sides, of each OTP and on both routes: with files of
  # this machine, and with what the pod's spec leads to.
  use ExUnit.Case, async: false

  import K8sConnect.Ground
  import K8sConnect.Tmp

  @moduletag :host
  @moduletag timeout: 600_000

  @name "secure"
  @releases ~w(25 27 newest)
  @config "/etc/erlang/certs"
  @options """
  % Of the server and of the client
  [{server, [{cacertfile, "#{@config}/ca.crt"}, {certfile, "#{@config}/tls.crt"}, {keyfile, "#{@config}/tls.key"},
             {verify, verify_peer}, {fail_if_no_peer_cert, true}]},
   {client, [{cacertfile, "#{@config}/ca.crt"}, {certfile, "#{@config}/tls.crt"}, {keyfile, "#{@config}/tls.key"},
             {verify, verify_peer}]}].
  """

  # Connects to each target by each route with the files, and then with wrong ones.
  @program """
  [files | targets] = System.argv()
  file = &Path.join([files, &1, &2])
  with_files = fn name, options ->
    Keyword.merge([tls_ca: file.(name, "ca.crt"), tls_cert: file.(name, "tls.crt"), tls_key: file.(name, "tls.key")], options)
  end

  for target <- targets, route <- [:vm, :kernel] do
    [name, _number] = String.split(target, "-0")
    {:ok, connection} = K8sConnect.connect(target, with_files.(name, route: route))
    true = :erpc.call(connection.node, :erlang, :node, []) == connection.node
    data = :crypto.strong_rand_bytes(3_000_000)
    ^data = :erpc.call(connection.node, :lists, :last, [[data]])
    IO.puts("result \#{target} \#{route} \#{connection.node}")
    :ok = K8sConnect.disconnect(connection)
  end

  [target | _more] = targets
  [name, _number] = String.split(target, "-0")

  for {what, options} <- [
        forbidden: [],
        authority: with_files.(name, tls_ca: file.("other", "ca.crt")),
        certificate: with_files.(name, tls_cert: file.("other", "tls.crt"), tls_key: file.("other", "tls.key")),
        no_certificate: [tls_ca: file.(name, "ca.crt")],
        no_file: with_files.("nowhere", [])
      ] do
    {:error, error} = K8sConnect.connect(target, [route: :vm] ++ options)
    IO.puts("result \#{what} \#{elem(error.reason, 0)} \#{Exception.message(error)}")
  end

  {:error, error} = K8sConnect.connect("astray-0", with_files.("astray", route: :vm))
  IO.puts("result host \#{elem(error.reason, 0)} \#{Exception.message(error)}")
  """

  # Without any option. The node halts, and then its pod is replaced.
  @followed """
  [directory, target | targets] = System.argv()

  for target <- [target | targets], route <- [:vm, :kernel] do
    {:ok, connection} = K8sConnect.connect(target, route: route)
    true = :erpc.call(connection.node, :erlang, :node, []) == connection.node
    IO.puts("result \#{target} \#{route} \#{connection.node}")
    :ok = K8sConnect.disconnect(connection)
  end

  {:ok, connection} = K8sConnect.connect(target, log: false)
  reference = K8sConnect.subscribe(connection)
  await = fn await, is_it? ->
    receive do
      {:k8s_connect, ^reference, {:up, connection}} ->
        if is_it?.(connection), do: connection, else: await.(await, is_it?)

      {:k8s_connect, ^reference, {:down, error}} ->
        raise error
    end
  end

  creation = &:erpc.call(&1.node, :erlang, :system_info, [:creation])
  before = creation.(connection)
  :ok = :erpc.cast(connection.node, :erlang, :halt, [1])

  # The first event can be of the connection that is being lost.
  restarted? = fn again ->
    try do
      again.uid == connection.uid and creation.(again) != before
    rescue
      ErlangError -> false
    end
  end

  again = await.(await, restarted?)
  IO.puts("result restarted \#{:erpc.call(again.node, :erlang, :node, [])}")
  File.touch!(Path.join(directory, "restarted"))
  again = await.(await, &(&1.uid != connection.uid))
  IO.puts("result replaced \#{:erpc.call(again.node, :erlang, :node, [])}")
  """

  setup :tmp_dir

  setup do
    cluster(@name, ["down"])
    on_exit(fn -> cluster(@name, ["down"]) end)
    cluster!(@name, ["up"])
    cluster!(@name, ~w(laptop mix compile))
    :ok
  end

  test "connects with certificates, and tells what is wrong without", %{tmp_dir: tmp_dir} do
    # The laptop's user reads them.
    File.chmod!(tmp_dir, 0o755)
    apps = for release <- @releases, do: {"tls#{String.slice(release, 0, 3)}", release}
    for {name, release} <- apps, do: deploy(name, release, tmp_dir, name)
    deploy("astray", "25", tmp_dir, "other")
    certificates("other.default", Path.join(tmp_dir, "other"))
    targets = for {name, _release} <- apps, do: "#{name}-0"
    words = ~w(laptop --helper mix run -e) ++ [@program, tmp_dir | targets]
    {output, status} = cluster(@name, words, [{"MIX_ENV", "dev"}])
    assert status == 0, output

    for target <- targets,
        route <- ["vm", "kernel"],
        do: assert(output =~ ~r/^result #{target} #{route} app@#{target}\./m, output)

    for {what, expected} <- [
          forbidden: "forbidden permission denied: could not get configmaps",
          authority: "tls_failed .*: its certificate is from an unknown certificate authority",
          certificate: "tls_failed .*: it rejects our certificate",
          no_certificate: "tls_failed .*: it may require a certificate of its peer",
          no_file: "unusable_tls_files .*/nowhere/ca.crt: No such file",
          host:
            "tls_failed .*: the node's certificate is for .*other-0.other.*, not for astray-0.astray"
        ],
        do: assert(output =~ ~r/^result #{what} #{expected}/m, output)

    output = doctor(hd(targets), files(hd(targets), tmp_dir))
    assert output =~ ~r/✓ listener +port 5555 of the pod's loopback address, with TLS/
    assert output =~ ~r/✓ connection +connected to app@tls25-0/
    for route <- ["vm", "kernel"], do: assert(output =~ ~r/✓ #{route} +(connected|works)/, output)
  end

  test "follows the pod's spec to the certificates, without any option", %{tmp_dir: tmp_dir} do
    File.chmod!(tmp_dir, 0o777)
    apps = for release <- @releases, do: {"tls#{String.slice(release, 0, 3)}", release, "tls"}
    apps = apps ++ [{"operator", "27", "tls-operator"}]

    for {name, release, variant} <- apps do
      if variant == "tls-operator", do: server_conf(name)
      deploy(name, release, tmp_dir, name, variant)
    end

    # What each of the two Secrets and ConfigMaps is read for.
    for {app, map} <- [{"tls25", "tls25-tls-options"}, {"operator", "operator-server-conf"}] do
      output = mix(~w[k8s.connect #{app}-0 --rpc node()])
      assert output =~ "permission denied: could not get configmaps", output
      assert output =~ ~s(configmaps "#{map}" is forbidden), output
    end

    assert doctor("tls25-0") =~
             ~r/resources: \[configmaps\], resourceNames: \[tls25-tls-options\], verbs: \[get\]}  # missing: get/

    names = for {name, _release, _variant} <- apps, do: name
    maps = for name <- names, map <- ~w(tls-options server-conf), do: "#{name}-#{map}"
    allow("maps", "configmaps", maps)

    for app <- ["tls25", "operator"] do
      output = mix(~w[k8s.connect #{app}-0 --rpc node()])
      assert output =~ "permission denied: could not get secrets", output

      missing =
        ~r/resources: \[secrets\], resourceNames: \[#{app}-nodes-tls\], verbs: \[get\]}  # missing: get/

      assert doctor("#{app}-0") =~ missing
    end

    allow("certificates", "secrets", for(name <- names, do: "#{name}-nodes-tls"))
    targets = for name <- Enum.reverse(names), do: "#{name}-0"
    program = start(@name, ~w(--helper mix run -e) ++ [@followed, tmp_dir | targets])
    await(fn -> File.exists?(Path.join(tmp_dir, "restarted")) or exited?(program) end, 240)
    cluster!(@name, ~w(kubectl delete pod operator-0 --wait=false))
    {output, status} = ended(program, 120_000)
    assert status == 0, output

    for target <- targets,
        route <- ["vm", "kernel"],
        do: assert(output =~ ~r/^result #{target} #{route} app@#{target}\./m, output)

    for what <- ["restarted", "replaced"],
        do: assert(output =~ ~r/^result #{what} app@operator-0\./m, output)

    output = doctor("operator-0")

    assert output =~
             ~r/✓ listener .* with TLS: certificates from Secret operator-nodes-tls \(-ssl_dist_optfile/

    assert output =~ ~r/✓ connection +connected to app@operator-0/
    refute output =~ "# missing"
    # Options win over the spec.
    output = mix(~w[k8s.connect tls25-0 --tls-ca /nowhere/ca.crt --rpc node()])
    assert output =~ "/nowhere/ca.crt: No such file", output
  end

  # A program that has failed is reported by the assertions on its output.
  defp exited?(port), do: Port.info(port) == nil

  defp mix(words) do
    {output, _code} = cluster(@name, ["laptop", "mix" | words], [{"MIX_ENV", "dev"}])
    output
  end

  defp allow(name, resource, names) do
    named = for object <- names, do: "--resource-name=#{object}"
    cluster!(@name, ~w(kubectl create role #{name} --verb=get --resource=#{resource}) ++ named)
    cluster!(@name, ~w(kubectl create rolebinding #{name} --role=#{name} --user=dev))
  end

  # As the operator writes it from `envConfig`.
  defp server_conf(name) do
    flags = "-proto_dist inet_tls -ssl_dist_optfile /etc/rabbitmq/inter-node-tls.config"
    conf = ~s(--from-literal=rabbitmq-env.conf=SERVER_ADDITIONAL_ERL_ARGS="#{flags}")
    cluster!(@name, ~w(kubectl create configmap #{name}-server-conf) ++ [conf])
  end

  defp files(target, directory) do
    [name, _number] = String.split(target, "-0")
    file = &Path.join([directory, name, &1])
    ~w(--tls-ca #{file.("ca.crt")} --tls-cert #{file.("tls.crt")} --tls-key #{file.("tls.key")})
  end

  defp doctor(target, options \\ []) do
    words = ~w(laptop --helper mix k8s.doctor #{target}) ++ options
    {output, _code} = cluster(@name, words, [{"MIX_ENV", "dev"}])
    output
  end

  # With a certificate for the pod of `host`.
  defp deploy(name, release, directory, host, variant \\ "tls") do
    own = Path.join(directory, name)
    certificates("#{host}-0.#{host}.default.svc.cluster.local", own)
    files = for file <- ~w(ca.crt tls.crt tls.key), do: "--from-file=#{file}=#{own}/node/#{file}"
    cluster!(@name, ~w(kubectl create secret generic #{name}-nodes-tls) ++ files)
    options = String.replace(@options, @config, mounted(variant))
    options = "--from-literal=inter_node_tls.config=#{options}"
    cluster!(@name, ~w(kubectl create configmap #{name}-tls-options) ++ [options])
    cluster!(@name, ~w(app #{name} --variant #{variant} --otp #{release}))
  end

  defp mounted("tls"), do: @config
  defp mounted("tls-operator"), do: "/etc/rabbitmq/certs"

  # Files of the node in `directory`/node, and of its peers in `directory`.
  defp certificates(host, directory) do
    # Not of elliptic curves: OTP 25 gives their signatures parameters, which no other program accepts.
    options = [key: {:rsa, 2048, 65_537}, digest: :sha256]
    host = {:Extension, {2, 5, 29, 17}, false, [{:dNSName, to_charlist(host)}]}
    chain = %{root: options, intermediates: [options], peer: [{:extensions, [host]} | options]}
    data = :public_key.pkix_test_data(%{server_chain: chain, client_chain: chain})
    write(data.server_config, Path.join(directory, "node"))
    write(data.client_config, directory)
  end

  defp write(config, directory) do
    File.mkdir_p!(directory)
    {kind, key} = config[:key]
    [root | chain] = config[:cacerts]
    own = [config[:cert] | chain]
    pem(directory, "ca.crt", for(der <- [root | chain], do: {:Certificate, der, :not_encrypted}))
    pem(directory, "tls.crt", for(der <- own, do: {:Certificate, der, :not_encrypted}))
    pem(directory, "tls.key", [{kind, key, :not_encrypted}])
  end

  defp pem(directory, name, entries),
    do: File.write!(Path.join(directory, name), :public_key.pem_encode(entries))
end
