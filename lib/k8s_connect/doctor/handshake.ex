defmodule K8sConnect.Doctor.Handshake do
  @moduledoc false
  # A real connection: the cookie, who is on the other side, and how long it takes to ask it.

  @behaviour K8sConnect.Doctor.Layer

  import K8sConnect.Doctor.Check

  alias K8sConnect.Doctor.Cluster

  @calls 20
  @patience 5_000

  # What concerns the way there, and not the node's consent.
  @ways [:route, :outlet, :helper]

  @impl true
  def checks do
    [
      {"connection", :node, &connection/1},
      {"cookie", :connection, &cookie/1},
      {"OTP", :connection, &otp/1},
      {"Elixir", :connection, &elixir/1},
      {"neighbours", :connection, &neighbours/1},
      {"round trip", :connection, &round_trip/1}
    ]
  end

  defp connection(context) do
    case existing(context) do
      nil ->
        connect(context, [:vm, :kernel])

      connection ->
        fact =
          "this BEAM is connected to #{connection.node} already; that is used, and left as it is"

        {ok(fact, "K8sConnect.connections()"), %{connection: connection, ours: false}}
    end
  end

  defp existing(%{pod: pod, node: node}) do
    Enum.find(
      K8sConnect.connections(),
      &(&1.uid == pod.uid and Atom.to_string(&1.node) == node.name)
    )
  end

  # The route that asks for nothing first: this is about the node.
  defp connect(context, [route | others]) do
    start = System.monotonic_time(:microsecond)

    case connect_by(route, context) do
      {:ok, connection} ->
        took = System.monotonic_time(:microsecond) - start
        given = %{connection: connection, ours: true, took: took}
        {ok("let in by #{connection.node}, after #{Cluster.ms(took)}", "Node.connect/1"), given}

      {:error, %{stage: stage}} when stage in @ways and others != [] ->
        connect(context, others)

      {:error, error} ->
        failure("not let in", error, context)
    end
  end

  @doc """
  Connects to the pod that was found, by one route; the connection ends with this process.
  """
  @spec connect_by(:vm | :kernel, map()) ::
          {:ok, K8sConnect.Connection.t()} | {:error, K8sConnect.Error.t()}
  def connect_by(route, %{pod: pod, node: node, options: options}) do
    only = if route == :vm, do: [:selector, :sudo, :visible], else: [:selector]
    [name, _host] = String.split(node.name, "@")

    options =
      Keyword.drop(options, only)
      # It was confirmed before the first request.
      |> Keyword.merge(route: route, owner: self(), selector: nil, yes: true)
      |> Keyword.put_new(:node, name)

    K8sConnect.connect("pod/" <> pod.name, options)
  end

  defp cookie(%{connection: connection}),
    do: ok("found, and the node's own", connection.cookie_source)

  defp otp(%{connection: %{node: node}}) do
    ours = List.to_integer(:erlang.system_info(:otp_release))
    theirs = List.to_integer(call(node, :erlang, :system_info, [:otp_release]))
    note = if theirs < ours, do: "; it may refuse a module that was compiled here", else: ""
    ok("#{ours} here, #{theirs} there#{note}", "both sides")
  end

  defp elixir(%{connection: %{node: node}}) do
    there =
      case call(node, :application, :get_key, [:elixir, :vsn]) do
        {:ok, version} -> "#{version} there"
        :undefined -> "none there, so --rpc and --remsh are not for it"
      end

    ok("#{System.version()} here, #{there}", "both sides")
  end

  # A hidden node is not among those that production sees.
  defp neighbours(%{connection: %{node: node}}) do
    visible = call(node, :erlang, :nodes, [])
    hidden? = call(node, :erlang, :nodes, [:hidden]) |> Enum.member?(Node.self())
    as = if hidden?, do: "a hidden one", else: "one of them"

    ok(
      "#{length(visible)} other nodes in its cluster; to it we are #{as}",
      "erlang:nodes/1 there"
    )
  end

  defp round_trip(%{connection: %{node: node}}) do
    times = Enum.sort(for _call <- 1..@calls, do: time(node))
    median = Enum.at(times, div(@calls, 2))

    ok(
      "#{Cluster.ms(hd(times))} at best, #{Cluster.ms(median)} median",
      "#{@calls} calls of :erpc"
    )
  end

  defp time(node) do
    {time, _node} = :timer.tc(fn -> call(node, :erlang, :node, []) end)
    time
  end

  defp call(node, module, function, arguments),
    do: :erpc.call(node, module, function, arguments, @patience)
end
