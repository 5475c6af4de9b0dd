# usage: elixir --erl "+t 8000000" test/terms/instances.exs FILE
#
# Writes a few messages of each shape that a process of OTP or Elixir handles, each with its length (32), for a test of
# `native/core/src/endpoint/guard`, which sends them to a process that was given out.
Code.require_file("handled.ex", __DIR__)

[file] = System.argv()
shapes = Map.keys(Handled.shapes())
if length(shapes) < 200, do: raise("only #{length(shapes)} shapes were found")

messages =
  for shape <- shapes, message <- Handled.instances(shape) do
    <<131, message::binary>> = :erlang.term_to_binary(message)
    <<byte_size(message)::32, message::binary>>
  end

File.write!(file, messages)
