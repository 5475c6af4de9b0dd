defmodule K8sConnect.Error.Catalogue.Cookie do
  @moduledoc false

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:not_found, %{} = details) do
    {"no cookie in the spec of #{pod(details)}: its container has no RELEASE_COOKIE, ERLANG_COOKIE or similar " <>
       "variable, no -setcookie and no cookie file from a Secret, or the Secret or ConfigMap does not exist",
     {[
        "A release has its cookie in releases/COOKIE of the image: pass it with ",
        {:option, :cookie_file, "PATH"},
        ". To read it from the running node, the Role needs this rule: #{rule("pods/exec")}"
      ], "Then", {:mix, "k8s.connect", [cookie_from: :exec]}}}
  end

  def entry(:exec_failed, %{problem: problem} = details) do
    {"could not read the cookie from the running node in #{pod(details)}: #{bare(problem)}",
     {"This needs sh and sed in the container, as the user of the node", "Pass it in a file",
      {:mix, "k8s.connect", [cookie_file: "PATH"]}}}
  end
end
