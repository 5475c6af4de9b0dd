defmodule K8sConnect.Distribution.Name do
  @moduledoc false
  # The name of a local node that we start: `rem-USER-MACHINE-NUMBER`. It begins with `rem-` and the user, as
  # `bin/app remote` has it, so that people and libraries know what it is.
  #
  # A name becomes an atom in every pod that is connected to, and is never freed there. So a user has one name on
  # a machine, and further ones only for VMs that run at the same time: two nodes of one name throw each other out.
  # A name is taken by an abstract socket, which the kernel frees with the process, however that ends.

  use GenServer

  # More VMs of one user than anybody runs
  @numbers 0..63

  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(_options), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @doc """
  The name without its host, the same as long as this VM runs.
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

    # It does not listen: nobody can connect to it.
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

  # Machines are often called the same: https://www.freedesktop.org/software/systemd/man/machine-id.html, and
  # containers of one image have one machine id.
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

  # Abstract sockets are those of a network namespace.
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
