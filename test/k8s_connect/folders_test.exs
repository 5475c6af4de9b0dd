defmodule K8sConnect.FoldersTest do
  use ExUnit.Case, async: true

  import K8sConnect.Tmp

  alias K8sConnect.Route.VM.Folders

  setup :tmp_dir

  # The number is above those of processes.
  defp folder(parent, name, age) do
    path = Path.join(parent, name)
    File.mkdir_p!(path)
    File.touch!(path, System.os_time(:second) - age)
    path
  end

  test "what a killed BEAM has left is removed, and nothing else", %{tmp_dir: parent} do
    empty = folder(parent, "k8s_connect-4194305-0", 120)
    with_socket = folder(parent, "k8s_connect-4194305-1", 120)
    {:ok, socket} = :gen_tcp.listen(0, ifaddr: {:local, Path.join(with_socket, "s")})
    :gen_tcp.close(socket)
    File.touch!(with_socket, System.os_time(:second) - 120)

    # Of a process that runs, new, and with other names
    kept = [
      folder(parent, "k8s_connect-#{System.pid()}-0", 120),
      folder(parent, "k8s_connect-4194305-2", 0),
      folder(parent, "k8s_connect-mine", 120),
      folder(parent, "other-1-0", 120)
    ]

    # A file, a link to a folder, and a folder with another file
    file = Path.join(parent, "k8s_connect-4194305-3")
    File.write!(file, "")
    File.touch!(file, 0)
    elsewhere = folder(parent, "elsewhere", 120)
    link = Path.join(parent, "k8s_connect-4194305-4")
    File.ln_s!(elsewhere, link)
    full = folder(parent, "k8s_connect-4194305-5", 120)
    File.write!(Path.join(full, "other"), "")
    File.touch!(full, 0)

    assert Folders.remove_stale(parent) == :ok
    for path <- [empty, with_socket], do: refute(File.exists?(path))
    for path <- [file, elsewhere, link, full | kept], do: assert(File.exists?(path))
  end

  test "a folder that cannot be read" do
    assert Folders.remove_stale("/does/not/exist") == :ok
  end
end
