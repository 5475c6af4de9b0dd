defmodule Mix.K8sConnect.Build.Target do
  @moduledoc false
  # The platform of this BEAM, and the native files that it needs.

  @doc """
  The target triple of Rust for the system architecture of an Erlang VM, by default of this one.
  """
  @spec triple(String.t()) :: String.t()
  def triple(architecture \\ to_string(:erlang.system_info(:system_architecture))) do
    [cpu | system] = String.split(architecture, "-")
    Enum.join([cpu(cpu) | system(system)], "-")
  end

  defp cpu("arm64"), do: "aarch64"
  defp cpu("amd64"), do: "x86_64"
  defp cpu(cpu), do: cpu

  # Debian and Alpine name a vendor, Rust does not.
  defp system(words) do
    cond do
      "linux" in words -> ["unknown", "linux", List.last(words)]
      Enum.any?(words, &String.starts_with?(&1, "darwin")) -> ["apple", "darwin"]
      true -> words
    end
  end

  @doc """
  The files in `priv/native`. The VM appends `.so` to the name of a library on every system.
  """
  @spec files() :: [String.t()]
  def files do
    case :os.type() do
      {:unix, :linux} -> ["k8s_connect_nif.so", "k8s_connect_helper", "k8s_connect_exec"]
      _other -> ["k8s_connect_nif.so"]
    end
  end
end
