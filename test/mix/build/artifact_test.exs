defmodule Mix.K8sConnect.Build.ArtifactTest do
  use ExUnit.Case, async: true

  import K8sConnect.Tmp

  alias Mix.K8sConnect.Build.{Archive, Artifact, Proxy, Target}

  setup :tmp_dir

  @names ["a.so", "b"]

  # A .tar.gz with these files, or with what `more` adds to it.
  defp tar(directory, files, more \\ fn _tar -> :ok end) do
    path = Path.join(directory, "x.tar.gz")
    {:ok, tar} = :erl_tar.open(to_charlist(path), [:write, :compressed])
    for {name, contents} <- files, do: :ok = :erl_tar.add(tar, contents, to_charlist(name), [])
    more.(tar)
    :ok = :erl_tar.close(tar)
    File.read!(path)
  end

  test "targets" do
    for {architecture, target} <- [
          {"x86_64-pc-linux-gnu", "x86_64-unknown-linux-gnu"},
          {"aarch64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"},
          {"x86_64-alpine-linux-musl", "x86_64-unknown-linux-musl"},
          {"aarch64-alpine-linux-musl", "aarch64-unknown-linux-musl"},
          {"aarch64-apple-darwin23.6.0", "aarch64-apple-darwin"},
          {"arm64-apple-darwin24.0.0", "aarch64-apple-darwin"},
          {"arm-unknown-linux-gnueabihf", "arm-unknown-linux-gnueabihf"},
          {"x86_64-unknown-freebsd14.1", "x86_64-unknown-freebsd14.1"}
        ] do
      assert Target.triple(architecture) == target
    end
  end

  test "the artifact of a target", %{tmp_dir: root} do
    assert Artifact.find(root, "1.2.3", "t", "http://h/v1") == :none
    file = "libk8s_connect_nif-v1.2.3-nif-2.15-t.so.tar.gz"

    File.write!(
      Path.join(root, "checksum-Elixir.K8sConnect.Native.exs"),
      ~s|%{\n  "#{file}" => "sha256:abc",\n}\n|
    )

    assert {:ok, artifact} = Artifact.find(root, "1.2.3", "t", "http://h/v1")
    assert artifact.sha256 == "abc"
    assert artifact.url == "http://h/v1/" <> file
    assert Artifact.find(root, "1.2.3", "u", "http://h/v1") == {:unknown_target, ["t"]}
  end

  test "an archive has exactly the expected files", %{tmp_dir: tmp} do
    assert {:ok, files} = Archive.unpack(tar(tmp, [{"a.so", "A"}, {"b", "B"}]), @names)
    assert Enum.sort(files) == [{"a.so", "A"}, {"b", "B"}]

    for names <- [["a.so"], ["a.so", "b", "c"], ["a.so", "b", "b"], []] do
      archive = tar(tmp, for(name <- names, do: {name, "x"}))
      assert {:error, reason} = Archive.unpack(archive, @names)
      assert reason =~ ~s|and not exactly "a.so", "b"|
    end
  end

  test "a path that leaves the folder is refused, and nothing is written", %{tmp_dir: tmp} do
    for name <- ["../b", "/tmp/b", "x/../../b", "./b"] do
      archive = tar(tmp, [{"a.so", "A"}, {name, "B"}])
      assert {:error, reason} = Archive.unpack(archive, @names)
      assert reason =~ inspect(name)
      assert File.ls!(tmp) == ["x.tar.gz"]
    end
  end

  test "a link in place of a file is refused", %{tmp_dir: tmp} do
    File.ln_s!("/etc/passwd", Path.join(tmp, "link"))
    add = &(:ok = :erl_tar.add(&1, to_charlist(Path.join(tmp, "link")), 'b', []))
    assert {:error, reason} = Archive.unpack(tar(tmp, [{"a.so", "A"}], add), @names)
    assert reason == ~s|"b" is not a file but a symlink|
  end

  test "what is no archive", %{tmp_dir: tmp} do
    whole = tar(tmp, [{"a.so", :crypto.strong_rand_bytes(10_000)}, {"b", "B"}])

    for bytes <- ["", "<html>", binary_part(whole, 0, 5_000)] do
      assert {:error, "invalid archive: " <> _reason} = Archive.unpack(bytes, @names)
    end
  end

  test "the proxy of a URL" do
    proxy = fn url, environment ->
      {:ok, proxy} = Proxy.find(URI.parse(url), environment)
      proxy
    end

    https = %{"HTTPS_PROXY" => "http://proxy:3128"}
    assert proxy.("https://a.example/", https) == %{host: "proxy", port: 3128, auth: nil}
    assert proxy.("http://a.example/", https) == nil
    assert proxy.("https://a.example/", %{"HTTPS_PROXY" => " "}) == nil
    assert %{host: "low"} = proxy.("https://a/", Map.put(https, "https_proxy", "low:1"))

    assert %{auth: {"me", "a:b"}} =
             proxy.("https://a/", %{"https_proxy" => "http://me:a%3Ab@p:1"})

    for {list, exempt?} <- [
          {"a.example", true},
          {".example", true},
          {"*.example", true},
          {"*", true},
          {"b.example, example", true},
          {"ample", false},
          {"b.a.example", false}
        ] do
      assert {^list, ^exempt?} =
               {list, proxy.("https://a.example/", Map.put(https, "NO_PROXY", list)) == nil}
    end
  end
end
