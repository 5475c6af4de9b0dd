defmodule K8sConnect.ProtectionTest do
  # Not async: it changes the application's environment.
  use ExUnit.Case, async: false

  alias K8sConnect.{Error, Protection}

  setup do
    Application.put_env(:k8s_connect, :protect, ["prod*", "*-live", "eu.1"])
    on_exit(fn -> Application.delete_env(:k8s_connect, :protect) end)
  end

  defp check(context, options \\ []) do
    never = fn context -> flunk("#{context} was asked for") end

    Protection.check(
      context,
      Map.merge(%{yes: false, trust: false, confirm: never}, Map.new(options))
    )
  end

  test "a context without a matching pattern needs no confirmation" do
    for context <- ["dev", "my-prod", "live-eu", "eu-1", "eux1", "prod" |> String.slice(0, 3)],
        do: assert(check(context) == :ok)
  end

  test "a matching context needs a confirmation" do
    test = self()

    for context <- ["prod", "prod-eu", "PROD-eu", "shop-live", "eu.1", "prod\nx"] do
      assert {:error, %Error{stage: :config, reason: {:protected, details}}} =
               check(context, confirm: &(send(test, {:asked, &1}) && false))

      assert details.context == context
      assert_received {:asked, ^context}
      assert check(context, confirm: fn _context -> true end) == :ok
    end
  end

  test "the option :yes confirms" do
    assert check("prod", yes: true) == :ok
  end

  test "trust has to be typed" do
    no = fn _context -> false end

    assert {:error, %Error{stage: :config, reason: {:protected_trust, %{context: "prod"}}}} =
             check("prod", yes: true, trust: true, confirm: no)

    assert check("prod", yes: true, trust: true, confirm: fn "prod" -> true end) == :ok
    assert check("dev", yes: true, trust: true) == :ok
  end
end
