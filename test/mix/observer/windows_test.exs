defmodule Mix.K8sConnect.Observer.WindowsTest do
  # Not async: it changes the code path.
  use ExUnit.Case, async: false

  alias K8sConnect.Error
  alias Mix.K8sConnect.Observer.Windows

  setup do
    path = :code.get_path()
    on_exit(fn -> :code.set_path(path) end)
  end

  test "the applications are found where Mix has removed them, or the missing one is named" do
    installed = for name <- [:wx, :observer], installed?(name), do: name
    for name <- installed, do: :code.del_path(name)

    case Windows.check() do
      :ok ->
        assert installed == [:wx, :observer]

      {:error, %Error{reason: {:no_observer, %{application: missing}}}} ->
        refute missing in installed
    end
  end

  # Without its modules there may be a folder.
  defp installed?(name), do: Path.wildcard("#{:code.lib_dir()}/#{name}-*/ebin") != []

  test "a display" do
    before = Map.new(["DISPLAY", "WAYLAND_DISPLAY"], &{&1, System.get_env(&1)})
    on_exit(fn -> System.put_env(before) end)
    System.put_env(%{"DISPLAY" => nil, "WAYLAND_DISPLAY" => nil})
    assert Windows.display?() == match?({:unix, :darwin}, :os.type())
    System.put_env("WAYLAND_DISPLAY", "wayland-0")
    assert Windows.display?()
  end
end
