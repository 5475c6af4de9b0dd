defmodule Mix.K8sConnect.Build.Archive do
  @moduledoc false
  # A .tar.gz with exactly the expected files. It is unpacked in memory, so no name in it is ever a path on
  # this machine.

  @doc """
  The contents of the files `names`. Any other name in the archive is an error.
  """
  @spec unpack(binary(), [String.t()]) :: {:ok, [{String.t(), binary()}]} | {:error, String.t()}
  def unpack(archive, names) do
    with {:ok, entries} <- entries(archive),
         :ok <- check(Enum.sort(for {name, _type} <- entries, do: name), Enum.sort(names)),
         :ok <- check_types(entries),
         {:ok, files} <- :erl_tar.extract({:binary, archive}, [:compressed, :memory]) do
      {:ok, for({name, contents} <- files, do: {to_string(name), contents})}
    else
      {:error, text} when is_binary(text) -> {:error, text}
      {:error, reason} -> {:error, "invalid archive: #{:erl_tar.format_error(reason)}"}
    end
  end

  defp entries(archive) do
    with {:ok, entries} <- :erl_tar.table({:binary, archive}, [:compressed, :verbose]) do
      {:ok,
       for({name, type, _size, _time, _mode, _uid, _gid} <- entries, do: {to_string(name), type})}
    end
  end

  defp check(names, names), do: :ok

  defp check(found, expected) do
    {:error, "it contains #{list(found)}, and not exactly #{list(expected)}"}
  end

  defp list([]), do: "nothing"
  defp list(names), do: Enum.map_join(names, ", ", &inspect/1)

  defp check_types(entries) do
    case Enum.find(entries, fn {_name, type} -> type != :regular end) do
      nil -> :ok
      {name, type} -> {:error, "#{inspect(name)} is not a file but a #{type}"}
    end
  end
end
