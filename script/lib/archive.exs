# usage: elixir script/lib/archive.exs BUILD NATIVE NAME EZ
#
# Packs the modules of BUILD and the native files into an archive for `mix archive.install`. Not `mix archive.build`,
# which writes the time into it. The Mix compiler is left out: an archive compiles nothing.
[build, native, name, ez] = System.argv()

time =
  :calendar.system_time_to_universal_time(
    String.to_integer(System.fetch_env!("SOURCE_DATE_EPOCH")),
    :second
  )

info = {:file_info, :undefined, :regular, :read_write, time, time, time, 0o644, 1, 0, 0, 0, 0, 0}

compiler? =
  &String.starts_with?(Path.basename(&1), [
    "Elixir.Mix.Tasks.Compile.",
    "Elixir.Mix.K8sConnect.Build."
  ])

modules =
  for path <- Path.wildcard(Path.join(build, "ebin/*")), not compiler?.(path), do: {"ebin", path}

programs = for path <- Path.wildcard(Path.join(native, "*")), do: {"priv/native", path}

entry = fn file, contents ->
  {to_charlist(Path.join(name, file)), contents, put_elem(info, 1, byte_size(contents))}
end

files =
  for {directory, path} <- modules ++ programs,
      do: entry.(Path.join(directory, Path.basename(path)), File.read!(path))

# With this file Mix warns if Elixir is too old.
files = [entry.(".elixir", "~> 1.14") | files]

{:ok, _name} = :zip.create(to_charlist(ez), files)
