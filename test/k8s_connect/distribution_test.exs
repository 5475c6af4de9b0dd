defmodule K8sConnect.DistributionTest do
  use ExUnit.Case, async: true

  alias K8sConnect.Distribution

  test "the local node's name is of the pod's kind, whatever the user is called" do
    for user <- ["dev", "Jörg Müller", "DOMAIN\\user", "a@b", "", String.duplicate("x", 300)] do
      long = Atom.to_string(Distribution.name(:"app@10.244.1.2", user))
      assert long =~ ~r/\Arem-[a-z0-9_-]{1,20}-[a-z0-9]{1,6}@127\.0\.0\.1\z/
      short = Atom.to_string(Distribution.name(:"app@app-0", user))
      assert short =~ ~r/\Arem-[a-z0-9_-]{1,20}-[a-z0-9]{1,6}@localhost\z/
    end
  end

  test "two are not the same" do
    names = for _ <- 1..20, do: Distribution.name(:"app@app-0", "dev")
    assert names == Enum.uniq(names)
  end
end
