defmodule K8sConnect.Error.Catalogue.Proxy do
  @moduledoc false
  # A proxy between this machine and the API server: a part of the stage `:cluster`.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue
  alias K8sConnect.Shellwords

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:proxy_unreachable, %{proxy: proxy, from: from, problem: problem}) do
    {"could not connect to the proxy #{proxy} (#{from}): #{bare(problem)}",
     {"Is it the right proxy for this network?", "Check with",
      {:sh, ["curl", "-v", "telnet://#{proxy}"]}}}
  end

  def entry(:proxy_unauthorized, %{proxy: proxy, from: from, credentials_given: credentials_given}) do
    cause =
      if credentials_given,
        do: "rejected the user name and password",
        else: "requires a user name and a password"

    {lead, command} = check(from)

    {"permission denied: the proxy #{proxy} (#{from}) #{cause}",
     {"The user name and password belong in the proxy's URL: http://name:password@#{proxy}", lead,
      command}}
  end

  def entry(:proxy_refused, %{proxy: proxy, from: from, server: server, answer: answer}) do
    {"permission denied: the proxy #{proxy} (#{from}) refused a connection to #{server}: #{bare(answer)}",
     bypass(from, server, "Ask its administrator to allow it, or bypass the proxy")}
  end

  def entry(:proxy_bad_gateway, %{proxy: proxy, from: from, server: server, answer: answer}) do
    {"could not connect to #{server} through the proxy #{proxy} (#{from}): #{bare(answer)}",
     bypass(from, server, "Is it the right proxy for this cluster? Or bypass it")}
  end

  def entry(:proxy_invalid_answer, %{proxy: proxy, from: from, actual: actual}) do
    {"invalid answer from #{proxy} (#{from}): it is not a proxy, or a proxy of another kind: #{bare(actual)}",
     {"The URL of a proxy starts with http://, https:// or socks5://", "Check with",
      {:sh, ["curl", "-v", "--proxy", proxy, "https://SERVER"]}}}
  end

  def entry(:proxy_timed_out, %{server: server, proxy: proxy, from: from} = details) do
    {"timed out after #{details.timeout_ms} ms waiting for the API server #{server} through the proxy #{proxy} (#{from})",
     {"Check with", {:kubectl, ["cluster-info"]}}}
  end

  defp check("proxy-url" <> _kubeconfig), do: {"Check proxy-url in", view()}
  defp check(variable), do: {"Check with", {:sh, ["printenv", variable]}}

  defp bypass("proxy-url" <> _kubeconfig, _server, advice),
    do: {advice, "Remove proxy-url from", view()}

  defp bypass(_variable, server, advice) do
    host = server |> String.replace(~r/:\d+\z/, "") |> Shellwords.escape()
    {advice, "For example", {:raw, "export NO_PROXY=$NO_PROXY," <> host}}
  end
end
