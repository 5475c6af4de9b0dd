defmodule Mix.K8sConnect.Expressions do
  @moduledoc false
  # The expressions of `--rpc` and `--rpc-file`: on the command line, in files, on standard input.

  @sources [:rpc, :rpc_file]
  @settings [:rpc_timeout, :erl, :quiet]
  # The longest timeout of the VM, in milliseconds
  @max_timeout 0xFFFF_FFFF

  @type source :: {:rpc | :rpc_file, String.t()}
  @type expression :: {file :: String.t(), text :: String.t()}
  @type t(expression) :: %{
          expressions: [expression, ...],
          erlang: boolean(),
          timeout: timeout(),
          quiet: boolean()
        }
  @type t :: t(source() | expression())

  @doc """
  Replaces the switches about expressions by one switch `:rpc` that has them all.
  """
  @spec parse(keyword()) :: {:ok, keyword()} | {:error, problem :: String.t()}
  def parse(switches) do
    {sources, others} = Keyword.split(switches, @sources)
    {settings, others} = Keyword.split(others, @settings)

    case {sources, settings} do
      {[], []} ->
        {:ok, others}

      {[], [{setting, _value} | _more]} ->
        {:error, "--#{String.replace("#{setting}", "_", "-")} needs --rpc or --rpc-file"}

      {sources, settings} ->
        with :ok <- check(sources, settings[:rpc_timeout]),
             do: {:ok, [{:rpc, merge(sources, settings)} | others]}
    end
  end

  defp check(sources, timeout) do
    cond do
      Enum.count(sources, &(&1 == {:rpc, "-"})) > 1 ->
        {:error, "--rpc - can be given only once"}

      timeout && timeout not in 1..@max_timeout ->
        {:error,
         "invalid value for --rpc-timeout: expected a positive number of milliseconds, got #{timeout}"}

      true ->
        :ok
    end
  end

  defp merge(sources, settings) do
    %{
      expressions: sources,
      erlang: settings[:erl] || false,
      timeout: settings[:rpc_timeout] || :infinity,
      quiet: settings[:quiet] || false
    }
  end

  @doc """
  Reads the files and standard input.
  """
  @spec read(t(source())) :: {:ok, t(expression())} | {:error, problem :: String.t()}
  def read(%{expressions: sources} = rpc) do
    with {:ok, expressions} <- read_each(sources, []),
         do: {:ok, %{rpc | expressions: expressions}}
  end

  defp read_each([], read), do: {:ok, Enum.reverse(read)}

  defp read_each([source | sources], read) do
    {name, result} = text(source)

    with {:ok, text} <- result, :ok <- check_text(name, text) do
      read_each(sources, [{name, text} | read])
    else
      {:error, reason} when is_atom(reason) ->
        {:error, "could not read #{name}: #{:file.format_error(reason)}"}

      {:error, problem} ->
        {:error, problem}
    end
  end

  defp text({:rpc, "-"}), do: {"standard input", read_input()}
  defp text({:rpc, text}), do: {"--rpc", {:ok, text}}
  defp text({:rpc_file, file}), do: {file, File.read(file)}

  # It is UTF-8 whatever the locale is.
  defp read_input do
    case if(decoded?(), do: IO.read(:stdio, :eof), else: read_bytes()) do
      text when is_binary(text) -> {:ok, text}
      :eof -> {:ok, ""}
      {:error, reason} when is_atom(reason) -> {:error, reason}
      # What `check_text/2` refuses
      {:error, _no_character} -> {:ok, <<0xFF>>}
    end
  end

  # Since OTP 26 the terminal driver reads characters in the encoding of the locale, which is also that of file names.
  defp decoded? do
    List.to_integer(:erlang.system_info(:otp_release)) >= 26 and
      :file.native_name_encoding() == :utf8
  end

  defp read_bytes do
    encoding = Keyword.get(:io.getopts(:standard_io), :encoding, :unicode)
    :ok = :io.setopts(:standard_io, encoding: :latin1)
    text = IO.binread(:stdio, :eof)
    :ok = :io.setopts(:standard_io, encoding: encoding)
    text
  end

  defp check_text(name, text) do
    cond do
      not String.valid?(text) ->
        {:error, "could not read the expression in #{name}: it is not UTF-8"}

      String.trim(text) == "" ->
        {:error, "no expression in #{name}: it is empty"}

      true ->
        :ok
    end
  end
end
