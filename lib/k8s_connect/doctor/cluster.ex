defmodule K8sConnect.Doctor.Cluster do
  @moduledoc false
  # The kubeconfig, the login and the API server.

  @behaviour K8sConnect.Doctor.Layer

  import K8sConnect.Doctor.Check

  alias K8sConnect.{Error, Native, Protection}

  # Most checks of tokens and certificates allow a difference of one minute.
  @skew_ms 60_000

  # Errors of the login, not of the connection to the server.
  @logins [
    :unauthorized,
    :credentials_withheld,
    :client_certificate_expired,
    :token_file,
    :oidc,
    :plugin_not_found,
    :plugin_not_started,
    :plugin_failed,
    :plugin_timed_out,
    :plugin_invalid_output,
    :plugin_version,
    :plugin_needs_terminal,
    :plugin_forbidden,
    :plugin_no_credentials
  ]

  @impl true
  def checks do
    [
      {"kubeconfig", :library, &kubeconfig/1},
      {"proxy", :access, &proxy/1},
      {"login", :access, &login/1},
      {"API server", :access, &server/1},
      {"clock", :server, &clock/1},
      {"round trip", :server, &round_trip/1}
    ]
  end

  defp kubeconfig(%{api: api} = context) do
    case Native.call(:diagnose, [api]) do
      {:ok, access} -> confirmed(access, context)
      {:error, error} -> failure("not usable", error, context)
    end
  end

  # Before the first request.
  defp confirmed(access, context) do
    fact = "context #{access.context}, namespace #{access.namespace}, #{access.server}"

    case Protection.check(access.context, context) do
      :ok -> {ok(fact, Enum.join(access.files, ", ")), %{access: access}}
      {:error, error} -> failure(fact, error, context)
    end
  end

  defp proxy(%{access: %{proxy: {address, from}}}), do: ok(address, from)
  defp proxy(_context), do: ok("none", "the kubeconfig and the environment")

  # Its first request logs in.
  defp login(%{access: access} = context) do
    case Native.call(:diagnose_server, [access.diagnosis]) do
      {:ok, server} ->
        {ok("#{access.login}#{took(server)}", "the kubeconfig"), %{server: server}}

      {:error, %Error{reason: {kind, _details}} = error} when kind in @logins ->
        failure("#{access.login} failed", error, context)

      {:error, error} ->
        {ok("#{access.login}, not tested", "the kubeconfig"), %{unanswered: error}}
    end
  end

  defp took(%{login_us: nil}), do: ""
  defp took(%{login_us: took}), do: ", took #{ms(took)}"

  defp server(%{server: server}), do: ok("Kubernetes #{server.version}", "GET /version")

  defp server(%{unanswered: error} = context),
    do: failure("no valid answer", error, context)

  defp server(_context), do: skipped("the login failed")

  defp clock(%{server: %{ahead_ms: nil}}), do: ok("unknown", "the answer has no header Date")
  defp clock(%{server: %{ahead_ms: ahead}}), do: clock_of(ahead)

  @doc false
  @spec clock_of(integer()) :: K8sConnect.Doctor.Check.finding()
  def clock_of(ahead) do
    source = "header Date of the answer"

    if abs(ahead) <= @skew_ms do
      ok("within #{Float.ceil(abs(ahead) / 1000) |> trunc()} s of the API server", source)
    else
      warning(
        "#{div(abs(ahead), 1000)} s #{if ahead > 0, do: "ahead of", else: "behind"} the API server",
        source,
        "tokens and certificates are valid by the clock, and one of the two clocks is wrong",
        {:sh, ["timedatectl"]}
      )
    end
  end

  defp round_trip(%{server: server}) do
    ok(
      "#{ms(hd(server.warm_us))} to #{ms(List.last(server.warm_us))} on an open connection, " <>
        "#{ms(server.first_us)} for the first request",
      "GET /version, #{length(server.warm_us)} times"
    )
  end

  @doc false
  @spec ms(non_neg_integer()) :: String.t()
  def ms(us), do: "#{Float.round(us / 1000, 1)} ms"
end
