defmodule K8sConnect.Error.Catalogue.Login do
  @moduledoc false
  # Exec plugins, tokens and OIDC: a part of the stage `:cluster`.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  @login {:kubectl, ["get", "--raw", "/version"]}
  @try {"Run the login on a terminal", @login}

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:plugin_not_found, %{program: program, path: nil, hint: hint}) do
    {"could not log in: no such exec plugin of the kubeconfig: #{program}#{hint(hint)}",
     ls(program)}
  end

  def entry(:plugin_not_found, %{program: program, path: path, hint: hint}) do
    {"could not log in: exec plugin #{program} not found in PATH (#{path})#{hint(hint)}",
     {"Check with", {:sh, ["command", "-v", program]}}}
  end

  def entry(:plugin_not_started, %{program: program, problem: problem}) do
    {"could not run the exec plugin #{program} of the kubeconfig: #{bare(problem)}",
     {"Run it with", {:sh, [program, "--help"]}}}
  end

  def entry(:plugin_failed, %{program: program, status: status, output: output}),
    do: {"could not log in: exec plugin #{program} failed with #{status}#{output(output)}", @try}

  def entry(:plugin_timed_out, %{program: program, timeout_ms: timeout}) do
    {"timed out after #{timeout} ms waiting for the exec plugin #{program} of the kubeconfig",
     {[
        "It may wait for input or for the network. Allow more time with ",
        {:option, :timeout, 60_000}
      ], "Run the login on a terminal", @login}}
  end

  def entry(:plugin_invalid_output, %{program: program, problem: problem}),
    do: {"invalid output of the exec plugin #{program}: #{bare(problem)}", @try}

  def entry(:plugin_version, %{program: program, expected: expected, actual: actual}) do
    {"invalid output of the exec plugin #{program}: it has apiVersion #{actual}, but the kubeconfig has #{expected}",
     {"Set both to the same version in the user's exec entry", view()}}
  end

  def entry(:plugin_needs_terminal, %{program: program}) do
    {"could not log in: exec plugin #{program} needs a terminal (interactiveMode: Always)",
     {"Log in on a terminal first", @login}}
  end

  def entry(:plugin_forbidden, %{program: program, path: path, policy: "Allowlist"}) do
    {"permission denied: exec plugin #{program} is not in the credentialPluginAllowlist of #{path}",
     {"Add its command to the list, if you trust it", "Check with", {:sh, ["cat", path]}}}
  end

  def entry(:plugin_forbidden, %{program: program, path: path, policy: policy}) do
    {"permission denied: exec plugin #{program} may not run: credentialPluginPolicy is #{policy} in #{path}",
     {"Check with", {:sh, ["cat", path]}}}
  end

  def entry(:plugin_no_credentials, %{program: program}) do
    {"invalid output of the exec plugin #{program}: neither a token nor a client certificate",
     @try}
  end

  def entry(:token_file, %{path: path, problem: problem}),
    do: {"could not read the token file #{path}: #{bare(problem)}", ls(path)}

  def entry(:oidc, %{context: context, issuer: issuer, problem: problem}) do
    {"could not refresh the OIDC token of context #{inspect(context)} at #{issuer}: #{bare(problem)}",
     {"Log in again, or use the exec plugin kubelogin", "Check the user's entry with", view()}}
  end

  defp hint(nil), do: ""

  defp hint(text),
    do: ". Its installHint: " <> (text |> String.split() |> Enum.join(" ") |> bare())

  defp output(""), do: ", without output"
  defp output(text), do: ": " <> bare(text)
end
