defmodule Mix.K8sConnect.Report do
  @moduledoc false
  # How an examination is printed: lines for people, JSON for programs, and the text for a bug report.

  alias K8sConnect.Doctor
  alias K8sConnect.Doctor.Redaction

  @marks %{ok: "✓", warning: "!", failed: "✗", skipped: "–", crashed: "☠"}
  @colors %{ok: :green, warning: :yellow, failed: :red, skipped: :faint, crashed: :red}

  @doc """
  The exit code: 0 well, 3 something failed, 4 warnings only.
  """
  @spec code(Doctor.report()) :: 0 | 3 | 4
  def code(%{status: :ok}), do: 0
  def code(%{status: :failed}), do: 3
  def code(%{status: :warning}), do: 4

  @doc """
  Lines for people; `IO.ANSI.format/2` makes a text of them.
  """
  @spec text(Doctor.report()) :: IO.ANSI.ansidata()
  def text(report), do: [Enum.map(report.layers, &layer/1), "\n", verdict(report), "\n"]

  @doc """
  The same tree as JSON.
  """
  @spec json(Doctor.report()) :: String.t()
  def json(report), do: IO.iodata_to_binary([K8sConnect.JSON.encode(report), "\n"])

  @doc """
  All of it in plain text, without what is nobody else's business: see `mix help k8s.doctor`.
  """
  @spec public(Doctor.report()) :: String.t()
  def public(report) do
    ["## mix k8s.doctor --report\n\n", IO.ANSI.format(text(Redaction.report(report)), false)]
    |> IO.iodata_to_binary()
  end

  # What was skipped as a whole is one line.
  defp layer(%{status: :skipped, checks: [%{fact: fact} | _more]} = layer),
    do: [mark(:skipped), " ", layer.title, ": ", fact, "\n"]

  defp layer(layer) do
    # What was skipped for one reason is one line.
    chunks = Enum.chunk_by(layer.checks, &if(&1.status == :skipped, do: &1.fact, else: &1))
    [mark(layer.status), " ", :bright, layer.title, :reset, "\n", Enum.map(chunks, &chunk/1)]
  end

  defp chunk([%{status: :skipped, fact: fact} | _more] = checks),
    do: check(%{hd(checks) | name: Enum.map_join(checks, ", ", & &1.name), fact: fact})

  defp chunk([check]), do: check(check)
  defp chunk(checks), do: Enum.map(checks, &check/1)

  defp check(check) do
    [
      ["    ", mark(check.status), " ", String.pad_trailing(check.name, 24), " ", check.fact],
      source(check.source),
      "\n",
      why(check.why),
      command(check.command)
    ]
  end

  defp source(nil), do: []
  defp source(source), do: [:faint, " (", source, ")", :reset]

  defp why(nil), do: []
  defp why(why), do: ["        why: ", why, "\n"]

  # As it is to be pasted: what has several lines begins at the margin.
  defp command(nil), do: []

  defp command(command) do
    if command =~ "\n",
      do: ["        run:\n\n", :cyan, command, :reset, "\n\n"],
      else: ["        run: ", :cyan, command, :reset, "\n"]
  end

  defp mark(status), do: [Map.fetch!(@colors, status), Map.fetch!(@marks, status), :reset]

  defp verdict(%{status: :ok}), do: "No issues found."

  defp verdict(report) do
    failed = titles(report, [:failed, :crashed])
    warned = titles(report, [:warning])

    parts =
      for {word, titles} <- [{"Failed", failed}, {"Warnings", warned}],
          titles != "",
          do: "#{word}: #{titles}."

    Enum.join(parts, " ")
  end

  defp titles(report, statuses) do
    Enum.map_join(
      for(layer <- report.layers, layer.status in statuses, do: layer),
      ", ",
      & &1.title
    )
  end
end
