defmodule K8sConnect.Gateway do
  @moduledoc """
  A gateway in front of the API server: an nginx or a haproxy on this machine's loopback, which ends
  TLS with a certificate of its own, as companies have them.
  """

  import ExUnit.Assertions

  alias K8sConnect.Daemon

  @server "10.200.0.1:6443"

  @doc """
  Starts one in `directory`, until the end of the test, and answers a kubeconfig that leads through
  it. `program` is `:nginx` or `:haproxy`, `rules` what it has to do with requests.
  """
  def start(program, directory, rules, user \\ "token") do
    port = Daemon.free_port()
    name = "gateway#{port}"
    pem = Path.join(directory, "#{name}.pem")
    certificate(pem, directory)
    config = Path.join(directory, "#{name}.conf")
    File.write!(config, config(program, rules, port, pem, directory))
    Daemon.start(command(program) ++ [config], port)
    kubeconfig(directory, name, port, pem, user)
  end

  defp command(:nginx), do: ~w(nginx -e stderr -c)
  defp command(:haproxy), do: ~w(haproxy -db -f)

  defp config(:nginx, rules, port, pem, directory) do
    temp =
      for what <- ~w(client_body proxy fastcgi uwsgi scgi), do: "#{what}_temp_path #{directory};"

    """
    daemon off;
    pid #{directory}/nginx#{port}.pid;
    error_log stderr;
    events {}
    http {
      access_log off;
      #{temp}
      map $http_upgrade $only_websocket { websocket websocket; }
      map $http_upgrade $only_upgrade { default close; websocket upgrade; }
      map $http_upgrade $not_websocket { default 1; "" 0; websocket 0; }
      server {
        listen 127.0.0.1:#{port} ssl;
        ssl_certificate #{pem};
        ssl_certificate_key #{pem};
        location / {
          proxy_pass https://#{@server};
          proxy_http_version 1.1;
          #{rules}
        }
      }
    }
    """
  end

  defp config(:haproxy, rules, port, pem, _directory) do
    """
    defaults
      mode http
      timeout connect 5s
      timeout client 12s
      timeout server 12s
      timeout tunnel 12s
    frontend gateway
      bind 127.0.0.1:#{port} ssl crt #{pem}
      #{rules}
      default_backend api
    backend api
      server api #{@server} ssl verify none
    """
  end

  @doc """
  Writes a certificate of 127.0.0.1 and its key to `pem`.
  """
  def certificate(pem, directory) do
    # One that says that it may sign others would not be taken for a server's own.
    [key, config] = for name <- ~w(key.pem openssl.conf), do: Path.join(directory, name)

    File.write!(config, """
    [req]
    distinguished_name = name
    x509_extensions = extensions
    [name]
    [extensions]
    subjectAltName = IP:127.0.0.1
    """)

    words =
      ~w(req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=gateway)

    files = ["-config", config, "-keyout", key, "-out", pem]
    {output, status} = System.cmd("openssl", words ++ files, stderr_to_stdout: true)
    assert status == 0, output
    File.write!(pem, File.read!(key), [:append])
  end

  defp kubeconfig(directory, name, port, pem, user) do
    path = Path.join(directory, "#{name}.kubeconfig")
    certificate = pem |> File.read!() |> String.split("-----BEGIN PRIVATE KEY") |> hd()

    text =
      Path.expand("~/.kube/#{user}")
      |> File.read!()
      |> String.replace(@server, "127.0.0.1:#{port}")
      |> String.replace(
        ~r/certificate-authority-data: .*/,
        "certificate-authority-data: #{Base.encode64(certificate)}"
      )

    File.write!(path, text)
    path
  end
end
