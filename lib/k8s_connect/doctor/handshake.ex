defmodule K8sConnect.Doctor.Handshake do
  @moduledoc false
  # A connection to the node, its cookie, and what the node reports once it is connected.

  @behaviour K8sConnect.Doctor.Layer

  import K8sConnect.Doctor.Check

  alias K8sConnect.{Doctor.Cluster, Error}

  @calls 20
  @timeout 5_000

  # Errors of a route, not of the node.
  @route_stages [:route, :endpoint, :helper]

  @impl true
  def checks do
    [
      {"connection", :node, &connection/1},
      {"cookie", :connection, &cookie/1},
      {"OTP", :connection, &otp/1},
      {"Elixir", :connection, &elixir/1},
      {"cluster", :connection, &cluster/1},
      {"round trip", :connection, &round_trip/1}
    ]
  end

  defp connection(context) do
    case existing(context) do
      nil ->
        connect(context, [:vm, :kernel])

      connection ->
        fact =
          "this BEAM is already connected to #{connection.node}; uses that connection, and leaves it open"

        {ok(fact, "K8sConnect.connections()"), %{connection: connection, opened: false}}
    end
  end

  defp existing(%{pod: pod, node: node}) do
    Enum.find(
      K8sConnect.connections(),
      &(&1.uid == pod.uid and Atom.to_string(&1.node) == node.name)
    )
  end

  # The vm route first: it has no prerequisites, so a failure is the node's.
  defp connect(context, [route | others]) do
    start = System.monotonic_time(:microsecond)

    case connect_by(route, context) do
      {:ok, connection} ->
        took = System.monotonic_time(:microsecond) - start
        results = %{connection: connection, opened: true, took: took}

        {ok("connected to #{connection.node} after #{Cluster.ms(took)}", "Node.connect/1"),
         results}

      {:error, %{stage: stage}} when stage in @route_stages and others != [] ->
        connect(context, others)

      {:error, error} ->
        failure("not connected", error, context)
    end
  end

  @doc """
  Connects to the pod that was found over one route. The connection ends with this process.
  """
  @spec connect_by(:vm | :kernel, map()) ::
          {:ok, K8sConnect.Connection.t()} | {:error, K8sConnect.Error.t()}
  def connect_by(route, %{pod: pod, node: node, options: options}) do
    unused = if route == :vm, do: [:sudo, :visible], else: []
    [name, _host] = String.split(node.name, "@")

    options =
      Keyword.drop(options, [:selector, :progress, :trust] ++ unused)
      # A protected context was confirmed before the first request.
      |> Keyword.merge(route: route, owner: self(), selector: nil, yes: true)
      |> Keyword.put_new(:node, name)

    # The doctor's commands repeat the request of the examination.
    with {:error, error} <- K8sConnect.connect("pod/" <> pod.name, options),
         do: {:error, Error.new(error.stage, error.reason)}
  end

  defp cookie(%{connection: connection}), do: cookie_from(connection.cookie_source)

  @doc false
  # The native library ends the source of such a cookie like that.
  @spec cookie_from(String.t()) :: K8sConnect.Doctor.Check.finding()
  def cookie_from(source) do
    if String.ends_with?(source, ", a default that everyone knows") do
      warning(
        "accepted by the node",
        source,
        "whoever reaches the node's port can run any code there. Set a cookie of your own, such as this command prints",
        {:sh, ["openssl", "rand", "-hex", "32"]}
      )
    else
      ok("accepted by the node", source)
    end
  end

  defp otp(%{connection: %{node: node}}) do
    local = List.to_integer(:erlang.system_info(:otp_release))
    remote = List.to_integer(call(node, :erlang, :system_info, [:otp_release]))

    note =
      if remote < local, do: "; the node may reject modules that were compiled here", else: ""

    ok("#{local} here, #{remote} on the node#{note}", "both nodes")
  end

  defp elixir(%{connection: %{node: node}}) do
    there =
      case call(node, :application, :get_key, [:elixir, :vsn]) do
        {:ok, version} -> "#{version} on the node"
        :undefined -> "none on the node, so --rpc and --remsh do not work"
      end

    ok("#{System.version()} here, #{there}", "both nodes")
  end

  defp cluster(%{connection: %{node: node}}) do
    visible = call(node, :erlang, :nodes, [])
    hidden? = call(node, :erlang, :nodes, [:hidden]) |> Enum.member?(Node.self())
    as = if hidden?, do: "hidden", else: "visible"

    ok(
      "the node is connected to #{length(visible)} visible nodes; this node is #{as}",
      "erlang:nodes/1 on the node"
    )
  end

  defp round_trip(%{connection: %{node: node}}) do
    times = Enum.sort(for _call <- 1..@calls, do: time(node))
    median = Enum.at(times, div(@calls, 2))

    ok(
      "#{Cluster.ms(hd(times))} at best, #{Cluster.ms(median)} median",
      "#{@calls} calls with :erpc"
    )
  end

  defp time(node) do
    {time, _node} = :timer.tc(fn -> call(node, :erlang, :node, []) end)
    time
  end

  @doc false
  # A node that is stuck or lost is a finding, not a crash of the check.
  @spec call(node(), module(), atom(), [term()], timeout()) :: term()
  def call(node, module, function, arguments, timeout \\ @timeout) do
    :erpc.call(node, module, function, arguments, timeout)
  catch
    :error, {:erpc, :timeout} ->
      fact = "timed out after #{timeout} ms: the node did not answer"
      abort(failed(fact, nil, "the VM may be stuck or overloaded", retry()))

    :error, {:erpc, reason} ->
      abort(
        failed(
          "lost the connection to #{node} (#{inspect(reason)})",
          nil,
          "the node or its pod may have ended",
          retry()
        )
      )
  end

  defp retry, do: {:mix, "k8s.doctor", []}
end
