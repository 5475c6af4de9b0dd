defmodule K8sConnect.LoginServerTest do
  # The ways to a server, and servers that fail or are busy, from the laptop.
  # Not async: this VM becomes a node.
  use ExUnit.Case, async: false

  import K8sConnect.{Daemon, KubeconfigCalls, Tmp}

  alias K8sConnect.{Error, Kubeconfig, PlainServer}

  @moduletag :cluster

  @no_pods no_pods()

  setup :tmp_dir

  describe "the server" do
    test "at an IPv6 address, whose certificate has another name", %{tmp_dir: tmp_dir} do
      address = {0, 0, 0, 0, 0, 0, 0, 1}
      port = free_port(address)
      file = Path.join(tmp_dir, "haproxy.cfg")

      File.write!(file, """
      defaults
        mode tcp
        timeout connect 5s
        timeout client 1m
        timeout server 1m
      listen api
        bind [::1]:#{port}
        server api 10.200.0.1:6443
      """)

      start(["haproxy", "-db", "-f", file], port, address)
      server = "server: 'https://[::1]:#{port}'"
      assert {:cluster, {:tls, _}} = failure(Kubeconfig.write(tmp_dir, [server]))
      cluster = [server, "tls-server-name: 10.200.0.1"]
      assert_connects(kubeconfig: Kubeconfig.write(tmp_dir, cluster))
      cluster = [server, "insecure-skip-tls-verify: true", "certificate-authority: none"]
      assert_connects(kubeconfig: Kubeconfig.write(tmp_dir, cluster))
    end

    test "behind a path, with its authority in a file", %{tmp_dir: tmp_dir} do
      port = free_port()
      file = Path.join(tmp_dir, "nginx.conf")

      File.write!(file, """
      daemon off;
      pid #{tmp_dir}/nginx.pid;
      error_log stderr;
      events {}
      http {
        access_log off;
        client_body_temp_path #{tmp_dir}/body;
        proxy_temp_path #{tmp_dir}/proxy;
        fastcgi_temp_path #{tmp_dir}/fastcgi;
        uwsgi_temp_path #{tmp_dir}/uwsgi;
        scgi_temp_path #{tmp_dir}/scgi;
        map $http_upgrade $end_or_upgrade { default upgrade; '' ''; }
        server {
          listen 127.0.0.1:#{port};
          location /k8s/clusters/c-1/ {
            proxy_pass https://10.200.0.1:6443/;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $end_or_upgrade;
            proxy_set_header Authorization "Bearer #{Kubeconfig.token()}";
          }
        }
      }
      """)

      start(["nginx", "-c", file, "-e", "stderr", "-p", tmp_dir], port)

      cluster = [
        "server: http://127.0.0.1:#{port}/k8s/clusters/c-1",
        "certificate-authority: none"
      ]

      # Over plain HTTP no credentials are sent, so the gateway adds its own.
      assert_connects(kubeconfig: Kubeconfig.write(tmp_dir, cluster, []))

      authority = Base.decode64!(Kubeconfig.part("certificate-authority-data"))
      File.write!(Path.join(tmp_dir, "ca.pem"), authority)
      assert_connects(kubeconfig: Kubeconfig.write(tmp_dir, ["certificate-authority: ca.pem"]))
    end

    test "whose certificate is not valid yet, or not any more", %{tmp_dir: tmp_dir} do
      {:ok, _started} = Application.ensure_all_started(:ssl)
      year = 365 * 24 * 3600
      now = System.os_time(:second)

      for {from, to, kind} <- [
            {now + year, now + 2 * year, :server_certificate_not_yet_valid},
            {now - 2 * year, now - year, :server_certificate_expired}
          ] do
        {port, authority} = tls_server(tmp_dir, {from, to})

        cluster = [
          "server: https://127.0.0.1:#{port}",
          "certificate-authority-data: #{authority}"
        ]

        assert {:cluster, {^kind, details}} = failure(Kubeconfig.write(tmp_dir, cluster))
        assert {:ok, told, 0} = DateTime.from_iso8601(details.now)
        assert abs(DateTime.to_unix(told) - now) < 60
        assert {:ok, _time, 0} = DateTime.from_iso8601(details[:not_before] || details.not_after)
      end
    end

    # Answers its port, and the authority of its certificate as a kubeconfig has it.
    defp tls_server(folder, {from, to}) do
      folder = Path.join(folder, "#{from}")
      File.mkdir!(folder)
      File.write!(Path.join(folder, "index"), "")

      File.write!(Path.join(folder, "ca.cnf"), """
      [ca]
      default_ca = own
      [own]
      database = index
      new_certs_dir = .
      private_key = ca.key
      certificate = ca.pem
      default_md = sha256
      rand_serial = yes
      policy = any
      x509_extensions = server
      [any]
      commonName = supplied
      [server]
      subjectAltName = IP:127.0.0.1
      """)

      new_key = ~w(-newkey rsa:2048 -nodes)
      openssl(folder, ~w(req -x509 -subj /CN=ca -days 9 -keyout ca.key -out ca.pem) ++ new_key)
      openssl(folder, ~w(req -subj /CN=server -keyout server.key -out server.csr) ++ new_key)
      dates = ["-startdate", asn1(from), "-enddate", asn1(to)]

      openssl(
        folder,
        ~w(ca -config ca.cnf -batch -notext -in server.csr -out server.pem) ++ dates
      )

      options = [
        certfile: Path.join(folder, "server.pem"),
        keyfile: Path.join(folder, "server.key")
      ]

      {:ok, listener} =
        :ssl.listen(0, [ip: {127, 0, 0, 1}, active: false, log_level: :none] ++ options)

      {:ok, {_address, port}} = :ssl.sockname(listener)

      spawn_link(fn ->
        {:ok, socket} = :ssl.transport_accept(listener)
        # It fails, by what the test is about.
        _ = :ssl.handshake(socket)
        Process.sleep(:infinity)
      end)

      {port, Base.encode64(File.read!(Path.join(folder, "ca.pem")))}
    end

    defp openssl(folder, words) do
      {output, status} = System.cmd("openssl", words, cd: folder, stderr_to_stdout: true)
      assert status == 0, output
    end

    defp asn1(time), do: time |> DateTime.from_unix!() |> Calendar.strftime("%Y%m%d%H%M%SZ")

    test "that hangs up", %{tmp_dir: tmp_dir} do
      {:ok, listener} = :gen_tcp.listen(0, ip: {127, 0, 0, 1}, active: false)
      {:ok, port} = :inet.port(listener)

      spawn_link(fn ->
        for _ <- 1..2 do
          {:ok, socket} = :gen_tcp.accept(listener)
          {:ok, _hello} = :gen_tcp.recv(socket, 0)
          :gen_tcp.close(socket)
        end
      end)

      for scheme <- ["https", "http"] do
        kubeconfig = Kubeconfig.write(tmp_dir, ["server: #{scheme}://127.0.0.1:#{port}"])
        assert {:cluster, {:connection_closed, _}} = failure(kubeconfig)
      end
    end
  end

  describe "too many requests" do
    @busy {"429 Too Many Requests", ["Retry-After: 1"],
           "too many requests, please try again later"}

    test "and the server is asked again when it says", %{tmp_dir: tmp_dir} do
      counter = :counters.new(1, [])

      answer = fn _head, _body ->
        :counters.add(counter, 1, 1)
        if :counters.get(counter, 1) == 1, do: @busy, else: PlainServer.json(@no_pods)
      end

      kubeconfig = plain(tmp_dir, answer)
      {time, {:ok, []}} = :timer.tc(fn -> pods(kubeconfig) end)
      assert time > 1_000_000
      assert :counters.get(counter, 1) == 2
    end

    test "for longer than a request may take", %{tmp_dir: tmp_dir} do
      kubeconfig = plain(tmp_dir, fn _head, _body -> @busy end)
      assert {:cluster, {:too_many_requests, details}} = failure(kubeconfig, timeout: 900)
      assert details.message =~ "try again later"

      assert {:error, %Error{reason: {:too_many_requests, _}}} =
               K8sConnect.connect("app-0", kubeconfig: kubeconfig, timeout: 900)
    end
  end
end
