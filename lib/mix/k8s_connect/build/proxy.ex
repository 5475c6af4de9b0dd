defmodule Mix.K8sConnect.Build.Proxy do
  @moduledoc false
  # The proxy for a URL, from the environment, by the rules of curl.

  @type t :: %{
          host: String.t(),
          port: :inet.port_number(),
          auth: {String.t(), String.t()} | nil
        }

  @doc """
  The proxy for a URL, or nil for a direct connection. OTP's client cannot use other proxies than HTTP proxies.
  """
  @spec find(URI.t(), %{String.t() => String.t()}) ::
          {:ok, t() | nil} | {:error, {:network, String.t()}}
  def find(%URI{scheme: scheme, host: host}, environment) do
    name = "#{String.upcase(scheme)}_PROXY"
    value = variable(environment, name)

    if value && not exempt?(host, variable(environment, "NO_PROXY") || ""),
      do: parse(value, name),
      else: {:ok, nil}
  end

  # An empty variable is an unset one.
  defp variable(environment, name) do
    Enum.find_value([String.downcase(name), name], fn name ->
      value = String.trim(environment[name] || "")
      if value == "", do: nil, else: value
    end)
  end

  defp exempt?(host, list) do
    list |> String.split([",", " "], trim: true) |> Enum.any?(&matches?(host, &1))
  end

  defp matches?(_host, "*"), do: true

  defp matches?(host, entry) do
    domain = entry |> String.trim_leading("*") |> String.trim_leading(".")
    host == domain or String.ends_with?(host, "." <> domain)
  end

  # The value may contain a password, so it is not shown.
  defp parse(value, name) do
    case URI.parse(if value =~ "://", do: value, else: "http://" <> value) do
      %URI{scheme: "http", host: host, port: port} = uri when host not in [nil, ""] ->
        {:ok, %{host: host, port: port, auth: auth(uri.userinfo)}}

      _other ->
        {:error, {:network, "unsupported: #{name} is not an http:// proxy"}}
    end
  end

  defp auth(nil), do: nil

  defp auth(userinfo) do
    [user | password] = userinfo |> String.split(":", parts: 2) |> Enum.map(&decode/1)
    {user, Enum.join(password)}
  end

  # The exception of an invalid encoding would show the password.
  defp decode(text) do
    URI.decode(text)
  rescue
    ArgumentError -> text
  end
end
