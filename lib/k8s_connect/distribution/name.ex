defmodule K8sConnect.Distribution.Name do
  @moduledoc false
  # The name of the local node, if k8s_connect starts it: `rem-USER-MACHINE-NUMBER`. It begins with `rem-` like that
  # of `bin/app remote`, so people and libraries recognize a remote shell.
  #
  # The name becomes an atom in each connected node and is never freed there. So a user has one name per machine, and
  # more names only for VMs that run at the same time, because two nodes of the same name disconnect each other.
  # An abstract socket reserves the name. The kernel closes it when the VM exits, even after `kill -9`.

  use GenServer

  # More VMs than one user runs at a time
  @numbers 0..63

  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(_options), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @doc """
  The name without its host. It is the same while this VM runs.
  """
  @spec get() :: String.t()
  def get, do: GenServer.call(__MODULE__, :get)

  @impl true
  def init([]), do: {:ok, nil}

  @impl true
  def handle_call(:get, _from, nil) do
    base = "rem-#{plain(System.get_env("USER") || "user")}-#{machine()}"
    {name, _socket} = taken = Enum.find_value(@numbers, &take("#{base}-#{&1}")) || random(base)
    {:reply, name, taken}
  end

  def handle_call(:get, _from, {name, _socket} = taken), do: {:reply, name, taken}

  defp take(name) do
    address = %{family: :local, path: <<0, "k8s_connect/", name::binary>>}

    # The socket does not listen, so no process can connect to it.
    with {:ok, socket} <- :socket.open(:local, :stream) do
      case :socket.bind(socket, address) do
        :ok ->
          {name, socket}

        {:error, _in_use} ->
          _ = :socket.close(socket)
          nil
      end
    else
      {:error, _unsupported} -> nil
    end
  end

  # A system without abstract sockets
  defp random(base) do
    number = 36 |> Integer.pow(6) |> :rand.uniform() |> Integer.to_string(36)
    {"#{base}-#{String.downcase(number)}", nil}
  end

  # Hostnames are often not unique, so the machine ID
  # (https://www.freedesktop.org/software/systemd/man/machine-id.html) is included. Containers of one image have the
  # same machine ID, so the network namespace is, too.
  defp machine do
    {:ok, host} = :inet.gethostname()

    id =
      case File.read("/etc/machine-id") do
        {:ok, id} -> id
        {:error, _reason} -> ""
      end

    <<number::40, _rest::binary>> = :erlang.md5([host, id, inspect(network_namespace())])
    number |> Integer.to_string(36) |> String.downcase()
  end

  # Each network namespace has abstract sockets of its own.
  defp network_namespace, do: File.read_link("/proc/self/ns/net")

  defp plain(user) do
    case user
         |> String.downcase()
         |> String.replace(~r/[^a-z0-9_-]/, "")
         |> String.slice(0, 20) do
      "" -> "user"
      name -> name
    end
  end
end
