defmodule Mix.K8sConnect.Build.Reason do
  @moduledoc false
  # The failures of OTP's HTTP client.

  @typedoc "The kind of a failure, which decides about the next step, and its text."
  @type t :: {:network | :certificate | :status | :system, String.t()}

  @doc """
  The failure for a reason of `:httpc`.
  """
  @spec describe(term()) :: t()
  def describe({:failed_connect, details}) do
    {_family, _options, reason} =
      List.keyfind(details, :inet, 0) || List.keyfind(details, :inet6, 0)

    describe(reason)
  end

  def describe({:tls_alert, {_alert, text}}),
    do: {:certificate, text |> to_string() |> String.trim()}

  def describe({:could_not_establish_ssl_tunnel, {_version, status, _phrase}}) do
    with {:status, text} <- describe({:status, status}),
         do: {:network, "the proxy refused the connection (#{text})"}
  end

  def describe({:status, 407}), do: {:network, "the proxy requires a login (HTTP status 407)"}
  def describe({:status, status}), do: {:status, "HTTP status #{status}"}

  def describe(:nxdomain), do: {:network, "no such host"}
  def describe(:timeout), do: {:network, "timed out"}

  def describe(closed) when closed in [:socket_closed_remotely, {:shutdown, :server_closed}],
    do: {:network, "the connection was closed before the end of the file"}

  def describe(reason) when is_atom(reason) do
    {:network, reason |> :inet.format_error() |> to_string()}
  end

  def describe(reason), do: {:network, inspect(reason)}
end
