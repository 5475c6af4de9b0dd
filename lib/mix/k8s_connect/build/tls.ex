defmodule Mix.K8sConnect.Build.Tls do
  @moduledoc false
  # TLS options for OTP's HTTP client, which by default verifies nothing in OTP 25.

  @doc """
  The options for a URL. `HEX_CACERTS_PATH` replaces the authorities of the machine, as it does for Hex.
  """
  @spec options(URI.t(), %{String.t() => String.t()}) ::
          {:ok, keyword()} | {:error, {:certificate, String.t()}}
  def options(%URI{scheme: "https", host: host}, environment) do
    with {:ok, authorities} <- authorities(environment["HEX_CACERTS_PATH"] || "") do
      match = :public_key.pkix_verify_hostname_match_fun(:https)

      {:ok,
       [
         verify: :verify_peer,
         depth: 8,
         log_level: :none,
         customize_hostname_check: [match_fun: match]
       ] ++
         authorities ++ name(host)}
    end
  end

  def options(_uri, _environment), do: {:ok, []}

  # Through a proxy the client does not know the name of the server. An address is compared without it.
  defp name(host) do
    case :inet.parse_address(to_charlist(host)) do
      {:ok, _address} -> []
      {:error, :einval} -> [server_name_indication: to_charlist(host)]
    end
  end

  defp authorities("") do
    {:ok, [cacerts: :public_key.cacerts_get()]}
  rescue
    _no_file ->
      {:error,
       {:certificate, "this machine has no certificate authorities (package ca-certificates)"}}
  end

  defp authorities(file) do
    if File.regular?(file),
      do: {:ok, [cacertfile: file]},
      else: {:error, {:certificate, "no such file: #{file} (HEX_CACERTS_PATH)"}}
  end
end
