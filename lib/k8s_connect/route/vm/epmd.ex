defmodule K8sConnect.Route.VM.Epmd do
  @moduledoc false
  # The fallback for an unknown `net_kernel`: the parameter `epmd_module` of the kernel application, which OTP reads at
  # each connection since 27.2, names the module that resolves a node's address
  # (https://www.erlang.org/doc/apps/kernel/kernel_app.html#epmd_module). This module returns a loopback listener for
  # attached nodes, which accepts this user's connections only. It calls the previous module for all other nodes.

  alias K8sConnect.Route.VM.Table

  @before {__MODULE__, :before}
  # Distribution protocol version of OTP 23 and later.
  @version 6

  @doc """
  Sets this module as `epmd_module`. Returns `false` if this OTP reads the parameter only at startup.
  """
  @spec install() :: boolean()
  def install do
    before = :net_kernel.epmd_module()

    if before == __MODULE__ do
      true
    else
      :persistent_term.put(@before, {before, Application.fetch_env(:kernel, :epmd_module)})
      Application.put_env(:kernel, :epmd_module, __MODULE__)
      installed?() or remove()
    end
  end

  @doc """
  Restores the previous `epmd_module`, if `install/0` has changed it.
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

  # OTP raises if `-epmd_module` is on the command line, too.
  defp installed? do
    :net_kernel.epmd_module() == __MODULE__
  catch
    :error, _conflict -> false
  end

  # The callbacks of inet_tcp_dist: https://www.erlang.org/doc/apps/kernel/erl_epmd.html

  def address_please(name, host, family) do
    case Table.port(:"#{name}@#{host}") do
      {:ok, port} -> {:ok, {127, 0, 0, 1}, port, @version}
      :disconnected -> {:error, :nxdomain}
      :unknown -> previous().address_please(name, host, family)
    end
  end

  def port_please(name, host), do: previous().port_please(name, host)
  def port_please(name, host, timeout), do: previous().port_please(name, host, timeout)
  def listen_port_please(name, host), do: previous().listen_port_please(name, host)
  def register_node(name, port), do: previous().register_node(name, port)
  def register_node(name, port, family), do: previous().register_node(name, port, family)
  def names(host), do: previous().names(host)

  defp previous do
    {module, _parameter} = :persistent_term.get(@before, {:erl_epmd, :error})
    module
  end
end
