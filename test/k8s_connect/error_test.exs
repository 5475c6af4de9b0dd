defmodule K8sConnect.ErrorTest do
  use ExUnit.Case, async: true

  alias K8sConnect.{Error, ErrorExamples}

  test "every kind of the native library has an example" do
    known = for {_stage, kind, _details} <- ErrorExamples.all(), do: Atom.to_string(kind)

    for file <- Path.wildcard("native/nif/src/**/*.rs"),
        [_, kind] <- Regex.scan(~r/reason!\(\s*env,\s*(\w+) \{/, File.read!(file)),
        do: assert(kind in known, "#{kind} of #{file}")
  end

  test "the message, the command and the exit code of an error" do
    error = Error.new(:target, {:no_such_pod, %{pod: "p", namespace: "n"}})
    assert Error.summary(error) == ~s(no such pod: "p" in namespace "n")
    assert Error.command(error) == "kubectl get pods -n n"

    assert Exception.message(error) ==
             ~s(no such pod: "p" in namespace "n". List the pods with: kubectl get pods -n n)

    assert Error.exit_code(error) == 1
    assert Error.exit_code(Error.new(:options, {:no_target, %{}})) == 2
    assert Error.command(Error.new(:options, {:target_and_selector, %{target: "a"}})) == nil
  end

  test "a question keeps its mark" do
    error = Error.new(:cluster, {:timed_out, %{server: "https://s", timeout_ms: 5}})
    assert Exception.message(error) =~ "Does it need a VPN? Check with: "
  end

  # Code has options, a command line has switches.
  test "a message names options in code and switches on a command line" do
    for {stage, kind, details} <- ErrorExamples.all(), kind not in [:usage, :remsh_in_iex] do
      error = Error.new(stage, {kind, details})
      code = error |> Error.explanation() |> String.replace("--frob", "")

      refute code =~ ~r/(^| )--?[a-z-]+( |$)/ and
               not (code =~ ~r/-(proto_dist|kernel|epmd_module|setcookie)/)

      refute Exception.message(error) =~ "mix k8s.connect"

      refute Error.message(error, :cli) =~
               ~r/\b((route|cookie_from): :|cookie_file: "|timeout: \d)/

      refute Error.message(error, :cli) =~ "K8sConnect.connect("
    end

    error = Error.new(:helper, {:not_installed, %{path: "/h"}})
    assert Error.message(error, :code) =~ "route: :exec for one program, or route: :vm"
    assert Error.message(error, :cli) =~ "--exec for one program, or --route vm"
  end

  test "every error goes into JSON" do
    for {stage, kind, details} <- ErrorExamples.all() do
      map = Error.to_map(Error.new(stage, {kind, details}))
      assert %{stage: ^stage, kind: ^kind, message: _, command: _, exit_code: _} = map
      assert IO.iodata_to_binary(K8sConnect.JSON.encode(map)) =~ ~s("kind":"#{kind}")
    end
  end

  test "text from outside cannot move the cursor" do
    escape = "\e[2J\e]0;title\ared\e[31m\r\n\u009b1m\x7f"
    error = Error.new(:cluster, {:unreachable, %{server: "https://s", problem: escape}})
    message = Error.message(error)
    assert message =~ "red\n1m"
    assert String.replace(message, "\n", "") =~ ~r/^[[:print:]]*$/u
  end

  test "text from outside may be invalid UTF-8" do
    error = Error.new(:config, {:unreadable, %{path: "/\xff", problem: "gone"}})
    assert Error.message(error) =~ "gone"
    assert Error.command(error) =~ "ls -l"
  end
end
