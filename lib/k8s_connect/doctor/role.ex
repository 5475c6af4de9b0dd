defmodule K8sConnect.Doctor.Role do
  @moduledoc false
  # The required Role of a user, for an admin to apply. Comments mark what is missing.

  alias K8sConnect.JSON

  @type right :: %{
          verb: String.t(),
          resource: String.t(),
          name: String.t() | nil,
          allowed: boolean()
        }

  @doc """
  The Role and its RoleBinding; `user` is `nil` if the server does not report it.
  """
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

  # Different for each user and each Secret: applying a Role of the same name would take away permissions that the
  # other one gave.
  @doc false
  @spec name(String.t() | nil) :: String.t()
  def name(nil), do: "k8s-connect-your-user"

  def name(user) do
    plain = user |> String.downcase() |> String.replace(~r/[^a-z0-9]+/, "-") |> String.trim("-")
    plain = plain |> String.slice(0, 40) |> String.trim("-")
    parts = if plain == user, do: [plain], else: [plain, to_string(:erlang.phash2(user))]
    Enum.join(["k8s-connect" | parts] -- [""], "-")
  end

  # Name parts for permissions that only some Roles have.
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

  # The admin fills it in if the API server does not report the user.
  defp subject(nil), do: "{apiGroup: rbac.authorization.k8s.io, kind: User, name: YOUR-USER}"

  defp subject(user),
    do: "{apiGroup: rbac.authorization.k8s.io, kind: User, name: #{text(user)}}"

  # JSON is YAML, and a name can have any characters.
  defp text(text) do
    if text =~ ~r/^[a-z][a-z0-9.-]*$/ and text not in ~w(true false null yes no on off y n),
      do: text,
      else: IO.iodata_to_binary(JSON.encode(text))
  end
end
