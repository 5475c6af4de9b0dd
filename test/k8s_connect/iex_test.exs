defmodule K8sConnect.IExTest do
  # What the helpers print without a cluster. Not async: standard output is captured.
  use ExUnit.Case, async: false

  import ExUnit.CaptureIO
  import K8sConnect.IEx

  test "errors are printed, and not raised" do
    missing = [kubeconfig: "/does/not/exist"]
    assert capture_io(fn -> assert pods(missing) == :ok end) =~ "/does/not/exist"
    assert capture_io(fn -> assert connect("app-0", missing) == nil end) =~ "/does/not/exist"
    assert capture_io(fn -> assert connect("app-0", frob: 1) == nil end) =~ "unknown option"
    assert capture_io(fn -> assert connect(nil) == nil end) =~ "missing"
  end

  test "no connections" do
    assert capture_io(fn -> assert nodes() == :ok end) =~ "no connections"
  end

  test "a function of this shell is refused with a reason" do
    assert capture_io(fn -> assert on("app-0", fn -> 1 end) == nil end) =~
             "does not have its module"
  end

  test "on/4 and on/2 with a node" do
    assert on(node(), :erlang, :abs, [-1]) == 1
    assert on(node(), "1 + 1") == 2
    assert capture_io(fn -> assert on(node(), "raise \"boom\"") == nil end) =~ "boom"

    assert capture_io(fn -> assert on(node(), :lists, :nope, []) == nil end) =~
             "no such function :lists.nope"

    assert capture_io(fn -> assert on(node(), "throw(:x)") == nil end) =~ ":x"
    assert capture_io(fn -> assert on(:none@nowhere, "1") == nil end) =~ "lost the connection"
  end

  defmodule Trap do
    # An exception of the node that names a module here.
    defexception [:text]

    @impl true
    def message(%{text: text}) do
      send(:iex_test, :called)
      text
    end
  end

  test "no module here makes the text of an exception from a call, and the text is safe and short" do
    Process.register(self(), :iex_test)
    large = Bitwise.bsl(1, 1_000_000)

    for {reason, part} <- [
          {%Trap{text: "boom"}, ~s(text: "boom")},
          {{:badmatch, large}, "a term of 125"},
          {"\e[2Jclear", "clear"},
          {:"a\e]0;title\a", "** (error)"}
        ] do
      output = capture_io(fn -> assert on(node(), :erlang, :error, [reason]) == nil end)
      assert output =~ part
      refute output =~ ~r/[\e\a]/
      assert byte_size(output) < 5000
    end

    refute_received :called

    assert capture_io(fn -> on(node(), :erlang, :abs, [:a]) end) =~
             "** (error) :badarg\n    :erlang.abs"
  end

  test "the text of an exception from an expression is safe and short" do
    code = ~S[raise "\e[2J" <> String.duplicate("ü", 100_000)]
    output = capture_io(fn -> assert on(node(), code) == nil end)
    assert output =~ "** (RuntimeError) ü"
    refute output =~ "\e"
    assert String.length(output) < 17_000
  end

  test "top/2 prints the busiest processes" do
    output = capture_io(fn -> assert top(node(), window: 10, limit: 3) == :ok end)
    assert [_head, row, _second, _third] = String.split(output, "\n", trim: true)
    assert row =~ ~r/^<0\.\d+\.0> +\d+ +\d+ +\d+  \S/
    assert capture_io(fn -> top(node(), limit: 0) end) =~ "invalid value for :limit"
  end

  test "trace/3 prints the calls, and why it stopped" do
    caller =
      spawn_link(fn ->
        Stream.repeatedly(fn -> :lists.nth(2, [:a, :b]) && Process.sleep(1) end) |> Stream.run()
      end)

    output =
      capture_io(fn ->
        assert trace(node(), ":lists.nth/2", limit: 2, process: pid(caller)) == :ok
      end)

    assert output =~ ":lists.nth(2, [:a, :b])\n"
    assert output =~ ~r":lists.nth/2 -> :b \(\d+ µs\)\n"
    assert output =~ "stopped after 2 calls: the limit is reached"
    assert capture_io(fn -> trace(node(), "NoSuch.fun/1") end) =~ "no such module NoSuch"
    assert capture_io(fn -> trace(node(), "") end) =~ "invalid pattern"
    Process.unlink(caller)
    Process.exit(caller, :kill)
  end

  defp pid(pid), do: pid |> :erlang.pid_to_list() |> to_string()

  test "every helper has documentation with an example" do
    {:docs_v1, _, _, _, %{"en" => about}, _, docs} = Code.fetch_docs(K8sConnect.IEx)
    assert about =~ "import_if_available K8sConnect.IEx"

    for {{:function, name, arity}, _, _, doc, _} <- docs do
      assert {_helper, %{"en" => text}} = {{name, arity}, doc}
      assert text =~ "iex> "
    end
  end
end
