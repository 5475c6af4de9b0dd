defmodule K8sConnect.Route.Kernel.ThisMachine do
  @moduledoc false
  # The host names of this machine. They come from its files: a DNS query would tell others the node's host, and wait
  # for a server that may not answer.

  @loopback ["ip6-localhost", "ip6-loopback"]

  @doc """
  Whether `host` is a name of this machine, or of its loopback address. The files are those in `etc`.
  """
  @spec named?(String.t(), Path.t()) :: boolean()
  def named?(host, etc \\ "/etc") do
    host = normal(host)

    "localhost" in String.split(host, ".") or host in @loopback or host in own(etc) or
      host in listed(etc)
  end

  # As OTP and `hostname -f` name it: the host name, which may have a domain, or the first domain of the resolver.
  defp own(etc) do
    {:ok, name} = :inet.gethostname()
    {:ok, full} = :net.gethostname()
    short = name |> to_string() |> normal()

    domains =
      for [word, domain | _more] when word in ["domain", "search"] <- lines(etc, "resolv.conf"),
          do: "#{short}.#{normal(domain)}"

    [short, full |> to_string() |> normal() | domains]
  end

  defp listed(etc) do
    addresses = addresses()

    for [address | names] <- lines(etc, "hosts"),
        {:ok, ip} <- [:inet.parse_strict_address(:binary.bin_to_list(address))],
        loopback?(ip) or ip in addresses,
        name <- names,
        do: normal(name)
  end

  defp addresses do
    case :inet.getifaddrs() do
      {:ok, interfaces} -> for {_name, options} <- interfaces, {:addr, ip} <- options, do: ip
      {:error, _reason} -> []
    end
  end

  # A connection to the unspecified address is one to the loopback address.
  defp loopback?({127, _, _, _}), do: true
  defp loopback?(ip), do: ip in [{0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 1}]

  # The words of each line of a file.
  defp lines(etc, file) do
    case File.read(Path.join(etc, file)) do
      {:ok, text} ->
        for line <- String.split(text, "\n"), do: line |> without_comment() |> String.split()

      {:error, _reason} ->
        []
    end
  end

  defp without_comment(line), do: line |> String.split(["#", ";"], parts: 2) |> hd()
  defp normal(name), do: name |> String.downcase() |> String.trim_trailing(".")
end
