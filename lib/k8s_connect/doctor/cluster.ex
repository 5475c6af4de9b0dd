defmodule K8sConnect.Doctor.Cluster do
  @moduledoc false
  # The kubeconfig, and the API server that it leads to.

  @behaviour K8sConnect.Doctor.Layer

  import K8sConnect.Doctor.Check

  alias K8sConnect.{Error, Native, Protection}

  # Tokens and certificates are judged by the clock; a minute is what most of them allow for.
  @skew_ms 60_000

  # What is wrong with who we are, and not with the way to the server.
  @logins [
    :unauthorized,
    :client_certificate_expired,
    :token_file,
    :oidc,
    :plugin_not_found,
    :plugin_not_started,
    :plugin_failed,
    :plugin_too_slow,
    :plugin_rubbish,
    :plugin_version,
    :plugin_needs_terminal,
    :plugin_empty
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
    case Native.call(:survey, [api]) do
      {:ok, access} -> confirmed(access, context)
      {:error, error} -> failure("no cluster can be read from it", error, context)
    end
  end

  # Nothing was sent yet.
  defp confirmed(access, context) do
    fact = "context #{access.context}, namespace #{access.namespace}, #{access.server}"

    case Protection.check(access.context, context) do
      :ok -> {ok(fact, Enum.join(access.files, ", ")), %{access: access}}
      {:error, error} -> failure(fact, error, context)
    end
  end

  defp proxy(%{access: %{proxy: {address, from}}}), do: ok(address, from)
  defp proxy(_context), do: ok("none is used", "the kubeconfig and the environment")

  # The first request logs in.
  defp login(%{access: access} = context) do
    case Native.call(:survey_server, [access.survey]) do
      {:ok, server} ->
        {ok("by #{access.login}#{took(server)}", "the kubeconfig"), %{server: server}}

      {:error, %Error{reason: {kind, _details}} = error} when kind in @logins ->
        failure("by #{access.login}, in vain", error, context)

      {:error, error} ->
        {ok("by #{access.login}, not tried out", "the kubeconfig"), %{unanswered: error}}
    end
  end

  defp took(%{login_us: nil}), do: ""
  defp took(%{login_us: took}), do: ", which took #{ms(took)}"

  defp server(%{server: server}), do: ok("Kubernetes #{server.version}", "GET /version")

  defp server(%{unanswered: error} = context),
    do: failure("no answer that helps", error, context)

  defp server(_context), do: skipped("not looked at, as the login failed")

  defp clock(%{server: %{ahead_ms: nil}}), do: ok("not told", "the answer has no Date")
  defp clock(%{server: %{ahead_ms: ahead}}), do: clock_of(ahead)

  @doc false
  @spec clock_of(integer()) :: K8sConnect.Doctor.Check.finding()
  def clock_of(ahead) do
    source = "Date of the answer"

    if abs(ahead) <= @skew_ms do
      ok("with the API server's, within #{Float.ceil(abs(ahead) / 1000) |> trunc()} s", source)
    else
      warning(
        "#{div(abs(ahead), 1000)} s #{if ahead > 0, do: "ahead of", else: "behind"} the API server's",
        source,
        "tokens and certificates are judged by the clock; one of the two is wrong",
        "timedatectl"
      )
    end
  end

  defp round_trip(%{server: server}) do
    ok(
      "#{ms(hd(server.warm_us))} to #{ms(List.last(server.warm_us))} on an open connection, " <>
        "#{ms(server.first_us)} for the first answer",
      "GET /version, #{length(server.warm_us)} times"
    )
  end

  @doc false
  @spec ms(non_neg_integer()) :: String.t()
  def ms(us), do: "#{Float.round(us / 1000, 1)} ms"
end
