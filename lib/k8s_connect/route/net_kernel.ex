defmodule K8sConnect.Route.NetKernel do
  @moduledoc false
  # Adds a distribution module to the running `net_kernel`, and removes it. OTP has no function for
  # that. The list of modules is a field of the process state. Its index differs between releases, so it is found by
  # its shape, a list of `#listen{}`. A state without such a field is not changed, nor is any state with
  # `config :k8s_connect, net_kernel: :untouched`.

  alias K8sConnect.Originals
  alias K8sConnect.Route.VM.Table

  # -record(listen, {listen, accept, address, module}). in kernel/src/net_kernel.erl, OTP 23 to 29
  @size 5
  @module_index 4

  # In OTP 25 a slow name lookup for another connection blocks net_kernel.
  @timeout 5_000

  @type problem :: {:unknown_net_kernel | :net_kernel_busy, map()}

  @doc """
  Adds `module` before or after the other distribution modules. `net_kernel` asks them in this order. Idempotent.
  """
  @spec install(module(), :first | :last) :: :ok | {:error, problem()}
  def install(module, position) do
    with :ok <- check_allowed(), do: install(module, position, processes())
  end

  # The state has every connection of the VM, so it is read once for each process.
  defp install(module, position, processes) do
    if Originals.get({__MODULE__, module}) == processes do
      :ok
    else
      with :ok <- change(&add(without(&1, module), module, position)),
           do: Originals.put({__MODULE__, module}, processes)
    end
  end

  # If the process of the routes is killed, its job can go on, and record this after the next process has removed the module.
  defp processes, do: {Process.whereis(:net_kernel), Table.owner()}

  @doc """
  Removes `module`. Does nothing if it is not installed, or if `net_kernel` is not running.
  """
  @spec remove(module()) :: :ok | {:error, problem()}
  def remove(module) do
    :ok = Originals.delete({__MODULE__, module})
    if Process.whereis(:net_kernel), do: change(&without(&1, module)), else: :ok
  end

  @doc """
  Whether `module` is installed.
  """
  @spec installed?(module()) :: boolean()
  def installed?(module) do
    with pid when is_pid(pid) <- Process.whereis(:net_kernel),
         state = :sys.get_state(pid, @timeout),
         {:ok, index} <- find(state) do
      Enum.any?(elem(state, index), &(elem(&1, @module_index) == module))
    else
      _not_found -> false
    end
  end

  defp change(fun) do
    # The state is checked first in this process, because an exception inside net_kernel would crash it.
    with {:ok, index} <- find(:sys.get_state(:net_kernel, @timeout)) do
      change = fn state -> put_elem(state, index, fun.(elem(state, index))) end
      :sys.replace_state(:net_kernel, change, @timeout)
      :ok
    end
  catch
    :exit, {:timeout, _call} -> {:error, {:net_kernel_busy, %{seconds: div(@timeout, 1000)}}}
  end

  defp add(listeners, module, :first), do: [listener(module) | listeners]
  defp add(listeners, module, :last), do: listeners ++ [listener(module)]

  defp check_allowed do
    if Application.get_env(:k8s_connect, :net_kernel) == :untouched,
      do: unknown(true),
      else: :ok
  end

  defp find(state) when is_tuple(state) do
    case Enum.filter(0..(tuple_size(state) - 1), &listeners?(elem(state, &1))) do
      [index] -> {:ok, index}
      _none_or_several -> unknown()
    end
  end

  defp find(_state), do: unknown()

  defp listeners?([_ | _] = list) do
    Enum.all?(list, &(is_tuple(&1) and tuple_size(&1) == @size and elem(&1, 0) == :listen))
  end

  defp listeners?(_other), do: false

  defp listener(module), do: {:listen, :undefined, :undefined, module.address(), module}

  defp without(listeners, module),
    do: Enum.reject(listeners, &(elem(&1, @module_index) == module))

  # untouched: whether the configuration says so
  defp unknown(untouched \\ false),
    do: {:error, {:unknown_net_kernel, %{otp: System.otp_release(), untouched: untouched}}}
end
