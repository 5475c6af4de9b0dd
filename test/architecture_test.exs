defmodule K8sConnect.ArchitectureTest do
  use ExUnit.Case, async: true

  # The library works in releases, which have neither Mix nor IEx.
  test "only lib/mix names Mix or IEx" do
    {:ok, modules} = :application.get_key(:k8s_connect, :modules)
    library = Enum.reject(modules, &match?(["Mix" | _], Module.split(&1)))
    assert K8sConnect in library

    for module <- library, {called, function, arity} <- imports(module) do
      refute hd(String.split(inspect(called), ".")) in ["Mix", "IEx"],
             "#{inspect(module)} calls #{inspect(called)}.#{function}/#{arity}"
    end
  end

  test "the README asks for the Role that the tests run with" do
    manifest = File.read!("test/cluster/manifests/role.yaml")
    [_comment, yaml] = String.split(manifest, "shows these lines.\n")
    assert File.read!("README.md") =~ yaml
  end

  test "versions agree" do
    version = Mix.Project.config()[:version]
    assert File.read!("native/Cargo.toml") =~ ~s(\nversion = "#{version}"\n)
    assert File.read!("README.md") =~ ~s({:k8s_connect, "~> #{version}")
  end

  defp imports(module) do
    {:ok, {_module, [imports: imports]}} = module |> :code.which() |> :beam_lib.chunks([:imports])
    imports
  end
end
