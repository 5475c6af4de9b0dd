defmodule K8sConnect.Doctor.Machine do
  @moduledoc false
  # This BEAM, the native library and the helper.

  @behaviour K8sConnect.Doctor.Layer

  import K8sConnect.Doctor.Check

  alias K8sConnect.{Distribution, Native}
  alias K8sConnect.Helper.{Program, Trial}

  @impl true
  def checks do
    [
      {"Elixir", :nothing, &elixir/1},
      {"system", :nothing, &system/1},
      {"library", :nothing, &library/1},
      {"options", :nothing, &options/1},
      {"distribution", :nothing, &distribution/1},
      {"helper", :library, &helper/1}
    ]
  end

  defp elixir(_context) do
    ok("#{System.version()} on Erlang/OTP #{System.otp_release()}, ERTS #{erts()}", "this BEAM")
  end

  defp erts, do: :erlang.system_info(:version)

  defp system(_context) do
    version = with {a, b, c} <- :os.version(), do: "#{a}.#{b}.#{c}"
    {_family, name} = :os.type()
    ok("#{name} #{version}, #{:erlang.system_info(:system_architecture)}", "this BEAM")
  end

  defp library(context) do
    version = to_string(Application.spec(:k8s_connect, :vsn))

    case Native.library() do
      {:ok, path} -> {ok("k8s_connect #{version}, loaded", path), %{library: path}}
      {:error, error} -> failure("k8s_connect #{version}, not loaded", error, context)
    end
  end

  # Only errors of the machine get here: invalid options raise.
  defp options(%{unusable: error} = context), do: failure("unusable", error, context)
  defp options(_context), do: []

  defp distribution(_context) do
    if Node.alive?() do
      ok("node #{Node.self()}, #{kind()} name, #{visibility()}", "this BEAM")
    else
      ok(
        "not started; a connection starts it, hidden and without a listener",
        "this BEAM"
      )
    end
  end

  defp kind, do: if(:net_kernel.longnames(), do: "long", else: "short")

  # How the node was started; connections of k8s_connect are always hidden.
  defp visibility do
    cond do
      K8sConnect.connections() != [] and Distribution.own?() -> "started by k8s_connect, hidden"
      :init.get_argument(:hidden) != :error -> "hidden"
      :init.get_argument(:dist_listen) == {:ok, [[~c"false"]]} -> "without a listener, hidden"
      true -> "visible; connections of k8s_connect are hidden"
    end
  end

  defp helper(%{route: %{sudo: sudo}} = context) do
    if sudo or Program.installed?(),
      do: test_result(Trial.run(sudo), context),
      else: ok("not installed; the kernel route needs it (mix help k8s.helper)", Program.path())
  end

  defp test_result({:ok, ready, results}, _context) do
    version = "version #{ready.version}, protocol #{ready.major}.#{ready.minor}"
    source = "test of #{Program.path()}"
    works? = Enum.any?(results, &match?({_family, {:works, _time}}, &1))

    findings =
      for {family, result} <- results,
          do: Map.put(family(result, works?, version, source), :name, "helper, #{family}")

    {findings, %{helper: works?}}
  end

  defp test_result({:error, error}, context) do
    finding = failure("does not work", error, context)
    # The vm route works without it.
    {%{finding | status: :warning, source: Program.path()}, %{helper: false}}
  end

  defp family({:works, time}, _works?, version, source),
    do: ok("#{version}; a redirected connection arrived after #{time} us", source)

  # Many machines have only one of IPv4 and IPv6.
  defp family({:fails, why}, true, version, source),
    do: ok("#{version}; no redirects: #{why}", source)

  defp family({:fails, why}, false, version, source),
    do: warning("#{version}; no redirects", source, why, {:mix, "k8s.helper", ["status"]})
end
