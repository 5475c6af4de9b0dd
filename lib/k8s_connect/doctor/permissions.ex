defmodule K8sConnect.Doctor.Permissions do
  @moduledoc false
  # The permissions of this user in the namespace, and the required Role. The API server is asked, and its answer may
  # be wrong: later layers do not depend on it.

  @behaviour K8sConnect.Doctor.Layer

  import K8sConnect.Doctor.Check

  alias K8sConnect.Doctor.Role
  alias K8sConnect.Error.Command
  alias K8sConnect.Native

  @source "SelfSubjectAccessReview"

  # What needs the two verbs on pods/portforward and pods/exec.
  @websocket "a WebSocket, for gateways that reject SPDY"
  @create "SPDY, and from Kubernetes 1.35 on also a WebSocket"

  @impl true
  def checks do
    [
      {"user", :server, &user/1},
      {"rights", :server, &rights/1},
      {"Role", :server, &role/1}
    ]
  end

  defp user(%{access: access}) do
    case Native.call(:diagnose_user, [access.diagnosis]) do
      {:ok, {name, groups}} ->
        source = "SelfSubjectReview (kubectl auth whoami)"
        {ok("#{name}, groups #{Enum.join(groups, ", ")}", source), %{user: name}}

      {:ok, nil} ->
        ok("unknown: the server is older than 1.28", "SelfSubjectReview")

      {:error, _error} ->
        ok("unknown", "SelfSubjectReview")
    end
  end

  # The pod's spec names the Secret of the cookie.
  defp rights(%{access: access} = context) do
    context = Map.merge(context, read_pod(context))
    rights = required(context)

    queries =
      for right <- rights, do: {right.verb, right.resource, right.name || object(right, context)}

    case Native.call(:diagnose_permissions, [access.diagnosis, queries]) do
      {:ok, allowed} ->
        rights = Enum.zip_with(rights, allowed, &Map.put(&1, :allowed, &2))
        rights = judge(rights, context.server.version)
        results = Map.take(context, [:read])
        {Enum.map(rights, &finding/1), Map.put(results, :rights, rights)}

      {:error, error} ->
        # The permissions may be there all the same.
        finding = %{failure("unknown", error, context) | status: :warning}
        {finding, Map.take(context, [:read])}
    end
  end

  defp read_pod(%{target: _target, access: access, attach: attach}),
    do: %{read: Native.call(:diagnose_pod, [access.diagnosis, attach])}

  defp read_pod(_context), do: %{}

  # Each is :needed, or :helps with something that the connection can do without.
  defp required(context) do
    by_name? = context[:target] == nil or named?(context.target, context.attach)

    [
      right("get", "pods", :needed, "reading the pod"),
      right(
        "list",
        "pods",
        if(by_name?, do: :helps, else: :needed),
        "a workload, a Service or labels as TARGET"
      ),
      right("watch", "pods", :helps, "waiting for a pod"),
      right("get", "pods/portforward", :helps, @websocket),
      right("create", "pods/portforward", :needed, @create)
    ] ++ service(context) ++ cookie(context) ++ certificates(context)
  end

  # Without it, only the governing Service of a StatefulSet is found.
  defp service(%{target: target, attach: %{labels: nil}}) do
    case Regex.run(~r"^(?:svc|services?)/([^/]+)$"i, target) do
      [_target, name] -> objects([{"services", name}], "reading the selector of the Service")
      nil -> []
    end
  end

  defp service(_context), do: []

  # A Role may name single pods, so the query names the pod.
  defp object(%{verb: verb}, _context) when verb in ["list", "watch"], do: nil
  defp object(_right, %{read: {:ok, pod}}), do: pod.name

  defp object(_right, %{target: target, attach: attach}),
    do: if(named?(target, attach), do: target |> String.split("/") |> List.last())

  defp object(_right, _context), do: nil

  defp named?(target, %{labels: nil}), do: target =~ ~r"^((pod|pods|po)/)?[^/]+$"i
  defp named?(_target, _attach), do: false

  defp cookie(%{attach: %{cookie: :exec}}) do
    [
      right("get", "pods/exec", :helps, @websocket),
      right(
        "create",
        "pods/exec",
        :needed,
        "--cookie-from exec, over " <> @create
      )
    ]
  end

  defp cookie(%{attach: %{cookie: :spec}, read: {:ok, pod}}),
    do: objects(pod.refers_to, "reading the cookie, to which the pod's spec refers")

  defp cookie(_context), do: []

  # The same object can have the cookie.
  defp certificates(%{attach: %{cookie: cookie}, read: {:ok, pod}}) do
    known = if cookie == :spec, do: pod.refers_to, else: []
    why = "reading the certificates of the distribution, to which the pod's spec refers"
    objects(pod.tls_objects -- known, why)
  end

  defp certificates(_context), do: []

  defp objects(objects, why) do
    for {kind, name} <- objects, do: %{right("get", kind, :helps, why) | name: name}
  end

  defp right(verb, resource, need, why),
    do: %{verb: verb, resource: resource, name: nil, need: need, why: why}

  @doc false
  # Before Kubernetes 1.35 a WebSocket needs only `get`, and `create` is for SPDY.
  @spec judge([map()], String.t()) :: [map()]
  def judge(rights, version) do
    may_get = for %{verb: "get", allowed: true, resource: resource} <- rights, do: resource
    Enum.map(rights, &judge_one(&1, get_is_enough?(version) and &1.resource in may_get))
  end

  defp judge_one(%{verb: "create"} = right, true),
    do: %{right | need: :helps, why: "SPDY. On this server a WebSocket needs only `get`"}

  defp judge_one(right, _get_is_enough?), do: right

  @doc false
  # From 1.35 on the API server authorizes the GET of a WebSocket for `create`, too: its feature gate
  # AuthorizePodWebsocketUpgradeCreatePermission. An unknown version counts as a new one.
  @spec get_is_enough?(String.t()) :: boolean()
  def get_is_enough?(version) do
    case Regex.run(~r/^v1\.(\d+)/, version) do
      [_all, minor] -> String.to_integer(minor) < 35
      nil -> false
    end
  end

  defp finding(%{allowed: true} = right), do: ok("yes", @source) |> Map.put(:name, title(right))

  defp finding(%{need: need} = right) do
    command = {:kubectl, Command.can_i(right.verb, right.resource, right.name)}

    finding =
      if need == :needed,
        do: failed("no", @source, "required for: #{right.why}", command),
        else: warning("no", @source, "only required for: #{right.why}", command)

    Map.put(finding, :name, title(right))
  end

  defp title(%{name: nil} = right), do: "#{right.verb} #{right.resource}"
  defp title(right), do: "#{right.verb} #{right.resource} #{right.name}"

  # One Role with everything.
  defp role(%{rights: rights} = context) do
    missing = Enum.reject(rights, & &1.allowed)

    if missing == [] do
      []
    else
      command = {:apply, Role.yaml(rights, context[:user])}
      count = length(missing)

      fact =
        "#{count} of #{length(rights)} permissions #{if count == 1, do: "is", else: "are"} missing"

      why = "an admin of the namespace can apply this Role"

      if Enum.any?(missing, &(&1.need == :needed)),
        do: failed(fact, @source, why, command),
        else: warning(fact, @source, why, command)
    end
  end

  defp role(_context), do: []
end
