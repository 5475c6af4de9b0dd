defmodule Mix.K8sConnect.Launcher.Boot do
  @moduledoc false
  # Starts Elixir as its script `elixir` does, without the programs that the script runs, and with the modules loaded
  # together. The shell script passes it the directory of Elixir's applications, whose modules are not on the code path yet.

  alias Mix.K8sConnect.{Launcher, Preload}

  # Searched from the last one, which has most of the modules.
  @applications [~c"ex_unit", ~c"eex", ~c"iex", ~c"mix", ~c"logger", ~c"elixir"]

  @doc """
  Runs the program, and halts the VM with its exit code.
  """
  @spec boot([charlist()]) :: term()
  def boot([directory]) do
    # Not with `for`, which calls `Enum`.
    paths = :lists.map(&:filename.join([directory, &1, ~c"ebin"]), @applications)
    :ok = :code.add_pathsa(paths)
    true = :code.add_patha(:filename.dirname(:code.which(__MODULE__)))
    # Otherwise a file `string.beam` in the current folder could run.
    _found = :code.del_path(~c".")
    arguments = :init.get_plain_arguments()
    :ok = Preload.launcher(arguments)
    {:ok, _started} = :application.ensure_all_started(:elixir)
    {:ok, _started} = :application.ensure_all_started(:logger)
    arguments = Enum.map(arguments, &List.to_string/1)
    :ok = System.argv(arguments)
    # As escripts do. It runs the functions of `System.at_exit/1` and writes what Logger has.
    Kernel.CLI.run(fn _status -> Launcher.main(arguments) end)
  end
end
