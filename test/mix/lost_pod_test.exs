defmodule Mix.Tasks.K8s.LostPodTest do
  # What a user's shell or program does when the pod is deleted, on the laptop, as `dev`.
  use ExUnit.Case, async: false

  import K8sConnect.{Laptop, Project, Terminal, Tmp}

  @moduletag :cluster
  @moduletag timeout: 180_000

  @node ~r/app@10\.244\.1\.\d+/
  @env [{"MIX_ENV", "dev"}]

  setup_all do
    {_output, 0} = run(path("."), "mix", ["compile"], @env)
    on_exit(&await_pod/0)
  end

  setup do
    await_pod()
    :ok
  end

  defp await_pod, do: as_admin("kubectl rollout status sts app --timeout=90s")

  defp delete_pod,
    do: as_admin("kubectl delete pod app-0 --grace-period=0 --force --wait=false 2> /dev/null")

  defp answering(text), do: Regex.run(~r/answer of (\S+)\./, text, capture: :all_but_first)
  defp node_in(text), do: hd(Regex.run(@node, text))

  for command <- ["mix k8s.connect app-0", "iex -S mix k8s.connect app-0"] do
    test "#{command} keeps the shell, its bindings and its prompt" do
      terminal = open(unquote(command), @env)
      expect(terminal, ~r/iex\(rem-dev-[\w-]+@127\.0\.0\.1\)/)
      type(terminal, "answer = 41\r")
      expect(terminal, ~r/41.*iex\(/s)
      delete_pod()
      lost = expect(terminal, ~r/lost app@10\.244\.1\.\d+ \([^)]+\), reconnecting …/)
      connected = expect(terminal, ~r/connected to app@10\.244\.1\.\d+/)
      type(terminal, "{answer + 1, :erpc.call(:\"#{node_in(connected)}\", Kernel, :node, [])}\r")
      expect(terminal, "{42, :\"#{node_in(connected)}\"}")
      assert node_in(lost) != node_in(connected)
      type(terminal, "System.halt(0)\r")
      assert await_end(terminal) == 0
    end
  end

  test "--remsh ends, as its shell ran on the node, and offers a new one" do
    terminal = open("mix k8s.connect app-0 --remsh", @env)
    expect(terminal, ~r/iex\(app@10\.244\.1\.\d+\)/)
    delete_pod()
    screen = expect(terminal, ~r/mix k8s\.connect app-0 .*--remsh/)
    assert screen =~ ~r/lost the connection to app@10\.244\.1\.\d+|was replaced|was deleted/
    assert await_end(terminal) == 1
  end

  # As Livebook's standalone runtime has it
  test "a VM without Mix, which is controlled over its standard input and output" do
    ebin = path("_build/dev/lib/k8s_connect/ebin")
    elixir = Path.dirname(Application.app_dir(:elixir))
    paths = for folder <- [ebin | Path.wildcard("#{elixir}/*/ebin")], do: ["-pa", folder]
    arguments = for word <- List.flatten(paths), do: to_charlist(word)
    {:ok, peer, :nonode@nohost} = :peer.start_link(%{connection: :standard_io, args: arguments})

    # A term of the VM would not find its way back: the VM gets a node name when it connects.
    eval = fn code -> :peer.call(peer, Code, :eval_string, [code], 60_000) |> elem(0) end
    {:ok, _started} = :peer.call(peer, :application, :ensure_all_started, [:elixir])
    {:ok, _started} = :peer.call(peer, :application, :ensure_all_started, [:k8s_connect])
    uid = eval.(~s[K8sConnect.connect!("app-0").uid])
    delete_pod()
    await(fn -> match?([%{state: :reconnecting}], eval.("K8sConnect.connections()")) end)
    {:ok, connection} = eval.("K8sConnect.await_up(hd(K8sConnect.connections()))")
    assert connection.uid != uid

    assert eval.("for node <- Node.list(:hidden), do: :erpc.call(node, Kernel, :node, [])") == [
             connection.node
           ]

    :peer.stop(peer)
  end

  test "an application with the child spec, in mix run --no-halt" do
    %{tmp_dir: tmp_dir} = tmp_dir(%{})
    application = "def application, do: [mod: {Kept, []}, extra_applications: [:logger]]"
    write_project(tmp_dir, :kept, application)

    File.write!(Path.join(tmp_dir, "lib/kept.ex"), """
    defmodule Kept do
      use Application

      def start(_type, _arguments) do
        children = [{K8sConnect, target: "sts/app", name: Kept.Prod}, {Task, &print/0}]
        Supervisor.start_link(children, strategy: :one_for_one)
      end

      # Prints each node that has answered.
      defp print do
        reference = K8sConnect.subscribe(Kept.Prod)
        print(reference)
      end

      defp print(reference) do
        receive do
          {:k8s_connect, ^reference, {:up, %{node: node}}} ->
            IO.puts("answer of \#{:erpc.call(node, :erlang, :node, [])}.")

          {:k8s_connect, ^reference, _event} ->
            :ok
        end

        print(reference)
      end
    end
    """)

    terminal = open("cd #{tmp_dir} && exec mix run --no-halt", @env)
    first = expect(terminal, ~r/answer of app@10\.244\.1\.\d+\./)
    delete_pod()
    second = expect(terminal, ~r/answer of app@10\.244\.1\.\d+\./)
    assert answering(first) != answering(second)
    # ^C a
    type(terminal, <<3>>)
    expect(terminal, "(a)bort")
    type(terminal, "a\r")
    await_end(terminal)
  end
end
