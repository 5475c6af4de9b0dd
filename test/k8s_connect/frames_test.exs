defmodule K8sConnect.FramesTest do
  # The helper's frames as Elixir sees them; native/wire has the bytes.
  use ExUnit.Case, async: true

  alias K8sConnect.{Error, Native}

  defp read(frame), do: Native.start(:read_frame, [frame])

  test "requests are what the helper reads" do
    assert Native.start(:hello_frame, [77]) == ~s({"hello":{"major":1,"minor":0,"pid":77}})

    assert Native.start(:apply_frame, [
             3,
             [{"10.244.1.8:4369", 40_001}, {"[fd00::8]:5555", 40_002}]
           ]) ==
             ~s({"apply":{"id":3,"redirects":[{"to":"10.244.1.8:4369","via":40001},) <>
               ~s({"to":"[fd00::8]:5555","via":40002}]}})

    assert Native.start(:status_frame, [4]) == ~s({"status":{"id":4}})
    assert Native.start(:reset_frame, [5]) == ~s({"reset":{"id":5}})
    assert_raise ArgumentError, fn -> Native.start(:apply_frame, [1, [{"nowhere", 1}]]) end
  end

  test "answers" do
    hello =
      ~s({"hello":{"major":1,"minor":0,"version":"0.1.0","uid":1000,"mechanism":"nft","unable":null}})

    assert {:hello, %{major: 1, uid: 1000, mechanism: "nft", unable: nil}} = read(hello)

    unable = ~s({"not_permitted":{"why":"no_new_privs"}})

    hello =
      ~s({"hello":{"major":1,"minor":0,"version":"0.1.0","uid":1000,"mechanism":null,"unable":#{unable}}})

    assert {:hello, %{mechanism: nil, unable: {:not_permitted, %{why: :no_new_privs}}}} =
             read(hello)

    assert read(~s({"applied":{"id":3,"redirects":2,"routed":["10.244.1.8"]}})) ==
             {:applied, 3, %{redirects: 2, routed: ["10.244.1.8"]}}

    status =
      ~s({"status":{"id":4,"redirects":[{"to":"10.1.1.1:5555","via":4000}],"routed":[],"capabilities":["cap_net_admin"]}})

    assert read(status) ==
             {:status, 4,
              %{redirects: [{"10.1.1.1:5555", 4000}], routed: [], capabilities: ["cap_net_admin"]}}
  end

  test "what is no answer is none, and breaks nothing" do
    for junk <- ["", "{}", "[1]", <<255, 0>>, ~s({"applied":{}}), String.duplicate("[", 100_000)] do
      assert {:unreadable, problem} = read(junk)
      assert is_binary(problem)
    end
  end

  # Each refusal of the helper's has a sentence of the library's.
  for {kind, details} <- [
        {:malformed, ~s({"problem":"x"})},
        {:too_long, ~s({"length":5})},
        {:empty, nil},
        {:wrong_version, ~s({"major":2,"minor":0})},
        {:no_hello, nil},
        {:second_hello, nil},
        {:not_your_process, ~s({"pid":1})},
        {:set_uid, nil},
        {:not_permitted, ~s({"why":"file_capability"})},
        {:not_permitted, ~s({"why":"no_new_privs"})},
        {:not_permitted, ~s({"why":"bounding_set"})},
        {:not_permitted, ~s({"why":"no_suid"})},
        {:not_permitted, ~s({"why":"unknown"})},
        {:too_many_helpers, ~s({"limit":16})},
        {:too_many, ~s({"count":2000})},
        {:bad_destination, ~s({"to":"127.0.0.1:5555","why":"loopback"})},
        {:bad_destination, ~s({"to":"10.0.0.1:5555","why":"local"})},
        {:bad_destination, ~s({"to":"10.0.0.1:5555","why":"unspecified"})},
        {:bad_destination, ~s({"to":"10.0.0.1:5555","why":"multicast"})},
        {:bad_destination, ~s({"to":"10.0.0.1:5555","why":"broadcast"})},
        {:bad_destination, ~s({"to":"10.0.0.1:5555","why":"link_local"})},
        {:bad_destination, ~s({"to":"10.0.0.1:5555","why":"reserved"})},
        {:bad_destination, ~s({"to":"[::1]:5555","why":"mapped"})},
        {:low_port, ~s({"to":"10.0.0.1:22","port":22})},
        {:twice, ~s({"to":"10.0.0.1:5555"})},
        {:no_listener, ~s({"via":4000})},
        {:foreign_listener, ~s({"via":4000,"uid":7})},
        {:no_route, ~s({"to":"10.0.0.1","problem":"x"})},
        {:kernel, ~s({"step":"x","problem":"y"})}
      ] do
    test "the refusal #{kind} #{details}" do
      name = Atom.to_string(unquote(kind))
      body = if unquote(details), do: ~s({"#{name}":#{unquote(details)}}), else: ~s("#{name}")
      frame = ~s({"refused":{"id":9,"refusal":#{body}}})
      assert {:refused, 9, {unquote(kind), details} = reason} = read(frame)
      assert is_map(details)
      assert Error.message(Error.new(:helper, reason)) =~ ~r/\S+ \S+/
    end
  end
end
