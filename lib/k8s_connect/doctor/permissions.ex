defmodule K8sConnect.Doctor.Permissions do
  @moduledoc false
  # What the API server says that this user may do, in the one namespace, and the Role that is missing.
  # It is asked and not tried, and may be wrong; so later layers do not depend on it.

  @behaviour K8sConnect.Doctor.Layer

  import K8sConnect.Doctor.Check

  alias K8sConnect.Doctor.Role
  alias K8sConnect.Native

  @source "SelfSubjectAccessReview"

  # Why the two verbs of pods/portforward and pods/exec are needed.
  @websocket "a WebSocket, for gateways that refuse SPDY"
  @create "SPDY needs `create`, and from Kubernetes 1.35 on a WebSocket does, too"

  @impl true
  def checks do
    [
      {"user", :server, &user/1},
      {"rights", :server, &rights/1},
      {"Role", :server, &role/1}
    ]
  end

  defp user(%{access: access}) do
    case Native.call(:survey_user, [access.survey]) do
      {:ok, {name, groups}} ->
        source = "SelfSubjectReview (kubectl auth whoami)"
        {ok("#{name}, in #{Enum.join(groups, ", ")}", source), %{user: name}}

      {:ok, nil} ->
        ok("not told, as the server is older than 1.28", "SelfSubjectReview")

      {:error, _error} ->
        ok("not told", "SelfSubjectReview")
    end
  end

  # The pod is read here, as its spec says whether there is a Secret to read.
  defp rights(%{access: access} = context) do
    context = Map.merge(context, read_pod(context))
    wanted = wanted(context)

    asked =
      for right <- wanted, do: {right.verb, right.resource, right.name || object(right, context)}

    case Native.call(:survey_rights, [access.survey, asked]) do
      {:ok, allowed} ->
        rights = Enum.zip_with(wanted, allowed, &Map.put(&1, :allowed, &2))
        rights = judge(rights, context.server.version)
        found = Map.take(context, [:read])
        {Enum.map(rights, &finding(&1, context)), Map.put(found, :rights, rights)}

      {:error, error} ->
        # It is asked only, so not to know is no failure.
        finding = %{failure("the API server does not tell", error, context) | status: :warning}
        {finding, Map.take(context, [:read])}
    end
  end

  defp read_pod(%{target: _target, access: access, wish: wish}),
    do: %{read: Native.call(:survey_pod, [access.survey, wish])}

  defp read_pod(_context), do: %{}

  # :needed, or :helps with what it is for.
  defp wanted(context) do
    by_name? = context[:target] == nil or named?(context.target, context.wish)

    [
      right("get", "pods", :needed, "the pod is read before it is connected to"),
      right(
        "list",
        "pods",
        if(by_name?, do: :helps, else: :needed),
        "an owner, a Service or labels as a TARGET"
      ),
      right("watch", "pods", :helps, "waiting for a pod"),
      right("get", "pods/portforward", :helps, @websocket),
      right("create", "pods/portforward", :needed, @create)
    ] ++ cookie(context)
  end

  # A Role may name single pods, and then the question has to, as well.
  defp object(%{verb: verb}, _context) when verb in ["list", "watch"], do: nil
  defp object(_right, %{read: {:ok, pod}}), do: pod.name

  defp object(_right, %{target: target, wish: wish}),
    do: if(named?(target, wish), do: target |> String.split("/") |> List.last())

  defp object(_right, _context), do: nil

  defp named?(target, %{labels: nil}), do: target =~ ~r"^((pod|pods|po)/)?[^/]+$"
  defp named?(_target, _wish), do: false

  defp cookie(%{wish: %{cookie: :exec}}) do
    [
      right("get", "pods/exec", :helps, @websocket),
      right(
        "create",
        "pods/exec",
        :needed,
        "--cookie-from exec runs a command in the pod. " <> @create
      )
    ]
  end

  defp cookie(%{wish: %{cookie: :spec}, read: {:ok, pod}}) do
    for {kind, name} <- pod.refers_to,
        do: %{
          right("get", kind, :helps, "the pod's spec refers to it for the cookie")
          | name: name
        }
  end

  defp cookie(_context), do: []

  defp right(verb, resource, need, why),
    do: %{verb: verb, resource: resource, name: nil, need: need, why: why}

  @doc false
  # On an old server the right to `get` is enough for a WebSocket, and `create` is for SPDY only.
  @spec judge([map()], String.t()) :: [map()]
  def judge(rights, version) do
    may_get = for %{verb: "get", allowed: true, resource: resource} <- rights, do: resource
    Enum.map(rights, &judge_one(&1, get_is_enough?(version) and &1.resource in may_get))
  end

  defp judge_one(%{verb: "create"} = right, true),
    do: %{right | need: :helps, why: "SPDY. On this server a WebSocket needs `get` only"}

  defp judge_one(right, _get_is_enough?), do: right

  @doc false
  # From 1.35 on the API server authorizes the GET of a WebSocket for `create`, too: its feature gate
  # AuthorizePodWebsocketUpgradeCreatePermission. A version that cannot be read counts as a new one.
  @spec get_is_enough?(String.t()) :: boolean()
  def get_is_enough?(version) do
    case Regex.run(~r/^v1\.(\d+)/, version) do
      [_all, minor] -> String.to_integer(minor) < 35
      nil -> false
    end
  end

  defp finding(%{allowed: true} = right, _context),
    do: ok("yes", @source) |> Map.put(:name, title(right))

  defp finding(%{need: need} = right, %{access: access}) do
    name = if right.name, do: "/#{right.name}", else: ""
    {resource, subresource} = split(right.resource)
    resource = "#{resource}#{name}#{subresource}"
    namespace = access.namespace
    command = "kubectl auth can-i #{right.verb} #{resource} -n #{namespace}"
    why = if need == :needed, do: right.why, else: "only needed for this: #{right.why}"
    status = if need == :needed, do: :failed, else: :warning

    %{status: status, fact: "no", source: @source, why: why, command: command}
    |> Map.put(:name, title(right))
  end

  defp split(resource) do
    case String.split(resource, "/") do
      [resource, subresource] -> {resource, " --subresource=#{subresource}"}
      [resource] -> {resource, ""}
    end
  end

  defp title(%{name: nil} = right), do: "#{right.verb} #{right.resource}"
  defp title(right), do: "#{right.verb} #{right.resource} #{right.name}"

  # One for all that is missing.
  defp role(%{rights: rights} = context) do
    missing = Enum.reject(rights, & &1.allowed)

    if missing == [] do
      []
    else
      command = Role.command(rights, context[:user], context.access.namespace)
      count = length(missing)

      fact =
        "#{count} of #{length(rights)} rights #{if count == 1, do: "is", else: "are"} missing"

      why = "an admin of the namespace can give them, by this Role"

      if Enum.any?(missing, &(&1.need == :needed)),
        do: failed(fact, @source, why, command),
        else: warning(fact, @source, why, command)
    end
  end

  defp role(_context), do: []
end
