defmodule Mix.K8sConnect.Build.Download do
  @moduledoc false
  # GET of one file with OTP's HTTP client. It follows redirects itself, because a TLS connection through a proxy
  # needs the name of each server.

  alias Mix.K8sConnect.Build.{Proxy, Reason, Tls}

  @profile :k8s_connect_download
  @redirects [301, 302, 303, 307, 308]
  @most_redirects 5
  @most_bytes 100_000_000

  @doc """
  Downloads a file. `idle_ms` limits the wait for each part of it.
  """
  @spec get(String.t(), %{String.t() => String.t()}, pos_integer()) ::
          {:ok, binary()} | {:error, Reason.t()}
  def get(url, environment, idle_ms \\ 30_000) do
    with :ok <- start() do
      try do
        follow(url, {environment, idle_ms}, @most_redirects)
      after
        :inets.stop(:httpc, @profile)
      end
    end
  end

  @doc """
  A URL for messages, without the user name and the password that it may contain.
  """
  @spec without_login(String.t()) :: String.t()
  def without_login(url), do: to_string(%{URI.parse(url) | userinfo: nil, authority: nil})

  # Mix removes the paths of applications that the project does not list, since Elixir 1.15.
  defp start do
    for application <- [:ssl, :inets],
        function_exported?(Mix, :ensure_application!, 1),
        do: apply(Mix, :ensure_application!, [application])

    with {:ok, _started} <- Application.ensure_all_started(:ssl),
         {:ok, _started} <- Application.ensure_all_started(:inets) do
      {:ok, _pid} = :inets.start(:httpc, profile: @profile)
      :ok
    else
      {:error, {application, _reason}} ->
        {:error, {:system, "Erlang's application #{application} is not installed"}}
    end
  end

  defp follow(_url, _context, 0),
    do: {:error, {:status, "more than #{@most_redirects} redirects"}}

  defp follow(url, {environment, idle_ms} = context, left) do
    with {:ok, uri} <- parse(url),
         {:ok, tls} <- Tls.options(uri, environment),
         {:ok, proxy} <- Proxy.find(uri, environment),
         {:ok, reference} <- request(url, tls, proxy),
         {:redirect, location} <- answer(reference, idle_ms) do
      url |> URI.merge(location) |> to_string() |> follow(context, left - 1)
    end
  end

  defp parse(url) do
    case URI.parse(url) do
      %URI{scheme: scheme, host: host} = uri
      when scheme in ["http", "https"] and host not in [nil, ""] ->
        {:ok, uri}

      _other ->
        {:error, {:status, "not an http:// or https:// URL"}}
    end
  end

  defp request(url, tls, proxy) do
    server = proxy && {{to_charlist(proxy.host), proxy.port}, []}
    options = for name <- [:proxy, :https_proxy], server, do: {name, server}
    :ok = :httpc.set_options(options, @profile)
    http = [autoredirect: false, connect_timeout: 15_000, ssl: tls] ++ login(proxy)
    delivery = [sync: false, stream: :self, body_format: :binary]

    case :httpc.request(
           :get,
           {to_charlist(url), [{'user-agent', 'k8s_connect'}]},
           http,
           delivery,
           @profile
         ) do
      {:ok, reference} -> {:ok, reference}
      {:error, reason} -> {:error, Reason.describe(reason)}
    end
  end

  defp login(%{auth: {user, password}}),
    do: [proxy_auth: {to_charlist(user), to_charlist(password)}]

  defp login(_proxy), do: []

  # Only 200 and 206 are streamed.
  defp answer(reference, idle_ms, received \\ [], bytes \\ 0) do
    receive do
      {:http, {^reference, :stream_start, _headers}} ->
        answer(reference, idle_ms, received, bytes)

      {:http, {^reference, :stream, part}} when bytes + byte_size(part) > @most_bytes ->
        {:error, {:status, "the file is larger than #{div(@most_bytes, 1_000_000)} MB"}}

      {:http, {^reference, :stream, part}} ->
        answer(reference, idle_ms, [received, part], bytes + byte_size(part))

      {:http, {^reference, :stream_end, _headers}} ->
        {:ok, IO.iodata_to_binary(received)}

      {:http, {^reference, {:error, reason}}} ->
        {:error, Reason.describe(reason)}

      {:http, {^reference, {{_version, status, _phrase}, headers, _body}}} ->
        status(status, List.keyfind(headers, 'location', 0))
    after
      idle_ms ->
        {:error, {:network, "timed out after #{idle_ms} ms without data"}}
    end
  end

  defp status(status, {_name, location}) when status in @redirects,
    do: {:redirect, to_string(location)}

  defp status(status, _location), do: {:error, Reason.describe({:status, status})}
end
