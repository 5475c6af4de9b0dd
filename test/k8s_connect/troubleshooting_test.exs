defmodule K8sConnect.TroubleshootingTest do
  use ExUnit.Case, async: true

  alias K8sConnect.{Error, ErrorExamples}

  @guide "guides/troubleshooting.md"

  @stages [
    options:
      {"Options",
       "Functions raise most of these as `ArgumentError`, with the same message; a cookie file that cannot be used is an " <>
         "`{:error, error}`. The Mix tasks print a usage error."},
    native: {"Native library", "The Rust part of this library."},
    config: {"Kubeconfig", "Files on this machine. No request was sent yet."},
    cluster: {"API server", "The path to the API server, the login, and permissions."},
    target: {"Pod", "The pod of the target."},
    node: {"Node", "epmd and the node in the pod, before a cookie is needed."},
    cookie: {"Cookie", "Where the cookie comes from. It is never printed."},
    endpoint: {"Local endpoint", "Sockets and ports on this machine."},
    helper: {"Helper", "The privileged program of the kernel route."},
    route: {"Route", "The path from this VM to the local endpoint."},
    connect: {"Connection", "Erlang's handshake, and the connection as a whole."},
    exec: {"Commands", "The command of `--exec`, and the program that runs it."},
    remote: {"On the node", "Code, shells, traces and Observer on the node."}
  ]

  test "the guide has every example of the catalogue" do
    text = IO.iodata_to_binary(guide())

    unless File.read(@guide) == {:ok, text} do
      File.write!(@guide, text)
      flunk("#{@guide} was out of date, and is now generated again: read it, and commit it")
    end
  end

  test "every stage has a chapter" do
    stages = for {stage, _kind, _details} <- ErrorExamples.all(), uniq: true, do: stage
    assert stages == Keyword.keys(@stages)
  end

  defp guide do
    [
      """
      # Troubleshooting

      Start with the doctor. It checks every layer in order:

          mix k8s.doctor app-0

      Below are all errors, as `mix k8s.connect app-0 -n shop --context prod` prints them: what failed, why, and what
      to do next. In code an error is `{:error, %K8sConnect.Error{stage: stage, reason: {kind, details}}}`, and its
      message names options instead of switches. `mix k8s.connect --json` prints stage, kind, message and command as JSON.

      `test/k8s_connect/troubleshooting_test.exs` generates this file from the error catalogue.
      """
      | Enum.map(@stages, &chapter/1)
    ]
  end

  defp chapter({stage, {title, about}}) do
    kinds = for {^stage, kind, details} <- ErrorExamples.all(), do: {kind, details}
    sections = kinds |> Enum.chunk_by(&elem(&1, 0)) |> Enum.map(&section(stage, &1))
    ["\n## #{title}: `#{inspect(stage)}`\n\n#{about}\n" | sections]
  end

  defp section(stage, [{kind, _details} | _more] = examples) do
    code = Error.exit_code(Error.new(stage, {kind, %{}}))

    [
      "\n### `#{inspect(kind)}`, exit code #{code}\n"
      | for({kind, details} <- examples, do: example(error(stage, kind, details)))
    ]
  end

  defp error(stage, kind, details) do
    stage
    |> Error.new({kind, details})
    |> Error.for_request("app-0", context: "prod", namespace: "shop")
  end

  defp example(error) do
    {message, command} = {Error.message(error, :cli), Error.command(error)}

    if command,
      do: "\n#{escape(String.replace_suffix(message, command, ""))}\n\n    #{command}\n",
      else: "\n#{escape(message)}\n"
  end

  # Characters with a meaning in Markdown.
  defp escape(text), do: text |> String.trim() |> String.replace(~r/[*_<>|\[\]]/, "\\\\\\0")
end
