defmodule K8sConnect.Servers do
  @moduledoc false
  # The processes of OTP and Elixir. A pod may answer them, but has no reason to send them anything else, and no list has
  # every command that they handle.

  @applications [:kernel, :stdlib, :compiler, :sasl, :os_mon, :runtime_tools, :tools] ++
                  [:crypto, :asn1, :public_key, :ssl, :ssh, :inets, :mnesia, :syntax_tools] ++
                  [:elixir, :eex, :logger, :ex_unit, :iex, :mix, :hex, :k8s_connect]

  @doc """
  The processes that are there now: those of these applications, and those that the VM has started before any
  application.
  """
  @spec pids() :: [pid()]
  def pids do
    first = number(Process.whereis(:application_controller))
    Enum.filter(Process.list(), &(number(&1) <= first or application(&1) in @applications))
  end

  defp application(pid) do
    case :application.get_application(pid) do
      {:ok, application} -> application
      :undefined -> nil
    end
  end

  defp number(pid) do
    [_node, id, serial] =
      pid |> :erlang.pid_to_list() |> to_string() |> String.trim(">") |> String.split(".")

    {String.to_integer(serial), String.to_integer(id)}
  end
end
