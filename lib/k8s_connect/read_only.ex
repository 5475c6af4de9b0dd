defmodule K8sConnect.ReadOnly do
  @moduledoc false
  # The functions that a connection with `read_only: true` may call on the pod's node. The guard judges each call by
  # this list, see `native/core/src/endpoint/guard/read_only.rs`.
  #
  # Not in the list, because they can do harm: `supervisor:which_children/1` (a process that is no supervisor may crash
  # at the message), and what reads secrets (`application:get_env`, `erlang:get_cookie`, `init:get_arguments`,
  # `os:getenv`).

  @calls [
    erlang: [
      date: 0,
      function_exported: 3,
      is_process_alive: 1,
      loaded: 0,
      localtime: 0,
      memory: 0,
      memory: 1,
      module_loaded: 1,
      monotonic_time: 0,
      monotonic_time: 1,
      node: 0,
      nodes: 0,
      nodes: 1,
      port_info: 1,
      port_info: 2,
      ports: 0,
      pre_loaded: 0,
      process_info: 1,
      process_info: 2,
      processes: 0,
      registered: 0,
      statistics: 1,
      system_info: 1,
      system_time: 0,
      system_time: 1,
      time: 0,
      time_offset: 0,
      universaltime: 0,
      whereis: 1
    ],
    application: [
      get_application: 1,
      get_key: 2,
      loaded_applications: 0,
      which_applications: 0,
      which_applications: 1
    ],
    code: [all_loaded: 0, get_path: 0, is_loaded: 1, root_dir: 0, which: 1],
    ets: [all: 0, info: 1, info: 2, lookup: 2, member: 2],
    global: [registered_names: 0, whereis_name: 1],
    inet: [gethostname: 0],
    init: [get_status: 0],
    net_kernel: [get_net_ticktime: 0],
    observer_backend: [
      etop_collect: 1,
      get_port_list: 0,
      get_socket_list: 0,
      get_table_list: 2,
      procs_info: 1,
      sys_info: 0,
      vsn: 0
    ],
    os: [getpid: 0, system_time: 0, system_time: 1, type: 0, version: 0],
    pg:
      [get_local_members: 1, get_local_members: 2, get_members: 1, get_members: 2] ++
        [which_groups: 0, which_groups: 1, which_local_groups: 0, which_local_groups: 1],
    recon: [
      get_state: 1,
      get_state: 2,
      inet_count: 2,
      info: 1,
      info: 2,
      port_types: 0,
      proc_count: 2,
      scheduler_usage: 1
    ],
    recon_alloc: [allocators: 0, cache_hit_rates: 0, fragmentation: 1, memory: 1, memory: 2],
    sys: [get_state: 1, get_state: 2, get_status: 1, get_status: 2],
    "Elixir.Application": [loaded_applications: 0, spec: 1, spec: 2, started_applications: 0],
    "Elixir.Node": [alive?: 0, list: 0, list: 1, self: 0],
    "Elixir.Process": [alive?: 1, info: 1, info: 2, list: 0, registered: 0, whereis: 1],
    "Elixir.Registry": [count: 1, keys: 2, lookup: 2],
    "Elixir.System": [build_info: 0, otp_release: 0, version: 0]
  ]

  @doc """
  The functions, as `{module, function, arity}`, without those of the configuration.
  """
  @spec default() :: [mfa()]
  def default do
    for {module, functions} <- @calls, {name, arity} <- functions, do: {module, name, arity}
  end

  @doc """
  All functions for the guard: `"module:function/arity"`, and `"module:function/*"` for each arity.
  """
  @spec calls() :: [String.t()]
  def calls do
    for call <- default() ++ Application.get_env(:k8s_connect, :read_only_calls, []) do
      case call do
        {module, function, arity} -> "#{module}:#{function}/#{arity}"
        {module, function} -> "#{module}:#{function}/*"
      end
    end
  end

  @doc """
  Whether a configuration of functions is well-formed.
  """
  @spec valid?(term()) :: boolean()
  def valid?(calls) when is_list(calls) do
    Enum.all?(calls, fn
      {module, function, arity} ->
        is_atom(module) and is_atom(function) and is_integer(arity) and arity in 0..255

      {module, function} ->
        is_atom(module) and is_atom(function)

      _other ->
        false
    end)
  end

  def valid?(_calls), do: false
end
