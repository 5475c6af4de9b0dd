defmodule Mix.K8sConnect.Build.DownloadTest do
  # Real HTTP and TLS, against servers in this VM.
  use ExUnit.Case, async: false

  alias K8sConnect.{PlainServer, TlsServer}
  alias Mix.K8sConnect.Build.Download

  defp url(port), do: "http://localhost:#{port}/file"

  defp serve(status, headers, body) do
    url(PlainServer.start(fn _head, _body -> {status, headers, body} end))
  end

  # Sends `bytes` for a request, and closes the connection, or keeps it open.
  defp raw(bytes, then) do
    {:ok, listener} = :gen_tcp.listen(0, [:binary, ip: {127, 0, 0, 1}, active: false])
    {:ok, port} = :inet.port(listener)

    spawn_link(fn ->
      {:ok, socket} = :gen_tcp.accept(listener)
      {:ok, _request} = :gen_tcp.recv(socket, 0)
      :ok = :gen_tcp.send(socket, bytes)
      if then == :close, do: :gen_tcp.close(socket), else: Process.sleep(:infinity)
    end)

    url(port)
  end

  test "a file" do
    body = :binary.copy("k8s_connect", 100_000)
    assert Download.get(serve("200 OK", [], body), %{}) == {:ok, body}
  end

  test "a redirect, also to another server" do
    target = serve("200 OK", [], "here")
    assert Download.get(serve("302 Found", ["Location: #{target}"], ""), %{}) == {:ok, "here"}
  end

  test "redirects without an end" do
    {:ok, counter} = Agent.start_link(fn -> 0 end)

    port =
      PlainServer.start(fn _head, _body ->
        n = Agent.get_and_update(counter, &{&1, &1 + 1})
        {"302 Found", ["Location: /#{n}"], ""}
      end)

    assert Download.get(url(port), %{}) == {:error, {:status, "more than 5 redirects"}}
  end

  test "a missing file" do
    assert Download.get(serve("404 Not Found", [], "none"), %{}) ==
             {:error, {:status, "HTTP status 404"}}
  end

  test "nobody listens" do
    {:ok, listener} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(listener)
    :gen_tcp.close(listener)
    assert Download.get(url(port), %{}) == {:error, {:network, "connection refused"}}
  end

  test "a host without a name" do
    assert Download.get("http://no-such-host.invalid/", %{}) ==
             {:error, {:network, "no such host"}}
  end

  test "half a file" do
    half = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" <> String.duplicate("x", 500)
    assert {:error, {:network, reason}} = Download.get(raw(half, :close), %{})
    assert reason == "the connection was closed before the end of the file"
  end

  test "a file that stops" do
    half = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" <> String.duplicate("x", 500)
    assert {:error, {:network, reason}} = Download.get(raw(half, :wait), %{}, 300)
    assert reason == "timed out after 300 ms without data"
  end

  test "a server whose certificate is not trusted, and one whose certificate is" do
    %{port: port, authority: authority} = TlsServer.start("here", "localhost")
    url = "https://localhost:#{port}/file"
    assert {:error, {:certificate, reason}} = Download.get(url, %{})
    assert reason =~ ~r/Unknown CA|Bad Certificate|self.signed/i
    assert Download.get(url, %{"HEX_CACERTS_PATH" => authority}) == {:ok, "here"}
  end

  test "a certificate for another name" do
    %{port: port, authority: authority} = TlsServer.start("here", "elsewhere.example")
    environment = %{"HEX_CACERTS_PATH" => authority}

    assert {:error, {:certificate, reason}} =
             Download.get("https://localhost:#{port}/file", environment)

    assert reason =~ "hostname_check_failed"
  end

  test "a missing file of certificate authorities" do
    assert Download.get("https://localhost:1/", %{"HEX_CACERTS_PATH" => "/none.pem"}) ==
             {:error, {:certificate, "no such file: /none.pem (HEX_CACERTS_PATH)"}}
  end

  test "through a proxy, with a login, also to a TLS server" do
    %{port: port, authority: authority} = TlsServer.start("here", "localhost")
    {proxy, seen} = TlsServer.proxy()
    proxy = "http://me:secret@localhost:#{proxy}"
    environment = %{"HTTPS_PROXY" => proxy, "HEX_CACERTS_PATH" => authority}
    assert Download.get("https://localhost:#{port}/file", environment) == {:ok, "here"}
    assert [head] = Agent.get(seen, & &1)
    assert head =~ "CONNECT localhost:#{port} HTTP/1.1"
    assert head =~ ~r/proxy-authorization: Basic #{Base.encode64("me:secret")}/i

    exempt = Map.put(environment, "NO_PROXY", "localhost")
    assert Download.get("https://localhost:#{port}/file", exempt) == {:ok, "here"}
    assert length(Agent.get(seen, & &1)) == 1
  end

  test "a proxy that is not an HTTP proxy, whose password is not shown" do
    for proxy <- ["socks5://me:secret@localhost:1", "https://me:secret@localhost:1", "http://"] do
      assert Download.get("https://example.invalid/", %{"HTTPS_PROXY" => proxy}) ==
               {:error, {:network, "unsupported: HTTPS_PROXY is not an http:// proxy"}}
    end
  end

  test "a login with an invalid percent-encoding is used as it is" do
    %{port: port, authority: authority} = TlsServer.start("here", "localhost")
    {proxy, seen} = TlsServer.proxy()
    proxy = "http://me:100%@localhost:#{proxy}"
    environment = %{"HTTPS_PROXY" => proxy, "HEX_CACERTS_PATH" => authority}
    assert Download.get("https://localhost:#{port}/file", environment) == {:ok, "here"}
    assert [head] = Agent.get(seen, & &1)
    assert head =~ Base.encode64("me:100%")
  end

  test "the login of a mirror is used, and not shown" do
    {:ok, seen} = Agent.start_link(fn -> nil end)

    port =
      PlainServer.start(fn head, _body ->
        Agent.update(seen, fn _ -> head end)
        {"200 OK", [], "here"}
      end)

    url = "http://me:secret@localhost:#{port}/v1/file"
    assert Download.get(url, %{}) == {:ok, "here"}
    assert Agent.get(seen, & &1) =~ ~r/authorization: Basic #{Base.encode64("me:secret")}/i
    assert Download.without_login(url) == "http://localhost:#{port}/v1/file"
  end

  test "something that is not a URL" do
    for url <- ["mirror/file", "file:///etc/passwd", "http://", "ftp://localhost/file"] do
      assert Download.get(url, %{}) == {:error, {:status, "not an http:// or https:// URL"}}
    end
  end

  test "a proxy that does not connect" do
    port = PlainServer.start(fn _head, _body -> {"403 Forbidden", [], ""} end)

    assert Download.get("https://example.invalid/", %{"HTTPS_PROXY" => "localhost:#{port}"}) ==
             {:error, {:network, "the proxy refused the connection (HTTP status 403)"}}
  end

  test "a proxy that requires a login" do
    port = PlainServer.start(fn _head, _body -> {"407 Proxy Authentication Required", [], ""} end)
    environment = %{"HTTP_PROXY" => "localhost:#{port}", "HTTPS_PROXY" => "localhost:#{port}"}
    login = {:error, {:network, "the proxy requires a login (HTTP status 407)"}}
    assert Download.get("http://example.invalid/", environment) == login
    assert Download.get("https://example.invalid/", environment) == login
  end
end
