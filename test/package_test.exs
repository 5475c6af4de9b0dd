defmodule K8sConnect.PackageTest do
  # What `mix hex.build` and ex_doc would take; neither can be fetched everywhere.
  use ExUnit.Case, async: true

  alias Mix.K8sConnect.Package

  @config Mix.Project.config()

  test "the package has the sources and nothing that is built" do
    files = Package.files()

    for file <- ~w(mix.exs README.md LICENSE CHANGELOG.md usage-rules.md lib/k8s_connect.ex
                   lib/mix/k8s_connect/build/artifact.ex native/Cargo.toml native/Cargo.lock
                   native/.cargo/config.toml native/nif/build.rs native/core/src/lib.rs) do
      assert file in files
    end

    for file <- files do
      refute file =~
               ~r"^(_build|deps|priv|release|native/(target|fuzz)|native/\w+/(tests|benches))/",
             file

      assert Path.extname(file) in ~w(.ex .exs .rs .toml .lock .md .cheatmd .livemd .svg .png .txt) or
               file == "LICENSE"
    end

    {tracked, 0} =
      System.cmd("git", ~w(-c safe.directory=* ls-files --cached --others --exclude-standard))

    generated = &String.starts_with?(&1, "checksum-")
    assert Enum.reject(files, generated) -- String.split(tracked, "\n") == []
  end

  # Hex accepts 8 MB.
  test "the package is small" do
    files = for file <- Package.files(), do: {to_charlist(file), File.read!(file)}
    path = Path.join(System.tmp_dir!(), "k8s_connect-#{System.pid()}-package.tar.gz")
    on_exit(fn -> File.rm(path) end)
    :ok = :erl_tar.create(to_charlist(path), files, [:compressed])
    assert File.stat!(path).size < 2_000_000
  end

  test "every member of the workspace that the library needs is in the package" do
    [members] =
      Regex.run(~r/^members = \[(.*)\]$/m, File.read!("native/Cargo.toml"),
        capture: :all_but_first
      )

    for [member] <- Regex.scan(~r/"(\w+)"/, members, capture: :all_but_first),
        do: assert("native/#{member}/Cargo.toml" in Package.files())
  end

  test "what Hex asks for" do
    for key <- [:name, :description, :source_url, :version, :elixir], do: assert(@config[key])
    assert @config[:artifacts_url] =~ @config[:source_url]
    assert [_license] = @config[:package][:licenses]
    for {_name, url} <- @config[:package][:links], do: assert(url =~ @config[:source_url])
    assert {:defmodule, _meta, _body} = Code.string_to_quoted!(File.read!("mix.exs"))
    assert length(Regex.scan(~r"https://", File.read!("mix.exs"))) == 1
  end

  test "the documentation has every guide, in a group" do
    docs = @config[:docs]
    guides = Path.wildcard("guides/*.{md,cheatmd,livemd}")
    assert guides -- docs[:extras] == []

    for extra <- docs[:extras] do
      assert File.regular?(extra)

      assert Enum.any?(docs[:groups_for_extras], fn {_group, pattern} -> extra =~ pattern end),
             extra
    end
  end

  test "the documentation has every public module, in a group" do
    {:ok, modules} = :application.get_key(:k8s_connect, :modules)

    public =
      for module <- modules,
          match?({:docs_v1, _, _, _, %{}, _, _}, Code.fetch_docs(module)),
          "test/support" not in [source(module)],
          do: module

    assert K8sConnect in public

    for module <- public do
      groups =
        for {group, members} <- @config[:docs][:groups_for_modules],
            member?(module, members),
            do: group

      assert {^module, [_group]} = {module, groups}
    end
  end

  defp source(module) do
    module.module_info(:compile)[:source] |> Path.relative_to_cwd() |> Path.dirname()
  end

  defp member?(module, modules) when is_list(modules), do: module in modules
  defp member?(module, pattern), do: inspect(module) =~ pattern
end
