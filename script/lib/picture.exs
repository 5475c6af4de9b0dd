defmodule Picture do
  # An SVG with CSS animation of a recording. Text appears and disappears when it did on the terminal; longer pauses
  # are cut to 1.5 s. A renderer without animation shows the last frame.

  @longest_pause 1_500
  @last_frame 6_000
  # What was there for a shorter time is left out.
  @shortest 100

  def draw(recording, title, columns) do
    # Output can end inside an escape sequence or a character, so it is read as one text.
    {pieces, {_last, length}} = Enum.map_reduce(recording, {nil, 0}, &shorten/2)
    bytes = for {_time, data} <- pieces, into: "", do: data
    times = for({time, data} <- pieces, _ <- 1..byte_size(data), do: time) |> List.to_tuple()

    # The cells are %{{row, column} => {character, style, time}}, `past` has [{cell, time of its end}].
    screen = %{row: 0, column: 0, columns: columns, style: [], cells: %{}, past: [], time: 0}
    screen = Map.put(screen, :main, nil)

    Regex.scan(~r/\e\[[0-9;?]*[a-zA-Z]|./su, bytes, return: :index)
    |> Enum.reduce(screen, fn [{at, size}], screen ->
      show(binary_part(bytes, at, size), %{screen | time: elem(times, at)})
    end)
    |> render(title, length + @last_frame)
  end

  # In steps of 50 ms, for a small file.
  defp shorten({time, data}, {last, now}) do
    now = now + min(time - (last || time), @longest_pause)
    {{round(now / 50) * 50, data}, {time, now}}
  end

  defp show("\r", screen), do: %{screen | column: 0}
  defp show("\n", screen), do: %{screen | row: screen.row + 1}
  defp show("\b", screen), do: %{screen | column: screen.column - 1}

  defp show("\e[" <> sequence, screen) do
    {parameters, command} = String.split_at(sequence, -1)
    control(command, parameters, screen)
  end

  defp show(character, %{column: columns, columns: columns} = screen),
    do: show(character, %{screen | row: screen.row + 1, column: 0})

  # What is only drawn again keeps its time.
  defp show(character, %{row: row, column: column, style: style} = screen) do
    at = {row, column}
    same? = match?({^character, ^style, _time}, screen.cells[at])
    screen = if same?, do: screen, else: erase(screen, &(&1 == at))
    cells = Map.put_new(screen.cells, at, {character, style, screen.time})
    %{screen | cells: cells, column: column + 1}
  end

  defp control("m", parameters, screen), do: %{screen | style: style(parameters, screen.style)}

  defp control("C", parameters, screen),
    do: %{screen | column: screen.column + number(parameters)}

  defp control("D", parameters, screen),
    do: %{screen | column: screen.column - number(parameters)}

  defp control("K", _parameters, %{row: row, column: column} = screen),
    do: erase(screen, fn {r, c} -> r == row and c >= column end)

  defp control("J", _parameters, %{row: row, column: column} = screen),
    do: erase(screen, &(&1 >= {row, column}))

  defp control("H", parameters, screen) do
    [row, column | _] = for(n <- String.split(parameters, ";"), do: number(n)) ++ [1]
    %{screen | row: row - 1, column: column - 1}
  end

  # The second screen of the terminal, for programs that use all of it
  defp control("h", "?1049", %{row: row, column: column, cells: cells} = screen),
    do: %{erase(screen, fn _at -> true end) | main: {row, column, cells}}

  defp control("l", "?1049", %{main: {row, column, cells}} = screen) do
    screen = erase(screen, fn _at -> true end)

    cells =
      Map.new(cells, fn {at, {character, style, _}} -> {at, {character, style, screen.time}} end)

    %{screen | row: row, column: column, cells: cells}
  end

  # Other modes of the terminal
  defp control(mode, _parameters, screen) when mode in ["h", "l"], do: screen

  defp style(parameters, style) do
    Enum.reduce(String.split(parameters, ";"), style, fn n, style ->
      if n in ["", "0"], do: [], else: style ++ ["s#{n}"]
    end)
  end

  defp number(parameter), do: if(parameter == "", do: 1, else: String.to_integer(parameter))

  defp erase(%{cells: cells} = screen, erased?) do
    {gone, cells} = Enum.split_with(cells, fn {at, _cell} -> erased?.(at) end)
    past = for cell <- gone, do: {cell, screen.time}
    %{screen | cells: Map.new(cells), past: past ++ screen.past}
  end

  # An element's key is {row, from, to, style}: neighbours with the same key become one, which takes less room.
  defp render(%{cells: cells, past: past}, title, length) do
    cells = Enum.map(cells, &{&1, nil}) ++ past

    elements =
      for {{{row, column}, {character, style, from}}, to} when character != " " <- cells,
          to == nil or to - from >= @shortest,
          do: {row, from, to, style, column, character}

    runs =
      Enum.with_index(Enum.sort(elements))
      |> Enum.chunk_by(fn {{row, from, to, style, column, _}, index} ->
        {row, from, to, style, column - index}
      end)

    times = elements |> Enum.map(fn element -> {elem(element, 1), elem(element, 2)} end)
    svg(runs, Enum.uniq(times), title, length)
  end

  defp svg(runs, times, title, length) do
    last = fn index ->
      runs |> List.flatten() |> Enum.map(&elem(elem(&1, 0), index)) |> Enum.max()
    end

    {width, height} = {max(last.(4) + 1, 96) * 8 + 32, last.(0) * 18 + 46}
    size = ~s(width="#{width}" height="#{height}")

    """
    <svg xmlns="http://www.w3.org/2000/svg" #{size} viewBox="0 0 #{width} #{height}" role="img">
    <title>#{title}</title>
    <style>
    text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
    text{fill:#e6edf3}.s31{fill:#ff7b72}.s32{fill:#7ee787}.s33{fill:#e3b341}.s36{fill:#76e3ea}
    .s1{font-weight:bold}.s2{fill:#8b949e}.s4{text-decoration:underline}.s7{fill:#e3b341}
    text{animation:#{length}ms step-end infinite}.p{visibility:hidden}
    #{Enum.map_join(times, "\n", &appear(&1, length))}
    @media(prefers-reduced-motion:reduce){text{animation:none!important}}
    </style>
    <rect #{size} rx="8" fill="#0d1117"/>
    #{Enum.map_join(runs, "\n", &element/1)}
    </svg>
    """
  end

  defp appear({from, to} = times, length) do
    part = fn time -> "#{Float.round(time * 100 / length, 2)}%" end
    gone = if to, do: "#{part.(to)}{visibility:hidden}", else: ""
    frames = "0%{visibility:hidden}#{part.(from)}{visibility:visible}#{gone}"
    "@keyframes #{name(times)}{#{frames}}.#{name(times)}{animation-name:#{name(times)}}"
  end

  defp name({from, to}), do: if(to, do: "a#{from}-#{to}", else: "a#{from}")

  defp element([{{row, from, to, style, column, _}, _index} | _] = run) do
    text = for {{_, _, _, _, _, character}, _index} <- run, into: "", do: character
    text = text |> String.replace("&", "&amp;") |> String.replace("<", "&lt;")
    class = Enum.join([name({from, to}) | if(to, do: ["p"], else: []) ++ style], " ")
    # Whatever the font, each character takes the width of a cell.
    size = ~s(x="#{16 + column * 8}" y="#{28 + row * 18}" textLength="#{length(run) * 8}")
    ~s(<text #{size} class="#{class}">#{text}</text>)
  end
end
