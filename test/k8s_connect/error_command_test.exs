defmodule K8sConnect.ErrorCommandTest do
  # Suggested commands, run by a real shell.
  use ExUnit.Case, async: true

  import K8sConnect.Tmp

  alias K8sConnect.{Error, ErrorExamples, Shellwords}
  alias K8sConnect.Error.{Catalogue, Command}

  @texts [
    "plain",
    "two words",
    "it's",
    ~S(a"b),
    "$(touch owned)",
    "`touch owned`",
    "a;touch owned",
    "a&&b|c>d<e",
    "$HOME",
    "~",
    "*",
    "#x",
    "!x",
    "a\\b",
    "two\nlines",
    "-x",
    "--context",
    "ünï/ćode",
    "x=y",
    ""
  ]

  setup :tmp_dir

  # Programs that print their arguments, each with a NUL after it.
  setup %{tmp_dir: directory} do
    for program <- ~w(kubectl mix ls) do
      file = Path.join(directory, program)
      File.write!(file, "#!/bin/sh\nprintf '%s\\0' \"${0##*/}\" \"$@\"\n")
      File.chmod!(file, 0o755)
    end

    %{run: &run(&1, directory)}
  end

  defp run(line, directory) do
    path = directory <> ":" <> System.fetch_env!("PATH")
    {output, 0} = System.cmd("/bin/sh", ["-c", line], cd: directory, env: [{"PATH", path}])
    refute File.exists?(Path.join(directory, "owned"))
    output |> String.split("\0") |> Enum.drop(-1)
  end

  defp request(target, options), do: Error.request(target, options)

  test "a shell gets each word as it is", %{run: run} do
    for text <- @texts do
      assert run.(Shellwords.join(["ls", text, text])) == ["ls", text, text]
      assert run.("ls " <> Shellwords.escape(text)) == ["ls", text]
    end
  end

  test "kubectl gets the request's context, namespace and kubeconfig", %{run: run} do
    for text <- @texts, text != "" do
      request = request(nil, context: text, namespace: text, kubeconfig: text)
      line = Command.render({:kubectl, ["exec", "p", "--", "sh"]}, request, :cli)

      assert run.(line) ==
               ["kubectl", "exec", "p"] ++
                 switch("-n", "--namespace", text) ++
                 switch("--context", "--context", text) ++
                 switch("--kubeconfig", "--kubeconfig", text) ++ ["--", "sh"]
    end
  end

  test "mix gets the request's target and options, which OptionParser reads", %{run: run} do
    for text <- @texts, text != "" do
      request = request(text, context: text, namespace: text, cookie_from: :exec, sudo: true)
      line = Command.render({:mix, "k8s.connect", [cookie_file: text]}, request, :cli)
      assert ["mix", "k8s.connect", ^text | switches] = run.(line)

      assert {:ok, {:connect, "t", options, :default}, :text} =
               Mix.K8sConnect.Options.parse(["t" | switches])

      assert Enum.sort(options) ==
               [context: text, cookie_file: text, namespace: text, sudo: true]
    end
  end

  # A value with a leading dash would be a switch of its own.
  defp switch(_short, long, "-" <> _rest = text), do: ["#{long}=#{text}"]
  defp switch(short, _long, text), do: [short, text]

  test "files, from the error to the shell", %{run: run} do
    for text <- @texts, text != "" do
      error = Error.new(:config, {:unreadable, %{path: text, problem: "gone"}})
      assert ["ls", "-l", path] = run.(Error.command(error))
      assert path == if(String.starts_with?(text, "-"), do: "./" <> text, else: text)
    end
  end

  test "a manifest is for an admin, who has another kubeconfig", %{tmp_dir: directory} do
    request = request("app-0", context: "c 1", namespace: "shop", kubeconfig: "/mine")
    line = Command.render({:apply, "kind: Role\n"}, request, :doctor)
    assert line == "kubectl apply -f - -n shop --context 'c 1' <<'EOF'\nkind: Role\nEOF"
    assert run(line, directory) == ~w(kubectl apply -f - -n shop --context) ++ ["c 1"]
  end

  @request [kubeconfig: "/k f", context: "C", namespace: "N"]
  @switches [
    {~r/^mix k8s\.(connect|doctor)(?! \S+ \S+ --)/, ["-n", "--context", "--kubeconfig"]},
    {~r/^kubectl (get|describe|logs|exec|port-forward|auth can-i) (?!--raw|namespaces)/,
     ["-n", "--context", "--kubeconfig"]},
    {~r/^kubectl (cluster-info|auth whoami|get --raw|get namespaces|config view --minify)/,
     ["--context", "--kubeconfig"]},
    {~r/^kubectl config/, ["--kubeconfig"]},
    {~r/^kubelogin/, ["--context", "--kubeconfig"]}
  ]

  test "every suggested command has the request, where its program takes it", %{run: run} do
    for {stage, kind, details} <- ErrorExamples.all(), audience <- [:cli, :doctor] do
      error = Error.for_request(Error.new(stage, {kind, details}), "app-0", @request)
      line = Error.command(error, audience)
      switches = Enum.find_value(@switches, [], fn {regex, s} -> line && line =~ regex && s end)

      words =
        if line && line =~ ~r/^(mix|kubectl) /, do: run.(line), else: String.split(line || "")

      for switch <- switches, do: assert(switch in words, "#{stage} #{kind}: #{line}")

      if line && audience == :doctor,
        do: refute(line =~ ~r/^mix k8s.connect/ and "app-1" not in words)
    end
  end

  test "a command repeats the request, with its own options last" do
    render = fn command, request, audience -> Command.render(command, request, audience) end
    request = request("sts/app", [node: "a", timeout: 5] ++ @request)
    connect = {:mix, "k8s.connect", [cookie_file: "PATH"]}

    assert render.(connect, request, :cli) ==
             "mix k8s.connect sts/app -n N --context C --kubeconfig '/k f' --node a --timeout 5 --cookie-file PATH"

    assert render.(connect, request, :doctor) ==
             "mix k8s.doctor sts/app -n N --context C --kubeconfig '/k f' --node a --timeout 5 --cookie-file PATH"

    assert render.(connect, request, :code) ==
             ~s|K8sConnect.connect("sts/app", namespace: "N", context: "C", kubeconfig: "/k f", node: "a", timeout: 5, cookie_file: "PATH")|

    selector = request(nil, selector: "app=web", sudo: true)

    assert render.({:mix, "k8s.connect", [route: :vm]}, selector, :cli) ==
             "mix k8s.connect -l app=web --route vm"

    assert render.({:mix, "k8s.connect", []}, selector, :code) ==
             ~s|K8sConnect.connect(nil, selector: "app=web", sudo: true)|

    exec = request("app-0", route: :exec)
    assert render.({:mix, "k8s.connect", []}, exec, :cli) == "mix k8s.connect app-0 -- CMD"
    assert render.({:mix, "k8s.connect", []}, exec, :doctor) == "mix k8s.doctor app-0"

    pods = request(:pods, context: "C")

    assert render.({:mix, "k8s.connect", [timeout: 9]}, pods, :code) ==
             ~s|K8sConnect.pods(context: "C", timeout: 9)|

    assert render.({:mix, "k8s.connect", [timeout: 9]}, pods, :cli) ==
             "mix k8s.pods --context C --timeout 9"

    targeted = request(:pods, context: "C") |> Error.request("sts/app", [])

    assert render.({:mix, "k8s.connect", []}, targeted, :code) ==
             ~s|K8sConnect.pods(target: "sts/app", context: "C")|

    assert render.({:mix, "k8s.connect", []}, targeted, :cli) ==
             "mix k8s.pods sts/app --context C"

    connect = request("app-0", context: "C", trust: true)

    assert render.({:mix, "k8s.pods", [namespace: "N"]}, connect, :cli) ==
             "mix k8s.pods --context C -n N"

    assert render.({:mix, "k8s.pods", []}, connect, :code) == ~s|K8sConnect.pods(context: "C")|

    unknown = request(nil, [])
    assert render.({:mix, "k8s.connect", []}, unknown, :cli) == "mix k8s.connect TARGET"
    assert render.({:mix, "k8s.doctor", []}, unknown, :cli) == "mix k8s.doctor"
    assert render.({:permission, "get", "pods/exec"}, unknown, :cli) == "mix k8s.doctor"

    assert render.({:permission, "get", "pods/exec"}, unknown, :doctor) ==
             "kubectl auth can-i get pods --subresource=exec"
  end

  test "a request keeps what was resolved, and no cookie" do
    error = Error.new(:connect, {:lost, %{node: :a@b, reason: nil}})
    place = %{context: "resolved", namespace: "default"}

    error =
      {:error, error}
      |> Error.for_request("app-0", place)
      |> Error.for_request("other", cookie: "secret", context: "given", node: "n", owner: self())
      |> elem(1)

    assert error.request.target == "app-0"

    assert Enum.sort(error.request.options) == [
             context: "resolved",
             namespace: "default",
             node: "n"
           ]

    refute inspect(error) =~ "secret"

    in_cluster =
      Error.for_request(Error.new(:connect, {:lost, %{node: :a@b, reason: nil}}), "a", %{
        context: "in-cluster"
      })

    assert in_cluster.request.options == []
    assert Error.for_request({:ok, 1}, "app-0", []) == {:ok, 1}
  end

  test "a failed command is about the pod of its connection" do
    connection = %K8sConnect.Connection{
      node: :a@b,
      pod: "app-0",
      uid: "1",
      ip: "10.0.0.1",
      namespace: "shop",
      context: "prod",
      others: [],
      route: :vm,
      cookie_source: nil
    }

    assert {:error, error} = K8sConnect.exec(connection, ["true"])
    assert Error.command(error) == "mix k8s.connect app-0 -n shop --context prod -- CMD"

    assert Exception.message(error) =~
             ~s|K8sConnect.connect("app-0", namespace: "shop", context: "prod", route: :exec)|
  end

  # Each clause of the catalogue with the arguments of its head, from the source.
  defp clauses(module) do
    file =
      "lib/k8s_connect/error/catalogue/" <>
        (module |> Module.split() |> List.last() |> Macro.underscore()) <> ".ex"

    {_ast, heads} = file |> File.read!() |> Code.string_to_quoted!() |> Macro.prewalk([], &head/2)
    assert heads != []
    heads
  end

  defp head({:def, _meta, [{:entry, _, [kind, details]} | _body]} = ast, heads)
       when is_atom(kind),
       do: {ast, [{kind, details} | heads]}

  # A clause for all other kinds of the stage.
  defp head({:def, _meta, [{:entry, _, [{_variable, _, _}, _]} | _body]} = ast, heads),
    do: {ast, heads}

  defp head(ast, heads), do: {ast, heads}

  test "every clause of the catalogue has an example" do
    stages = Catalogue.stages() ++ [cluster: Catalogue.Login, cluster: Catalogue.Proxy]

    for {stage, module} <- stages, {kind, pattern} <- clauses(module) do
      matches? = fn details ->
        pattern = Macro.prewalk(pattern, &anonymous/1)
        code = quote(do: match?(unquote(pattern), unquote(Macro.escape(details))))
        code |> Code.eval_quoted() |> elem(0)
      end

      examples = for {^stage, ^kind, details} <- ErrorExamples.all(), do: details
      assert Enum.any?(examples, matches?), "#{stage} #{kind}: #{Macro.to_string(pattern)}"
    end
  end

  defp anonymous({name, _meta, context}) when is_atom(name) and is_atom(context),
    do: {:_, [], context}

  defp anonymous(ast), do: ast

  test "every example has an entry" do
    for {stage, kind, details} <- ErrorExamples.all() do
      assert {message, remedy} = Catalogue.entry(stage, kind, details)
      assert is_binary(message) or is_list(message)
      assert remedy == nil or is_binary(remedy) or tuple_size(remedy) in [2, 3]
    end
  end
end
