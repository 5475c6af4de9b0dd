defmodule Mix.K8sConnect.Init.ConfigFile do
  @moduledoc false
  # The file of the project that gets the configuration. Only lines are added, the others stay as they are.

  # Also with parentheses, and in a block.
  @configured ~r/^\s*config[\s(]\s*:k8s_connect\b/m

  @doc """
  `config/dev.exs` if the project has it, because k8s_connect is mostly a dependency of development, otherwise
  `config/config.exs`. All projects of an umbrella have those of the umbrella.
  """
  @spec path(Path.t()) :: Path.t()
  def path(config_path) do
    dev = Path.join(Path.dirname(config_path), "dev.exs")
    if File.regular?(dev), do: dev, else: config_path
  end

  @doc """
  The file that has `config :k8s_connect` already.
  """
  @spec configured(Path.t()) :: Path.t() | nil
  def configured(config_path) do
    [Path.dirname(config_path), "*.exs"]
    |> Path.join()
    |> Path.wildcard()
    |> Enum.find(&configured?/1)
  end

  # One that cannot be read is none that Mix reads.
  defp configured?(file) do
    case File.read(file) do
      {:ok, text} -> text =~ @configured
      {:error, _reason} -> false
    end
  end

  @doc """
  The text of the file with the block. `import_config` stays behind it, so that a file of an environment can replace its
  settings. The text is `nil` where there is no file yet.
  """
  @spec add(String.t() | nil, String.t()) :: {:ok, String.t()} | {:error, problem :: String.t()}
  def add(nil, block), do: {:ok, "import Config\n\n" <> block}

  def add(text, block) do
    {before, rest} = split(text)
    new = join(before, block, rest)

    case Code.string_to_quoted(new) do
      {:ok, _code} -> {:ok, new}
      {:error, _problem} -> {:error, "it is no valid Elixir"}
    end
  end

  defp join(before, block, []), do: Enum.join([lines(before), "\n", block])
  defp join(before, block, rest), do: Enum.join([lines(before), "\n", block, "\n", lines(rest)])

  defp lines([]), do: ""
  defp lines(lines), do: (lines |> Enum.join("\n") |> String.trim("\n")) <> "\n"

  # At the last `import_config` that is in no block, and the comment above it.
  defp split(text) do
    lines = String.split(text, "\n")
    reversed = Enum.reverse(lines)

    case Enum.find_index(reversed, &String.starts_with?(&1, "import_config")) do
      nil ->
        {lines, []}

      from_end ->
        {before, rest} = Enum.split(lines, length(lines) - from_end - 1)
        comment = before |> Enum.reverse() |> Enum.take_while(&String.starts_with?(&1, "#"))
        {Enum.drop(before, -length(comment)), Enum.reverse(comment) ++ rest}
    end
  end
end
