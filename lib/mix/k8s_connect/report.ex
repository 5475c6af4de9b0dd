defmodule Mix.K8sConnect.Report do
  @moduledoc false
  # Formats a report of the doctor: as text, as JSON, and as text for a bug report.

  alias K8sConnect.Doctor
  alias K8sConnect.Doctor.Redaction

  @marks %{ok: "✓", warning: "!", failed: "✗", skipped: "–", crashed: "☠"}
  @colors %{ok: :green, warning: :yellow, failed: :red, skipped: :faint, crashed: :red}

  @doc """
  The exit code: 0 no issues, 3 a check failed, 4 warnings only.
  """
  @spec code(Doctor.report()) :: 0 | 3 | 4
  def code(%{status: :ok}), do: 0
  def code(%{status: :failed}), do: 3
  def code(%{status: :warning}), do: 4

  @doc """
  The whole report as text, for `IO.ANSI.format/2`.
  """
  @spec text(Doctor.report()) :: IO.ANSI.ansidata()
  def text(report), do: [Enum.map(report.layers, &layer/1), summary(report)]

  @doc """
  The report as JSON.
  """
  @spec json(Doctor.report()) :: String.t()
  def json(report), do: IO.iodata_to_binary([K8sConnect.JSON.encode(report), "\n"])

  @doc """
  The report as plain text without private data: see `mix help k8s.doctor`.
  """
  @spec public(Doctor.report()) :: String.t()
  def public(report) do
    ["## mix k8s.doctor --report\n\n", IO.ANSI.format(text(Redaction.report(report)), false)]
    |> IO.iodata_to_binary()
  end

  @doc """
  A layer as text, for `IO.ANSI.format/2`. A layer that was skipped is one line.
  """
  @spec layer(Doctor.layer()) :: IO.ANSI.ansidata()
  def layer(%{status: :skipped, checks: [%{fact: fact} | _more]} = layer),
    do: [mark(:skipped), " ", layer.title, ": ", fact, "\n"]

  def layer(layer) do
    # Checks that were skipped for the same reason are one line.
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

  # A command of several lines starts at the margin, so that it can be pasted.
  defp command(nil), do: []

  defp command(command) do
    if command =~ "\n",
      do: ["        run:\n\n", :cyan, command, :reset, "\n\n"],
      else: ["        run: ", :cyan, command, :reset, "\n"]
  end

  defp mark(status), do: [Map.fetch!(@colors, status), Map.fetch!(@marks, status), :reset]

  @doc """
  The last line of the text.
  """
  @spec summary(Doctor.report()) :: [String.t(), ...]
  def summary(report), do: ["\n", issues(report), "\n"]

  defp issues(%{status: :ok}), do: "No issues found."

  defp issues(report) do
    failed = titles(report, [:failed, :crashed])
    warned = titles(report, [:warning])

    parts =
      for {label, titles} <- [{"Failed", failed}, {"Warnings", warned}],
          titles != "",
          do: "#{label}: #{titles}."

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
