defmodule K8sConnect.Error.Catalogue.Route do
  @moduledoc false
  # The route from this VM to the local endpoint.

  import K8sConnect.Error.Catalogue.Phrases

  alias K8sConnect.Error.Catalogue

  @vm {"Use the vm route", {:mix, "k8s.connect", [route: :vm]}}

  @spec entry(atom(), map()) :: Catalogue.entry()
  def entry(:linux_only, %{}), do: {"unsupported: the kernel route requires Linux", @vm}

  def entry(:always_hidden, %{}) do
    {[
       "unsupported: ",
       {:option, :visible, true},
       " on the vm route, whose connections are hidden"
     ], {"Use the kernel route", {:mix, "k8s.connect", [route: :kernel, visible: true]}}}
  end

  def entry(:name_kind, %{node: node, me: local}) do
    {"could not connect #{local} to #{node} over the kernel route: one node has a long name, the other a short name",
     @vm}
  end

  def entry(:address_family, %{node: node}) do
    {"could not connect to #{node} over the kernel route: the pod has an IPv6 address, and the distribution of this VM uses IPv4",
     {["Use ", {:option, :route, :vm}], "Or start the VM with IPv6",
      {:sh, ["iex", "--erl", "-proto_dist inet6_tcp", "-S", "mix"]}}}
  end

  def entry(:host_elsewhere, %{node: node, host: host, ip: ip, route: route}) do
    {"could not connect to #{node} over the #{route} route: #{host} is not the address of the pod, which is #{ip}",
     @vm}
  end

  def entry(:blocked, %{address: address, problem: problem}) do
    {"could not connect to #{address}: the helper redirects this address, but the connection does not arrive (#{bare(problem)})",
     {[
        "The helper redirects only processes in your systemd user slice, with your primary group and without capabilities. ",
        other_routes()
      ], "Test it with", {:mix, "k8s.helper", ["status"]}}}
  end

  def entry(:unknown_net_kernel, %{otp: otp, untouched: untouched}) do
    why =
      if untouched,
        do:
          "the vm route must not change net_kernel (config :k8s_connect, net_kernel: :untouched)",
        else: "k8s_connect cannot change the net_kernel of this OTP (#{otp})"

    {"unsupported: #{why}",
     {"It can change that of OTP 25 to 29. Without the change, the vm route needs OTP 27.2 or newer, no -epmd_module, and " <>
        "long names for both this node and the pod's, or short names for both",
      "Use the kernel route", {:mix, "k8s.connect", [route: :kernel]}}}
  end

  def entry(:no_distribution, %{name: name, problem: problem}) do
    {"could not start distribution as #{name}: #{bare(problem)}",
     {"Start the VM as a node", {:sh, ["iex", "--sname", "me", "-S", "mix"]}}}
  end

  def entry(:cookie_file, %{problem: problem, home: home}) do
    file = Path.join(home, ".erlang.cookie")

    {"could not start distribution: OTP reads or creates #{file} for that (#{bare(problem)})",
     if(problem =~ "owner only",
       do: {"Make it yours alone with", {:sh, ["chmod", "600", file]}},
       else:
         {"The kubeconfig stays the same",
          "Use a home directory that you can write to, and run the command again",
          {:raw, "export KUBECONFIG=\"${KUBECONFIG:-$HOME/.kube/config}\" HOME=\"$(mktemp -d)\""}}
     )}
  end

  def entry(:epmd_module, %{module: module}) do
    {"could not start distribution: the VM was started with -epmd_module #{module}, and there is no such module",
     {"Remove -epmd_module from ELIXIR_ERL_OPTIONS, ERL_FLAGS, ERL_AFLAGS or ERL_ZFLAGS",
      "Find it with", {:raw, "env | grep epmd_module"}}}
  end

  def entry(:node_taken, %{node: node}) do
    {"could not connect to #{node}: this VM is connected to another node of that name",
     {"Pods of two clusters can have the same address", "Disconnect the other node first",
      {:elixir, "Node.disconnect(#{inspect(node)})"}}}
  end

  def entry(:connected_otherwise, %{node: node} = details) do
    powers = for power <- [:trust, :read_only, :audit], do: "#{power}: #{inspect(details[power])}"

    {"already connected to #{node}, with #{Enum.join(powers, ", ")}",
     {"Disconnect first, to connect with other options",
      {:elixir, "Node.disconnect(#{inspect(node)})"}}}
  end

  def entry(:own_name, %{node: node}) do
    {"could not connect: the node in the pod has the name of the local node, #{node}",
     {"Start the local node with another name",
      {:sh, ["iex", "--name", "me@127.0.0.1", "-S", "mix"]}}}
  end

  def entry(:net_kernel_busy, %{seconds: seconds}) do
    {"timed out after #{seconds} s waiting for net_kernel, which is busy with another connection or a name lookup",
     {"Try again", {:mix, "k8s.connect", []}}}
  end

  def entry(:internal_error, %{problem: problem}),
    do: {"internal error while changing the local node: #{bare(problem)}", report()}
end
