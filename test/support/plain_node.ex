defmodule K8sConnect.PlainNode do
  @moduledoc """
  A BEAM of its own that code can be sent to: another program of a user's. Unless it is given our
  code it has none of it.
  """

  @loop """
  for line <- IO.stream(:stdio, :line) do
    value =
      try do
        line |> Code.eval_string() |> elem(0)
      catch
        kind, reason -> {kind, reason}
      end

    IO.puts("=> " <> inspect(value, limit: :infinity, printable_limit: :infinity))
  end
  """

  @doc """
  Starts one. Options: `:name` makes it a node; `:home`, where its cookie is; `:user`, another one
  than ours; `:words`, more words for `elixir`; `:env`, more variables.
  """
  def start(options) do
    name = if options[:name], do: ["--name", options[:name]], else: []
    words = ["elixir"] ++ name ++ Keyword.get(options, :words, []) ++ ["-e", @loop]

    env =
      for {key, value} <- [{"HOME", options[:home]} | Keyword.get(options, :env, [])],
          value != nil,
          do: "#{key}=#{value}"

    become = if options[:user], do: login(options[:user]), else: []
    [command | arguments] = become ++ ["env", "PATH=#{System.get_env("PATH")}" | env] ++ words

    Port.open({:spawn_executable, System.find_executable(command)}, [
      :binary,
      :exit_status,
      :stderr_to_stdout,
      line: 100_000,
      cd: "/",
      args: arguments
    ])
  end

  # In a login session of that user's, and not in ours.
  defp login(user) do
    {uid, 0} = System.cmd("id", ["-u", user])
    uid = String.trim(uid)
    session = Path.expand("../../script/lib/login-session", __DIR__)
    become = ~w(setpriv --reuid=#{uid} --regid=#{uid} --clear-groups --inh-caps=-all)
    ["sudo", "-n", session, uid | become]
  end

  @doc """
  Evaluates one line of code there, and answers how the value looks.
  """
  def eval(port, code) do
    Port.command(port, code <> "\n")
    answer(port, [])
  end

  @doc """
  Ends it, by the end of its input.
  """
  def stop(port) do
    Port.command(port, "System.halt(0)\n")
    await_end(port)
  end

  @doc """
  Waits for its end and answers the exit status.
  """
  def await_end(port) do
    receive do
      {^port, {:data, _line}} -> await_end(port)
      {^port, {:exit_status, status}} -> status
    after
      20_000 -> ExUnit.Assertions.flunk("it goes on")
    end
  end

  defp answer(port, seen) do
    receive do
      {^port, {:data, {:eol, "=> " <> value}}} -> value
      {^port, {:data, {_eol, line}}} -> answer(port, [line | seen])
      {^port, {:exit_status, status}} -> ExUnit.Assertions.flunk(said(seen, "ended: #{status}"))
    after
      30_000 -> ExUnit.Assertions.flunk(said(seen, "no answer"))
    end
  end

  defp said(lines, text), do: text <> "\n" <> (lines |> Enum.reverse() |> Enum.join("\n"))
end
