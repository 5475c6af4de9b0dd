defmodule K8sConnect.Kubeconfig do
  @moduledoc """
  Kubeconfigs for tests, made of the parts of the developer's own.
  """

  @doc """
  Writes one and answers its path. `cluster` and `user` are lines of YAML in the two entries; the
  server and its authority are the real ones unless the first says otherwise, and the user is the
  developer with the certificate unless the second names another.
  """
  def write(folder, cluster \\ [], user \\ nil) do
    path = Path.join(folder, "kubeconfig-#{System.unique_integer([:positive])}")
    authority = "certificate-authority-data: #{part("certificate-authority-data")}"

    cluster =
      cluster
      |> unless_there("server:", "server: https://10.200.0.1:6443")
      |> unless_there("certificate-authority", authority)
      |> Enum.reject(&(&1 == "certificate-authority: none"))

    File.write!(path, """
    apiVersion: v1
    kind: Config
    current-context: test
    clusters: [{name: c, cluster: {#{Enum.join(cluster, ", ")}}}]
    users: [{name: u, user: {#{Enum.join(user || certificate(), ", ")}}}]
    contexts: [{name: test, context: {cluster: c, user: u}}]
    """)

    path
  end

  @doc """
  Writes the developer's own with something in it replaced, and answers its path.
  """
  def changed(folder, from, to) do
    text = File.read!(user("dev"))
    true = text =~ from
    path = Path.join(folder, "kubeconfig")
    File.write!(path, String.replace(text, from, to))
    path
  end

  @doc """
  The kubeconfig of a user of this laptop.
  """
  def user(name), do: Path.expand("~/.kube/#{name}")

  @doc """
  The lines of a user that has the developer's certificate.
  """
  def certificate do
    for name <- ["client-certificate-data", "client-key-data"], do: "#{name}: #{part(name)}"
  end

  @doc """
  The token of the ServiceAccount with the developer's rights.
  """
  def token, do: part("token", "token")

  @doc """
  A value of a kubeconfig of this laptop.
  """
  def part(name, file \\ "dev") do
    text = File.read!(user(file))
    [_line, value] = Regex.run(~r/^\s*(?:- )?#{name}: "?([^"\n]+)"?$/m, text)
    value
  end

  defp unless_there(lines, name, line) do
    if Enum.any?(lines, &String.starts_with?(&1, name)), do: lines, else: [line | lines]
  end
end
