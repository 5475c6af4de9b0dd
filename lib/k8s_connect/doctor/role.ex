defmodule K8sConnect.Doctor.Role do
  @moduledoc false
  # The Role that a user needs, for an admin to apply, with marks at what is missing.

  alias K8sConnect.JSON

  @type right :: %{
          verb: String.t(),
          resource: String.t(),
          name: String.t() | nil,
          allowed: boolean()
        }

  @doc """
  A command that applies it; `user` is `nil` where the server does not tell.
  """
  @spec command([right()], String.t() | nil, String.t()) :: String.t()
  def command(rights, user, namespace) do
    "kubectl apply -n #{namespace} -f - <<'EOF'\n#{yaml(rights, user)}EOF"
  end

  @spec yaml([right()], String.t() | nil) :: String.t()
  def yaml(rights, user) do
    name = Enum.join([name(user) | more(rights)], "-")

    """
    apiVersion: rbac.authorization.k8s.io/v1
    kind: Role
    metadata: {name: #{name}}
    rules:
    #{rules(rights)}
    ---
    apiVersion: rbac.authorization.k8s.io/v1
    kind: RoleBinding
    metadata: {name: #{name}}
    roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: #{name}}
    subjects: [#{subject(user)}]
    """
  end

  # The user's own, and of these rights: by being applied, one that others share, or that is about
  # another Secret, would take from somebody what it gave.
  @doc false
  @spec name(String.t() | nil) :: String.t()
  def name(nil), do: "k8s-connect-your-user"

  def name(user) do
    plain = user |> String.downcase() |> String.replace(~r/[^a-z0-9]+/, "-") |> String.trim("-")
    plain = plain |> String.slice(0, 40) |> String.trim("-")
    parts = if plain == user, do: [plain], else: [plain, to_string(:erlang.phash2(user))]
    Enum.join(["k8s-connect" | parts] -- [""], "-")
  end

  # What is not in every such Role.
  defp more(rights) do
    exec = for %{resource: "pods/exec"} <- rights, do: "exec"

    exec ++
      for %{name: name} when name != nil <- rights, do: String.replace(name, ~r/[^a-z0-9.-]/, "")
  end

  defp rules(rights) do
    rights
    |> Enum.chunk_by(&{&1.resource, &1.name})
    |> Enum.map_join("\n", &rule/1)
  end

  defp rule([%{resource: resource, name: name} | _more] = rights) do
    names = if name, do: " resourceNames: [#{text(name)}],", else: ""
    verbs = Enum.map_join(rights, ", ", & &1.verb)

    "- {apiGroups: [\"\"], resources: [#{resource}],#{names} verbs: [#{verbs}]}" <>
      mark(for right <- rights, not right.allowed, do: right.verb)
  end

  defp mark([]), do: ""
  defp mark(verbs), do: "  # missing: #{Enum.join(verbs, ", ")}"

  defp subject("system:serviceaccount:" <> account) do
    [namespace, name] = String.split(account, ":", parts: 2)
    "{kind: ServiceAccount, name: #{text(name)}, namespace: #{text(namespace)}}"
  end

  # An API server that does not tell who we are is told by the admin.
  defp subject(nil), do: "{apiGroup: rbac.authorization.k8s.io, kind: User, name: YOUR-USER}"

  defp subject(user),
    do: "{apiGroup: rbac.authorization.k8s.io, kind: User, name: #{text(user)}}"

  # JSON is YAML, and a name can hold anything.
  defp text(text) do
    if text =~ ~r/^[a-z][a-z0-9.-]*$/ and text not in ~w(true false null yes no on off y n),
      do: text,
      else: IO.iodata_to_binary(JSON.encode(text))
  end
end
