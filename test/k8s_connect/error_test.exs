defmodule K8sConnect.ErrorTest do
  use ExUnit.Case, async: true

  alias K8sConnect.Error

  # One line for each kind that the moduledoc lists: its details, and what the sentence must say.
  @sentences [
    {:options, :not_a_keyword, %{value: 1}, ["got 1", "K8sConnect.pods(namespace:"]},
    {:options, :unknown_option, %{option: :a, known: [:b, :c]}, [":a", ":b, :c"]},
    {:options, :bad_option, %{option: :a, value: 1, expected: "a string"},
     [":a", "a string", "got 1"]},
    {:native, :not_loaded, %{path: "/x.so", problem: "gone"},
     ["/x.so", "gone", "mix deps.compile"]},
    {:native, :task_died, %{}, ["a fault of its own"]},
    {:config, :not_found, %{tried: []}, ["neither KUBECONFIG nor HOME", "export KUBECONFIG="]},
    {:config, :not_found, %{tried: ["/a", "/b"]}, ["no file /a, nor /b", "export KUBECONFIG="]},
    {:config, :unreadable, %{path: "/a", problem: "denied"}, ["/a: denied", "ls -l /a"]},
    {:config, :malformed, %{path: "/a", problem: "line 3"},
     ["/a", "line 3", "kubectl config view"]},
    {:config, :no_context, %{known: []}, ["current-context", "none at all"]},
    {:config, :no_context, %{known: ["a", "b"]}, ["current-context", "There are: a, b"]},
    {:config, :unknown_context, %{context: "x", known: ["a"]}, ["\"x\"", "There are: a"]},
    {:config, :unknown_cluster, %{context: "x", cluster: "c"},
     ["\"x\"", "\"c\"", "get-clusters"]},
    {:config, :unknown_user, %{context: "x", user: "u"}, ["\"x\"", "\"u\"", "get-users"]},
    {:config, :bad_cluster, %{context: "x", problem: "no url"}, ["no url", "--context x"]},
    {:config, :bad_user, %{context: "x", problem: "no key"}, ["no key", "--context x"]},
    {:config, :unsupported_login, %{context: "x", method: "exec"}, ["exec", "get-contexts"]},
    {:config, :bad_namespace, %{namespace: "a/b"}, ["\"a/b\"", "kubectl get namespaces"]},
    {:cluster, :unreachable, %{server: "https://s", problem: "refused"},
     ["https://s: refused", "cluster-info"]},
    {:cluster, :timed_out, %{server: "https://s", timeout_ms: 5},
     ["https://s", "5 ms", "cluster-info"]},
    {:cluster, :unknown_authority, %{server: "https://s"},
     ["https://s", "authority", "config view"]},
    {:cluster, :tls, %{server: "https://s", problem: "bad"}, ["https://s: bad", "cluster-info"]},
    {:cluster, :client_certificate_expired, %{context: "x", not_after: "2020"},
     ["\"x\"", "2020"]},
    {:cluster, :unauthorized, %{context: "x", server: "https://s"},
     ["401", "auth whoami --context x"]},
    {:cluster, :forbidden, %{verb: "list", resource: "pods", namespace: "shop", message: "no."},
     ["may not list pods", "\"shop\"", "no. Ask", "can-i list pods -n shop"]},
    {:cluster, :refused, %{server: "https://s", code: 500, message: "oops"},
     ["500: oops", "cluster-info"]},
    {:cluster, :not_kubernetes, %{server: "https://s", problem: "html"},
     ["https://s", "html", "config view"]}
  ]

  for {{stage, kind, details, expected}, index} <- Enum.with_index(@sentences) do
    test "#{index}: #{stage} #{kind}" do
      error = Error.new(unquote(stage), {unquote(kind), unquote(Macro.escape(details))})
      sentence = Error.message(error)
      for part <- unquote(expected), do: assert(sentence =~ part)
      refute sentence =~ ".."
    end
  end

  test "every kind in the moduledoc has a sentence above, and no other has" do
    {:docs_v1, _, _, _, %{"en" => moduledoc}, _, _} = Code.fetch_docs(Error)

    documented =
      for [_, stage, kinds] <- Regex.scan(~r/^\| `:(\w+)` \| (.+) \|$/m, moduledoc),
          [_, kind] <- Regex.scan(~r/`:(\w+)`/, kinds),
          do: {String.to_atom(stage), String.to_atom(kind)}

    assert Enum.sort(documented) ==
             @sentences
             |> Enum.map(fn {stage, kind, _, _} -> {stage, kind} end)
             |> Enum.uniq()
             |> Enum.sort()
  end

  test "text from outside cannot move the cursor" do
    escape = "\e[2J\e]0;title\ared\e[31m\r\n\u009b1m\x7f"
    error = Error.new(:cluster, {:unreachable, %{server: "https://s", problem: escape}})
    message = Error.message(error)
    assert message =~ "red\n1m"
    assert String.replace(message, "\n", "") =~ ~r/^[[:print:]]*$/u
  end

  test "text from outside may be no UTF-8" do
    error = Error.new(:config, {:unreadable, %{path: "/\xff", problem: "gone"}})
    assert Error.message(error) =~ "gone"
  end
end
