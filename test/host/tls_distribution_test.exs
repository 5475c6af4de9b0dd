defmodule K8sConnect.TLSDistributionTest do
  # Nodes whose distribution is over TLS, with certificates on both sides, of each OTP and on both routes.
  use ExUnit.Case, async: false

  import K8sConnect.Ground
  import K8sConnect.Tmp

  @moduletag :host
  @moduletag timeout: 300_000

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
        none: [],
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
          none: "tls_only could not connect: the distribution of node",
          authority: "tls_failed .*: its certificate is signed by an unknown authority",
          certificate: "tls_failed .*: it rejects our certificate",
          no_certificate: "tls_failed .*: it may require a certificate of its peer",
          no_file: "unusable_tls_files .*/nowhere/ca.crt: No such file",
          host: "tls_failed .*: its certificate is for .*other-0.other.*, not for astray-0.astray"
        ],
        do: assert(output =~ ~r/^result #{what} #{expected}/m, output)

    output = doctor(hd(targets), tmp_dir)
    assert output =~ ~r/✓ listener +port 5555 of the pod's loopback address, with TLS/
    assert output =~ ~r/✓ connection +connected to app@tls25-0/
    for route <- ["vm", "kernel"], do: assert(output =~ ~r/✓ #{route} +(connected|works)/, output)
  end

  defp doctor(target, files) do
    [name, _number] = String.split(target, "-0")
    file = &Path.join([files, name, &1])
    words = ~w(laptop --helper mix k8s.doctor #{target} --tls-ca #{file.("ca.crt")})
    words = words ++ ~w(--tls-cert #{file.("tls.crt")} --tls-key #{file.("tls.key")})
    {output, _code} = cluster(@name, words, [{"MIX_ENV", "dev"}])
    output
  end

  # With a certificate for the pod of `host`.
  defp deploy(name, release, directory, host) do
    own = Path.join(directory, name)
    certificates("#{host}-0.#{host}.default.svc.cluster.local", own)
    files = for file <- ~w(ca.crt tls.crt tls.key), do: "--from-file=#{file}=#{own}/node/#{file}"
    cluster!(@name, ~w(kubectl create secret generic #{name}-nodes-tls) ++ files)
    options = "--from-literal=inter_node_tls.config=#{@options}"
    cluster!(@name, ~w(kubectl create configmap #{name}-tls-options) ++ [options])
    cluster!(@name, ~w(app #{name} --variant tls --otp #{release}))
  end

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
