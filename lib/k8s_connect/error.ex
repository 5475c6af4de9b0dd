defmodule K8sConnect.Error do
  @moduledoc """
  A failure, for programs and for people.

    * `:stage` - where it failed: `:options`, `:native` (the native library), `:config` (the kubeconfig),
      `:cluster` (the API server), `:target` (the pod), `:node` (the node in the pod), `:cookie`,
      `:endpoint` (the local endpoint), `:helper`, `:route`, `:connect`, `:exec` (a command), or
      `:remote` (code on the node).
    * `:reason` - `{kind, details}`, a term to match on.
    * `:request` - the target and the options of the call that failed, as far as a command line can repeat
      them. It never has a cookie.

  `Exception.message/1` says what failed, why, and what to do next. Suggested commands carry the kubeconfig, the
  context and the namespace that were in use. Control characters in text from outside are removed.
  `guides/troubleshooting.md` lists every stage and kind.
  """

  alias K8sConnect.Error.{Catalogue, Command}

  # What a command line can repeat.
  @repeatable [:kubeconfig, :context, :namespace, :selector, :container, :node, :port] ++
                [
                  :cookie_file,
                  :cookie_from,
                  :tls_ca,
                  :tls_cert,
                  :tls_key,
                  :protocol,
                  :route,
                  :sudo,
                  :visible,
                  :trust,
                  :read_only,
                  :audit,
                  :audit_arguments,
                  :max_atoms,
                  :max_message
                ] ++
                [:timeout, :connect_timeout, :remsh]
  @no_request %{call: :connect, target: nil, options: []}

  @enforce_keys [:stage, :reason]
  defexception @enforce_keys ++ [request: @no_request]

  @type stage ::
          :options
          | :native
          | :config
          | :cluster
          | :target
          | :node
          | :cookie
          | :endpoint
          | :helper
          | :route
          | :connect
          | :exec
          | :remote
  @type request :: %{
          call: :connect | :pods,
          target: String.t() | nil,
          options: keyword()
        }
  @type t :: %__MODULE__{
          stage: stage(),
          reason: {kind :: atom(), details :: map()},
          request: request()
        }

  @typedoc """
  Who reads it: a caller in code, a user of `mix k8s.connect`, or a user of `mix k8s.doctor`.
  """
  @type audience :: :code | :cli | :doctor

  @doc false
  @spec new(stage(), {atom(), map()}) :: t()
  def new(stage, reason), do: %__MODULE__{stage: stage, reason: reason}

  @doc false
  # Adds the request to an error, alone or in `{:error, error}`. What the error has already stays: the context that
  # was resolved replaces the one that was given. `:pods` as a target stands for `K8sConnect.pods/1`.
  @spec for_request(result, String.t() | :pods | nil, keyword() | map()) :: result
        when result: term()
  def for_request({:error, %__MODULE__{} = error}, target, options),
    do: {:error, for_request(error, target, options)}

  def for_request(%__MODULE__{} = error, target, options),
    do: %{error | request: request(error.request, target, options)}

  def for_request(result, _target, _options), do: result

  @doc false
  @spec request(request(), String.t() | :pods | nil, keyword() | map()) :: request()
  def request(request \\ @no_request, target, options) do
    added = for name <- @repeatable, value = options[name], do: {name, value}
    known = Keyword.merge(added, request.options)

    options =
      for {name, value} <- known, {name, value} != {:context, "in-cluster"}, do: {name, value}

    with_target(%{request | options: options}, target)
  end

  defp with_target(request, :pods), do: %{request | call: :pods}

  defp with_target(%{target: nil} = request, target) when is_binary(target),
    do: %{request | target: target}

  defp with_target(request, _target), do: request

  @doc """
  What failed, why, and what to do next, in terms of the API.
  """
  @spec message(t()) :: String.t()
  @impl true
  def message(%__MODULE__{} = error), do: message(error, :code)

  @doc """
  The same for another audience: `:cli` names the switches of `mix k8s.connect` instead of options.
  """
  @spec message(t(), audience()) :: String.t()
  def message(%__MODULE__{} = error, audience) do
    {message, advice, lead, command} = entry(error)
    next = if command, do: [lead, ": ", render(command, error, audience)]

    [message, advice, next]
    |> Enum.reject(&is_nil/1)
    |> Enum.map(&text(&1, audience))
    |> sentences()
  end

  @doc """
  What failed and why.
  """
  @spec summary(t(), audience()) :: String.t()
  def summary(%__MODULE__{} = error, audience \\ :code) do
    {message, _advice, _lead, _command} = entry(error)
    sentences([text(message, audience)])
  end

  @doc """
  What failed, why, and advice; without the suggested command.
  """
  @spec explanation(t(), audience()) :: String.t()
  def explanation(%__MODULE__{} = error, audience \\ :code) do
    {message, advice, _lead, _command} = entry(error)
    sentences(for part <- [message, advice], part, do: text(part, audience))
  end

  @doc """
  The suggested command, ready to paste; `nil` if there is none.
  """
  @spec command(t(), audience()) :: String.t() | nil
  def command(%__MODULE__{} = error, audience \\ :cli) do
    {_message, _advice, _lead, command} = entry(error)
    if command, do: command |> render(error, audience) |> printable()
  end

  @doc """
  The exit code of a program that ends with this error: 2 for a usage error; as in a shell, 127 for a command that
  was not found and 126 for one that is not executable; otherwise 1.
  """
  @spec exit_code(t()) :: 1 | 2 | 126 | 127
  def exit_code(%__MODULE__{stage: stage, reason: {kind, _details}}),
    do: Catalogue.exit_code(stage, kind)

  @doc """
  The error as plain data for JSON, with the message and the command of a command line.
  """
  @spec to_map(t()) :: map()
  def to_map(%__MODULE__{stage: stage, reason: {kind, details}} = error) do
    %{
      stage: stage,
      kind: kind,
      details: Map.new(details, fn {key, value} -> {key, plain(value)} end),
      message: message(error, :cli),
      command: command(error),
      exit_code: exit_code(error)
    }
  end

  # {message, advice, lead, command}, each but the first may be nil.
  defp entry(%__MODULE__{stage: stage, reason: {kind, details}}) do
    case Catalogue.entry(stage, kind, details) do
      {message, nil} -> {message, nil, nil, nil}
      {message, {advice, lead, command}} -> {message, advice, lead, command}
      {message, {lead, command}} -> {message, nil, lead, command}
      {message, advice} -> {message, advice, nil, nil}
    end
  end

  defp render(command, error, audience), do: Command.render(command, located(error), audience)

  # The details are the surest on which pod, namespace and context it was.
  defp located(%__MODULE__{request: request, reason: {_kind, details}}) do
    found =
      for name <- [:namespace, :context],
          value = details[name],
          value not in ["", "in-cluster"],
          do: {name, value}

    pod = if request.options[:selector], do: nil, else: details[:pod]
    options = Keyword.merge(request.options, found)
    %{request | target: request.target || pod, options: options}
  end

  defp text(parts, audience) do
    parts |> List.wrap() |> List.flatten() |> Enum.map_join(&part(&1, audience))
  end

  defp part({:option, name}, audience), do: Command.option(name, audience)
  defp part({:option, name, value}, audience), do: Command.option(name, value, audience)
  defp part(text, _audience), do: text

  # The last one has no full stop: a command may be the end of it. A question keeps its mark.
  defp sentences(texts) do
    {init, [last]} = Enum.split(texts, -1)
    printable(Enum.map_join(init, &stop/1) <> last)
  end

  defp stop(text), do: if(String.ends_with?(text, "?"), do: text <> " ", else: text <> ". ")

  # Control characters, and those that change the direction or the shape of the text around them, as in
  # `native/core/src/text.rs`.
  @unprintable ~r/[\x00-\x08\x0b-\x1f\x7f-\x{9f}\x{200b}-\x{200f}\x{2028}-\x{202e}\x{2060}-\x{206f}\x{feff}]/u

  @doc false
  # Escape sequences first, as a whole, then whatever else could move a cursor.
  @spec printable(String.t()) :: String.t()
  def printable(text) do
    text
    |> String.codepoints()
    |> Enum.map_join(&if(String.valid?(&1), do: &1, else: "\uFFFD"))
    |> String.replace(~r/\e\[[0-9;?]*[ -\/]*[@-~]|\e\][^\a\e]*(\a|\e\\)?/, "")
    |> String.replace(@unprintable, "")
  end

  defp plain(text) when is_binary(text), do: printable(text)
  defp plain(list) when is_list(list), do: Enum.map(list, &plain/1)
  defp plain(value) when is_number(value) or is_atom(value), do: value
  defp plain(other), do: inspect(other)
end
