defmodule K8sConnect.Doctor.Check do
  @moduledoc false
  # The finding of a check.

  alias K8sConnect.{Doctor, Error}
  alias K8sConnect.Error.Command

  # From good to bad. A layer counts as skipped only if all of its checks were skipped.
  @order [:skipped, :ok, :warning, :failed, :crashed]

  # Text from a pod can be long.
  @max_length 2_000

  @typedoc "What a check returns. The layer adds the name, and renders the command."
  @type finding :: %{
          optional(:name) => String.t(),
          status: Doctor.status(),
          fact: String.t(),
          source: String.t() | nil,
          why: String.t() | nil,
          command: Command.t() | String.t() | nil
        }

  @spec ok(String.t(), String.t() | nil) :: finding()
  def ok(fact, source \\ nil), do: finding(:ok, fact, source, nil, nil)

  @spec skipped(String.t()) :: finding()
  def skipped(reason), do: finding(:skipped, "skipped: #{reason}", nil, nil, nil)

  @spec crashed(String.t()) :: finding()
  def crashed(problem) do
    finding(
      :crashed,
      "the check crashed: #{problem}",
      nil,
      "internal error in k8s_connect, which says nothing about the other checks. Please report it",
      {:mix, "k8s.doctor", [report: true]}
    )
  end

  @spec warning(String.t(), String.t() | nil, String.t(), Command.t()) :: finding()
  def warning(fact, source, why, command), do: finding(:warning, fact, source, why, command)

  @spec failed(String.t(), String.t() | nil, String.t(), Command.t() | String.t() | nil) ::
          finding()
  def failed(fact, source, why, command), do: finding(:failed, fact, source, why, command)

  @doc """
  The finding of an error: its message and advice are the reason.
  """
  @spec failure(String.t(), Error.t(), map()) :: finding()
  def failure(fact, %Error{} = error, context) do
    %{options: options, requested_target: target} = context
    access = Map.get(context, :access, %{})
    error = error |> Error.for_request(target, access) |> Error.for_request(target, options)
    failed(fact, nil, Error.explanation(error, :doctor), Error.command(error, :doctor))
  end

  @doc """
  Ends the calling check with a finding.
  """
  @spec abort(finding()) :: no_return()
  def abort(finding), do: throw({__MODULE__, finding})

  @doc """
  The finding with its command as a line, about the cluster and the namespace of this examination.
  """
  @spec render(finding(), map()) :: finding()
  def render(%{command: command} = finding, context) when is_tuple(command) do
    target = context[:requested_target]

    request =
      target
      |> Error.request(Map.get(context, :access, %{}))
      |> Error.request(target, Map.get(context, :options, []))

    %{finding | command: Command.render(command, request, :doctor)}
  end

  def render(finding, _context), do: finding

  @doc """
  The finding without control characters: a pod chooses the names in its epmd, for example.
  """
  @spec printable(finding()) :: finding()
  def printable(finding) do
    Map.new(finding, fn
      {:command, command} when is_binary(command) ->
        {:command, without(command, ~r/[^\P{Cc}\n]/u)}

      {key, text} when is_binary(text) ->
        {key, text |> String.slice(0, @max_length) |> without(~r/\p{Cc}/u)}

      other ->
        other
    end)
  end

  defp without(text, unwanted) do
    text
    |> String.codepoints()
    |> Enum.map_join(&if(String.valid?(&1), do: &1, else: "\uFFFD"))
    |> String.replace(unwanted, "")
  end

  @doc """
  The worst status; `:ok` for no checks.
  """
  @spec worst([%{status: Doctor.status()}]) :: Doctor.status()
  def worst([]), do: :ok

  def worst(parts) do
    parts |> Enum.map(& &1.status) |> Enum.max_by(fn s -> Enum.find_index(@order, &(&1 == s)) end)
  end

  defp finding(status, fact, source, why, command),
    do: %{status: status, fact: fact, source: source, why: why, command: command}
end
