defmodule K8sConnect.Servers do
  @moduledoc false
  # The processes of OTP and Elixir. A pod may answer them, but has no reason to send them anything else, and no list has
  # every command that they handle.

  @applications [:kernel, :stdlib, :compiler, :sasl, :os_mon, :runtime_tools, :tools] ++
                  [:crypto, :asn1, :public_key, :ssl, :ssh, :inets, :mnesia, :syntax_tools] ++
                  [:elixir, :eex, :logger, :ex_unit, :iex, :mix, :hex]

  @doc """
  The processes that are there now: those of these applications, and those that the VM has started before any
  application. Of this library only the named ones: the others are sessions, and there may be thousands.
  """
  @spec pids() :: [pid()]
  def pids do
    # The processes of an application have its master as group leader.
    masters = MapSet.new(@applications, &:application_controller.get_master/1)
    ours = :application_controller.get_master(:k8s_connect)
    first = number(Process.whereis(:application_controller))

    Enum.filter(Process.list(), fn pid ->
      case Process.info(pid, :group_leader) do
        {:group_leader, ^ours} -> named?(pid)
        {:group_leader, leader} -> leader in masters or number(pid) <= first
        nil -> false
      end
    end)
  end

  defp named?(pid) do
    case Process.info(pid, :registered_name) do
      {:registered_name, name} -> is_atom(name)
      nil -> false
    end
  end

  defp number(pid) do
    # NEW_PID_EXT ends like this: https://www.erlang.org/doc/apps/erts/erl_ext_dist.html#new_pid_ext
    binary = :erlang.term_to_binary(pid)
    <<id::32, serial::32, _creation::32>> = binary_part(binary, byte_size(binary), -12)
    {serial, id}
  end
end
