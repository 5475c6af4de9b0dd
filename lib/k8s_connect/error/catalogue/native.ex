defmodule K8sConnect.Error.Catalogue.Native do
  @moduledoc false

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:not_loaded, %{path: path, problem: problem}) do
    {"could not load the native library #{path}: #{bare(problem)}",
     {"Compile it for this machine with",
      {:sh, ~w(env K8S_CONNECT_BUILD=1 mix deps.compile k8s_connect --force)}}}
  end

  def entry(:in_use, %{path: path}) do
    {"could not load the native library #{path}: K8sConnect.Native was loaded again while calls into its old version were running",
     "Wait until they return, or restart the VM"}
  end

  def entry(:task_crashed, %{}),
    do: {"internal error in the native library (the VM is unaffected)", report()}
end
