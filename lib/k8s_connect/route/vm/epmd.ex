defmodule K8sConnect.Route.VM.Epmd do
  @moduledoc false
  # The documented way, where `net_kernel` is not one that is known: the kernel application's
  # parameter `epmd_module`, read at each connect since OTP 27.2, says who is asked for a node's
  # address (https://www.erlang.org/doc/apps/kernel/kernel_app.html#epmd_module). For attached nodes
  # that is a listener of ours on the loopback, which takes this user's connections only; for all
  # others it is who was asked before.

  alias K8sConnect.Route.VM.Table

  @before {__MODULE__, :before}
  # Distribution protocol version of OTP 23 and later.
  @version 6

  @doc """
  Makes this module the one that is asked; `false` where this OTP reads the parameter only when it starts.
  """
  @spec install() :: boolean()
  def install do
    before = :net_kernel.epmd_module()

    if before == __MODULE__ do
      true
    else
      :persistent_term.put(@before, {before, Application.fetch_env(:kernel, :epmd_module)})
      Application.put_env(:kernel, :epmd_module, __MODULE__)
      asked?() or remove()
    end
  end

  @doc """
  Takes that back; does nothing where it is not so.
  """
  @spec remove() :: false
  def remove do
    case :persistent_term.get(@before, nil) do
      nil -> :ok
      {_module, :error} -> Application.delete_env(:kernel, :epmd_module)
      {_module, {:ok, module}} -> Application.put_env(:kernel, :epmd_module, module)
    end

    :persistent_term.erase(@before)
    false
  end

  # With `-epmd_module` on the command line as well, OTP raises: it will not choose.
  defp asked? do
    :net_kernel.epmd_module() == __MODULE__
  catch
    :error, _conflict -> false
  end

  # What inet_tcp_dist asks for, from https://www.erlang.org/doc/apps/kernel/erl_epmd.html

  def address_please(name, host, family) do
    case Table.port(:"#{name}@#{host}") do
      {:ok, port} -> {:ok, {127, 0, 0, 1}, port, @version}
      :gone -> {:error, :nxdomain}
      :unknown -> other().address_please(name, host, family)
    end
  end

  def port_please(name, host), do: other().port_please(name, host)
  def port_please(name, host, timeout), do: other().port_please(name, host, timeout)
  def listen_port_please(name, host), do: other().listen_port_please(name, host)
  def register_node(name, port), do: other().register_node(name, port)
  def register_node(name, port, family), do: other().register_node(name, port, family)
  def names(host), do: other().names(host)

  defp other do
    {module, _parameter} = :persistent_term.get(@before, {:erl_epmd, :error})
    module
  end
end
