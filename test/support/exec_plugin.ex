defmodule K8sConnect.ExecPlugin do
  @moduledoc """
  Exec plugins of a test's own, kubeconfigs that name them, and calls with these.
  """

  import ExUnit.Assertions

  alias K8sConnect.{Error, Kubeconfig}

  @v1 "client.authentication.k8s.io/v1"

  @doc """
  The version of the API that plugins speak.
  """
  def v1, do: @v1

  @doc """
  Writes a program that notes each run, and then does what the script says. Answers its path.
  """
  def plugin(tmp_dir, script, name \\ "plugin") do
    path = Path.join(tmp_dir, name)
    File.write!(path, "#!/bin/sh\necho $$ >> #{path}.runs\n#{script}\n")
    File.chmod!(path, 0o755)
    path
  end

  @doc """
  How many times it was run.
  """
  def runs(plugin) do
    case File.read(plugin <> ".runs") do
      {:ok, text} -> length(String.split(text))
      {:error, :enoent} -> 0
    end
  end

  @doc """
  What a script prints that gives these fields.
  """
  def credential(fields, version \\ @v1) do
    status = Enum.map_join(fields, ", ", fn {name, value} -> ~s("#{name}": "#{value}") end)

    ~s(printf '%s' '{"kind": "ExecCredential", "apiVersion": "#{version}", "status": {#{status}}}')
  end

  @doc """
  Writes a kubeconfig whose user is a plugin, and answers its path. `more` are lines of YAML in the
  plugin's entry, `cluster` in that of the cluster.
  """
  def kubeconfig(tmp_dir, command, more \\ [], cluster \\ []) do
    exec = ["command: '#{command}'"] ++ more

    exec =
      if Enum.any?(exec, &(&1 =~ "apiVersion")), do: exec, else: ["apiVersion: #{@v1}" | exec]

    exec =
      if Enum.any?(exec, &(&1 =~ "interactiveMode")),
        do: exec,
        else: ["interactiveMode: Never" | exec]

    Kubeconfig.write(tmp_dir, cluster, ["exec: {#{Enum.join(exec, ", ")}}"])
  end

  @doc """
  The reason why a request fails, which tells no secret.
  """
  def failure(kubeconfig, more \\ []) do
    assert {:error, %Error{stage: :cluster} = error} =
             K8sConnect.pods([kubeconfig: kubeconfig] ++ more)

    refute Exception.message(error) =~ "secret"
    error.reason
  end

  @doc """
  A request that is answered with pods.
  """
  def assert_pods(kubeconfig),
    do: assert({:ok, [_ | _]} = K8sConnect.pods(kubeconfig: kubeconfig))
end
