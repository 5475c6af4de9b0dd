defmodule Mix.K8sConnect.Progress do
  @moduledoc false
  # A shell of Mix that prints everything to standard error.

  @behaviour Mix.Shell

  @impl true
  def print_app, do: if(name = Mix.Shell.printable_app_name(), do: info("==> #{name}"))

  @impl true
  def info(message), do: IO.puts(:stderr, IO.ANSI.format(message))

  @impl true
  def error(message), do: info(message)

  @impl true
  def prompt(message), do: Mix.Shell.IO.prompt(message)

  @impl true
  def yes?(message, options \\ []), do: Mix.Shell.IO.yes?(message, options)

  @impl true
  def cmd(command, options \\ []) do
    print_app()
    Mix.Shell.cmd(command, options, &IO.write(:stderr, &1))
  end
end
