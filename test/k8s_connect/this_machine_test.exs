defmodule K8sConnect.ThisMachineTest do
  use ExUnit.Case, async: true

  import K8sConnect.Tmp

  alias K8sConnect.Route.Kernel.ThisMachine

  setup :tmp_dir

  setup %{tmp_dir: etc} do
    {:ok, name} = :inet.gethostname()
    %{etc: etc, name: to_string(name)}
  end

  test "names of the loopback address need no file", %{etc: etc} do
    for host <-
          ~w(localhost LOCALHOST localhost. localhost.localdomain app.localhost ip6-localhost ip6-loopback),
        do: assert(ThisMachine.named?(host, etc), host)
  end

  test "its own name, also with the domain of the resolver", %{etc: etc, name: name} do
    assert ThisMachine.named?(name, etc)
    assert ThisMachine.named?(String.upcase(name), etc)
    refute ThisMachine.named?("#{name}.corp.example", etc)

    File.write!(Path.join(etc, "resolv.conf"), """
    # search other.example
    nameserver 192.0.2.1
    search Corp.Example lan
    options ndots:5
    """)

    assert ThisMachine.named?("#{name}.corp.example", etc)
    refute ThisMachine.named?("#{name}.other.example", etc)
    refute ThisMachine.named?("other.corp.example", etc)
  end

  test "names in its hosts file, of its own addresses only", %{etc: etc} do
    {:ok, interfaces} = :inet.getifaddrs()
    own = for {_name, options} <- interfaces, {:addr, ip} <- options, do: :inet.ntoa(ip)
    assert own != []

    File.write!(Path.join(etc, "hosts"), """
    127.0.1.1\tlaptop.corp.example laptop # not-a-name
    ::1 v6.example
    0.0.0.0 nowhere.example
    #{for {ip, at} <- Enum.with_index(own), do: "#{ip} own-#{at}.example\n"}
    192.0.2.9 other.example
    2001:db8::9 other6.example
    no-address broken.example
    127.0.0.1
    \xff
    127.5.5.5 LAST.example
    """)

    names =
      ~w(laptop.corp.example Laptop laptop. v6.example nowhere.example last.example) ++
        for {_ip, at} <- Enum.with_index(own), do: "own-#{at}.example"

    for host <- names, do: assert(ThisMachine.named?(host, etc), host)

    for host <-
          ~w(other.example other6.example broken.example not-a-name corp.example app-0.app.svc),
        do: refute(ThisMachine.named?(host, etc), host)
  end
end
