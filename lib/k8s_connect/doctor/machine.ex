defmodule K8sConnect.Doctor.Machine do
  @moduledoc false
  # This BEAM, the native library in it, and the helper beside it.

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

  # The words were checked already where they come from a command line.
  defp options(%{unusable: error} = context) do
    {failure("cannot be used", error, context), %{}}
  end

  defp options(_context), do: []

  defp distribution(_context) do
    if Node.alive?() do
      ok("node #{Node.self()}, #{kind()} name, #{shown()}", "this BEAM")
    else
      ok(
        "not a node; it becomes one, hidden and without a listener, for a connection",
        "this BEAM"
      )
    end
  end

  defp kind, do: if(:net_kernel.longnames(), do: "long", else: "short")

  # What it was started with; our own connections are hidden ones whatever it is.
  defp shown do
    cond do
      K8sConnect.connections() != [] and Distribution.own?() -> "started by us, hidden"
      :init.get_argument(:hidden) != :error -> "hidden"
      :init.get_argument(:dist_listen) == {:ok, [[~c"false"]]} -> "without a listener, hidden"
      true -> "visible to others; our connections are hidden ones all the same"
    end
  end

  defp helper(%{route: %{sudo: sudo}} = context) do
    if sudo or Program.installed?(),
      do: tried(Trial.run(sudo), context),
      else:
        ok("not installed, so there is the route vm only (mix help k8s.helper)", Program.path())
  end

  defp tried({:ok, ready, verdicts}, _context) do
    by = "version #{ready.version}, protocol #{ready.major}.#{ready.minor}"
    source = "#{Program.path()}, tried"
    works? = Enum.any?(verdicts, &match?({_family, {:works, _time}}, &1))

    findings =
      for {family, verdict} <- verdicts,
          do: Map.put(verdict(verdict, works?, by, source), :name, "helper, #{family}")

    {findings, %{helper: works?}}
  end

  defp tried({:error, error}, context) do
    finding = failure("does not work", error, context)
    # The other route is not touched by it.
    {%{finding | status: :warning, source: Program.path()}, %{helper: false}}
  end

  defp verdict({:works, time}, _works?, by, source),
    do: ok("#{by}; a redirected connection arrived after #{time} us", source)

  # Many machines have one family only.
  defp verdict({:fails, why}, true, by, source), do: ok("#{by}; not for this one: #{why}", source)

  defp verdict({:fails, why}, false, by, source),
    do: warning("#{by}; it does not work", source, why, "mix k8s.helper status")
end
