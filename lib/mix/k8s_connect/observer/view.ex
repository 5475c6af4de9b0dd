defmodule Mix.K8sConnect.Observer.View do
  @moduledoc false
  # The state of the terminal view, what keys do to it, and its lines as a pure function of it and of the window's
  # size.

  alias K8sConnect.Snapshot
  alias Mix.K8sConnect.Observer.{Format, Keys, Page}

  # details: of the process that was opened, nil before its first answer; notice: what went wrong last
  defstruct [:snapshot, :details, :notice, page: :processes, sort: :reductions, selected: nil]

  @type page :: :processes | :applications | :tables | {:process, pid()}
  @type t :: %__MODULE__{page: page(), sort: Snapshot.sort()}
  @type line :: IO.ANSI.ansidata()

  @sorts %{?r => :reductions, ?m => :memory, ?l => :messages}
  # Lines above the rows of a table, and below them.
  @around 9

  @doc """
  Shows another snapshot. It may have been asked for before the user chose another order.
  """
  @spec put(t(), Snapshot.t()) :: t()
  def put(view, snapshot), do: sort(%{view | snapshot: snapshot, notice: nil}, view.sort)

  @doc """
  What a key does: the new state, and whether something has to be asked of the node now.
  """
  @spec key(t(), Keys.key(), rows :: pos_integer()) :: {:ok | :ask | :quit, t()}
  def key(view, key, _rows) when key in [:interrupt, {:char, ?q}], do: {:quit, view}
  def key(view, {:char, ?a}, _rows), do: {:ok, %{view | page: :applications, selected: nil}}
  def key(view, {:char, ?e}, _rows), do: {:ask, %{view | page: :tables, selected: nil}}
  def key(view, {:char, ?p}, _rows), do: {:ok, %{view | page: :processes, selected: nil}}

  def key(view, {:char, char}, _rows) when is_map_key(@sorts, char),
    do: {:ask, sort(%{view | page: :processes, selected: nil}, @sorts[char])}

  def key(%{page: :processes} = view, key, _rows) when key in [:escape, {:char, ?b}],
    do: {:ok, view}

  def key(%{page: {:process, pid}} = view, key, _rows) when key in [:escape, {:char, ?b}],
    do: {:ok, %{view | page: :processes, selected: pid, details: nil}}

  def key(view, key, _rows) when key in [:escape, {:char, ?b}],
    do: {:ok, %{view | page: :processes, selected: nil}}

  def key(%{page: :processes} = view, :enter, _rows) do
    case Enum.at(rows(view), position(view)) do
      nil -> {:ok, view}
      row -> {:ask, %{view | page: {:process, row.pid}, details: nil}}
    end
  end

  def key(view, key, rows) when key in [:up, :down, :page_up, :page_down, :home, :end],
    do: {:ok, move(view, key, rows)}

  def key(view, _key, _rows), do: {:ok, view}

  defp sort(%{snapshot: nil} = view, sort), do: %{view | sort: sort}

  # What is known already, until the node has answered.
  defp sort(view, sort) do
    processes = Enum.sort_by(view.snapshot.processes, & &1[sort], :desc)
    %{view | sort: sort, snapshot: %{view.snapshot | processes: processes}}
  end

  defp move(view, key, height) do
    page = max(height - @around, 1)
    last = max(length(rows(view)) - 1, 0)
    moves = %{up: -1, down: 1, page_up: -page, page_down: page, home: -last, end: last}
    position = (position(view) + moves[key]) |> max(0) |> min(last)
    %{view | selected: id(Enum.at(rows(view), position)) || position}
  end

  defp id(%{pid: pid}), do: pid
  defp id(_row), do: nil

  # A process keeps its selection when it moves; a row that is no process is selected by its number.
  defp position(%{selected: pid} = view) when is_pid(pid),
    do: Enum.find_index(rows(view), &(id(&1) == pid)) || 0

  defp position(%{selected: selected}), do: selected || 0

  defp rows(%{snapshot: nil}), do: []
  defp rows(%{page: :processes, snapshot: snapshot}), do: snapshot.processes
  defp rows(%{page: :applications, snapshot: snapshot}), do: snapshot.applications
  defp rows(%{page: :tables, snapshot: snapshot}), do: snapshot.tables
  defp rows(%{page: {:process, _pid}, details: nil}), do: []
  defp rows(%{page: {:process, _pid}, details: details}), do: Page.details(details)

  @doc """
  The lines of a window with `columns` and `rows`.
  """
  @spec lines(t(), {columns :: pos_integer(), rows :: pos_integer()}) :: [line()]
  def lines(%{snapshot: nil} = view, {columns, rows}),
    do: Enum.take([Format.cut(view.notice || "asking the node …", columns)], rows)

  def lines(%{snapshot: snapshot} = view, {columns, rows}) do
    head = Page.summary(snapshot, columns) ++ [""] ++ title(view, columns)
    space = max(rows - length(head) - 1, 0)
    foot = [[:faint, Format.cut(view.notice || help(view), columns), :reset]]
    body = if rows(view) == [], do: empty(view.page), else: body(view, columns, space)
    padding = List.duplicate("", max(space - length(body), 0))
    Enum.take(head ++ body ++ padding, rows - 1) ++ foot
  end

  defp title(%{page: {:process, pid}, details: nil}, columns),
    do: [Format.cut("#{Snapshot.pid(pid)}: asking the node …", columns)]

  defp title(%{page: {:process, _pid}, details: :ended}, columns),
    do: [Format.cut("the process has ended", columns)]

  defp title(%{page: {:process, pid}, details: details}, columns),
    do: [[:bright, Format.cut("#{Snapshot.pid(pid)} #{details.name}", columns), :reset]]

  defp title(%{page: page, sort: sort}, columns),
    do: [
      [
        :bright,
        :underline,
        Format.left(" " <> Page.header(page, sort, columns - 1), columns),
        :reset
      ]
    ]

  defp body(view, columns, space) do
    rows = rows(view)
    position = position(view)
    # The selected row stays in the window.
    first = max(min(position - div(space, 2), length(rows) - space), 0)

    for {row, index} <- rows |> Enum.with_index() |> Enum.slice(first, space) do
      selected = index == position and view.page == :processes
      mark = if selected, do: ">", else: " "
      line = mark <> Page.row(view.page, row, columns - 1)
      if selected, do: [:inverse, String.pad_trailing(line, columns), :reset], else: line
    end
  end

  # The tables are fetched only when they are shown.
  defp empty(:tables), do: [" asking the node …"]
  defp empty(_page), do: []

  defp help(%{page: {:process, _pid}}), do: "Esc back   arrows scroll   q quit"

  defp help(%{page: :processes}),
    do: "sort: r reductions, m memory, l queue   Enter look   a applications  e ETS  q quit"

  defp help(_view), do: "Esc or p processes   arrows scroll   a applications e ETS   q quit"

  @doc """
  A snapshot as lines, with all its processes, tables and applications.
  """
  @spec report(Snapshot.t(), columns :: pos_integer()) :: [line()]
  def report(snapshot, columns) do
    parts =
      for {page, rows} <- [
            processes: snapshot.processes,
            tables: snapshot.tables,
            applications: snapshot.applications
          ],
          rows != [],
          do: [
            "",
            [:bright, Page.header(page, snapshot.sort, columns), :reset]
            | Enum.map(rows, &Page.row(page, &1, columns))
          ]

    Page.summary(snapshot, columns) ++ Enum.concat(parts)
  end
end
