defmodule K8sConnect.Distribution.Flags do
  @moduledoc false
  # The distribution flags that the local OTP requires of every node. A node that lacks one is rejected during the
  # handshake, which looks like a cookie mismatch.

  import Bitwise

  # https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html#distribution-flags
  @names %{
    0x4 => "EXTENDED_REFERENCES",
    0x10 => "FUN_TAGS",
    0x80 => "NEW_FUN_TAGS",
    0x100 => "EXTENDED_PIDS_PORTS",
    0x200 => "EXPORT_PTR_TAG",
    0x400 => "BIT_BINARIES",
    0x800 => "NEW_FLOATS",
    0x10000 => "UTF8_ATOMS",
    0x20000 => "MAP_TAG",
    0x40000 => "BIG_CREATION",
    0x1000000 => "HANDSHAKE_23",
    0x2000000 => "UNLINK_ID",
    0x4000000 => "MANDATORY_25_DIGEST",
    0x400000000 => "V4_NC"
  }

  # One bit stands for all that OTP 25 requires.
  @digest 0x4000000
  @of_digest [0x4, 0x10, 0x80, 0x100, 0x200, 0x400, 0x800, 0x10000, 0x20000, 0x40000, 0x1000000]

  @doc """
  The names of the flags that the local OTP requires and `flags` does not have. None if this OTP does not tell.
  """
  @spec missing(non_neg_integer()) :: [String.t()]
  def missing(flags), do: missing(flags, required())

  @doc false
  @spec missing(non_neg_integer(), non_neg_integer()) :: [String.t()]
  def missing(flags, required) do
    flags = if (flags &&& @digest) == 0, do: flags, else: Enum.reduce(@of_digest, flags, &bor/2)

    lacking = required &&& bnot(flags)
    for bit <- 0..63, (lacking &&& 1 <<< bit) != 0, do: name(1 <<< bit)
  end

  defp name(flag), do: Map.get(@names, flag, "0x" <> Integer.to_string(flag, 16))

  # As `dist_util` reads them. OTP 23 and later.
  defp required do
    if function_exported?(:erts_internal, :get_dflags, 0),
      do: elem(:erts_internal.get_dflags(), 2),
      else: 0
  end
end
