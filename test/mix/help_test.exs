defmodule Mix.K8sConnect.HelpTest do
  use ExUnit.Case, async: true

  alias Mix.K8sConnect.Completion.Tasks

  for {task, _kind, options} <- Tasks.all() do
    test "every option of #{task} is in mix help" do
      module = Mix.Task.get!(unquote(task))
      {:docs_v1, _, _, _, %{"en" => help}, _, _} = Code.fetch_docs(module)

      for option <- unquote(Macro.escape(options)),
          name <- Tasks.names(option),
          do: assert(help =~ ~r/`#{name}[`= ]/, "no #{name} in mix help #{unquote(task)}")
    end
  end
end
