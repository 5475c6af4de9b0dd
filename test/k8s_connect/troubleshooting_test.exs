defmodule K8sConnect.TroubleshootingTest do
  use ExUnit.Case, async: true

  alias K8sConnect.Error
  alias K8sConnect.Error.Catalogue

  @guide "guides/troubleshooting.md"

  @stages [
    options: {"Options", "What was asked for cannot be."},
    native: {"The library", "The native part of this library."},
    config: {"The kubeconfig", "Files on this machine; nothing was sent yet."},
    cluster: {"The API server", "The way there, who we are to it, and what it lets us do."},
    target: {"The pod", "What the target leads to."},
    node: {"The node", "What answers in the pod, before any cookie is needed."},
    cookie: {"The cookie", "It was looked for, and is never shown."},
    outlet: {"This machine", "How the connection gets from the library to the BEAM."},
    helper: {"The helper", "The small program of the kernel route."},
    route: {"The route", "How the node's address leads to its pod."},
    connect: {"The connection", "Erlang's own handshake, and what comes after it."},
    exec: {"A command", "What `--exec` was to run, and the program that runs it."},
    remote: {"On the node", "What was wanted of it once it was connected."}
  ]

  test "the guide is the catalogue" do
    text = IO.iodata_to_binary(guide())

    unless File.read(@guide) == {:ok, text} do
      File.write!(@guide, text)
      flunk("#{@guide} was of another catalogue. It is written anew: look at it, and commit it")
    end
  end

  test "every stage has its chapter" do
    stages = for {stage, _kind, _details} <- Catalogue.examples(), uniq: true, do: stage
    assert stages == Keyword.keys(@stages)
  end

  defp guide do
    [
      """
      # Troubleshooting

      Begin with the doctor, which looks at all of it in order and says what is wrong first:

          mix k8s.doctor app-0

      Below is every failure that this library knows, as it is told, with made-up names: what was tried, what
      was seen, and a command that shows more or mends it. In code each is
      `{:error, %K8sConnect.Error{stage: stage, reason: {kind, details}}}`; `mix k8s.connect --json` has the same.

      This file is made from `K8sConnect.Error.Catalogue` by its test.
      """
      | Enum.map(@stages, &chapter/1)
    ]
  end

  defp chapter({stage, {title, about}}) do
    kinds = for {^stage, kind, details} <- Catalogue.examples(), do: {kind, details}
    sections = kinds |> Enum.chunk_by(&elem(&1, 0)) |> Enum.map(&section(stage, &1))
    ["\n## #{title}: `#{inspect(stage)}`\n\n#{about}\n" | sections]
  end

  defp section(stage, [{kind, _details} | _more] = examples) do
    code = Error.exit_code(Error.new(stage, {kind, %{}}))

    [
      "\n### `#{inspect(kind)}`, exit code #{code}\n"
      | for({kind, details} <- examples, do: example(Error.new(stage, {kind, details})))
    ]
  end

  defp example(error) do
    {message, command} = {Exception.message(error), Error.command(error)}

    if command,
      do: "\n#{escape(String.replace_suffix(message, command, ""))}\n\n    #{command}\n",
      else: "\n#{escape(message)}\n"
  end

  # Markdown would take them for its own.
  defp escape(text), do: text |> String.trim() |> String.replace(~r/[*_<>|\[\]]/, "\\\\\\0")
end
