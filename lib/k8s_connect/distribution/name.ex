defmodule K8sConnect.Distribution.Name do
  @moduledoc false
  # The name of a local node that we start: `rem-USER-RANDOM`. It begins with `rem-` and the user, as `bin/app
  # remote` has it, so that people and libraries know what it is.
  #
  # A name becomes an atom in every pod that is connected to, and is never freed there, so a VM keeps its name
  # across reconnects. Another VM has another one: two nodes of one name throw each other out, and a pod takes a
  # moment to notice that a VM was killed.

  use GenServer

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
    name = "rem-#{plain(System.get_env("USER") || "user")}-#{random()}"
    {:reply, name, name}
  end

  def handle_call(:get, _from, name), do: {:reply, name, name}

  # Six digits or letters
  @suffixes 36 ** 6

  defp random,
    do: @suffixes |> :rand.uniform() |> Integer.to_string(36) |> String.downcase(:ascii)

  defp plain(user) do
    case user
         |> String.downcase(:ascii)
         |> String.replace(~r/[^a-z0-9_-]/, "") do
      "" -> "user"
      <<name::binary-size(20), _rest::binary>> -> name
      name -> name
    end
  end
end
