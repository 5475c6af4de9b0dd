defmodule K8sConnect.Route.VM.Folders do
  @moduledoc false
  # The folders of sockets. `native/core/src/endpoint/one_shot.rs` makes and removes one for each connection, on Linux in
  # less than a millisecond. A BEAM that is killed meanwhile leaves its folder, and another BEAM removes it.

  # Seconds, many times as long as a folder is used: a process in another container does not seem to run.
  @stale 2

  @doc """
  The folder in which sockets are created. Only the user can access the runtime directory, so it is preferred.
  """
  @spec parent() :: Path.t()
  def parent do
    with directory when is_binary(directory) <- System.get_env("XDG_RUNTIME_DIR"),
         {:ok, %File.Stat{type: :directory, access: :read_write}} <- File.stat(directory) do
      directory
    else
      _not_usable -> System.tmp_dir!()
    end
  end

  @doc """
  Removes the folders that are left in `parent`.
  """
  @spec remove_stale(Path.t()) :: :ok
  def remove_stale(parent) do
    # Without /proc the user is not known, and folders of others stay.
    with {:ok, %{uid: uid}} <- File.stat("/proc/self"), {:ok, names} <- File.ls(parent) do
      for name <- names,
          [_name, pid] <- [Regex.run(~r/\Ak8s_connect-(\d+)-\d+\z/, name)],
          not File.exists?("/proc/#{pid}"),
          folder = Path.join(parent, name),
          stale?(File.lstat(folder, time: :posix), uid) do
        _there_or_not = File.rm(Path.join(folder, "s"))
        _empty_or_not = File.rmdir(folder)
      end
    end

    :ok
  end

  defp stale?({:ok, %{type: :directory, uid: uid, mtime: changed}}, uid),
    do: System.os_time(:second) - changed > @stale

  defp stale?(_other, _uid), do: false
end
