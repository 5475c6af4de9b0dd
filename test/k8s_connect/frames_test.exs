defmodule K8sConnect.FramesTest do
  # The helper's frames as Elixir sees them; native/wire has the bytes.
  use ExUnit.Case, async: true

  alias K8sConnect.{Error, Native}

  defp read(frame), do: Native.start(:read_frame, [frame])

  test "requests" do
    assert Native.start(:hello_frame, [77]) == ~s({"hello":{"major":2,"minor":0,"pid":77}})

    assert Native.start(:apply_frame, [
             3,
             [{"10.244.1.8:4369", 40_001}, {"[fd00::8]:5555", 40_002}]
           ]) ==
             ~s({"apply":{"id":3,"redirects":[{"to":"10.244.1.8:4369","via":40001},) <>
               ~s({"to":"[fd00::8]:5555","via":40002}]}})

    assert Native.start(:status_frame, [4]) == ~s({"status":{"id":4}})
    assert Native.start(:stop_frame, [5]) == ~s({"stop":{"id":5}})
    assert_raise ArgumentError, fn -> Native.start(:apply_frame, [1, [{"nowhere", 1}]]) end
  end

  test "answers" do
    ready = ~s({"ready":{"major":2,"minor":0,"version":"0.1.0","uid":1000,"gid":100}})

    assert read(ready) ==
             {:ready, %{major: 2, minor: 0, version: "0.1.0", uid: 1000, gid: 100}}

    assert read(~s({"applied":{"id":3,"redirects":2}})) == {:applied, 3, %{redirects: 2}}
    status = ~s({"status":{"id":4,"redirects":[{"to":"10.1.1.1:5555","via":4000}]}})
    assert read(status) == {:status, 4, %{redirects: [{"10.1.1.1:5555", 4000}]}}
    assert read(~s({"stopped":{"id":5}})) == {:stopped, 5, %{}}
  end

  test "invalid frames" do
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
        {:no_such_process, ~s({"pid":1})},
        {:set_uid, nil},
        {:no_caller, nil},
        {:no_capability, ~s({"cause":"file_capabilities"})},
        {:no_capability, ~s({"cause":"bounding_set"})},
        {:no_capability, ~s({"cause":"user_namespace"})},
        {:no_capability, ~s({"cause":"unknown"})},
        {:no_new_privs, nil},
        {:nosuid, nil},
        {:no_cgroup2, nil},
        {:no_user_slice, ~s({"cgroup":"/","uid":1000})},
        {:no_btf, ~s({"name":"cred"})},
        {:no_bpf, ~s({"step":"x","problem":"y"})},
        {:exclusive_program, ~s({"cgroup":"/"})},
        {:override_program, ~s({"cgroup":"/"})},
        {:too_many, ~s({"limit":8})},
        {:self_test_failed, ~s({"test":"x"})},
        {:too_many_redirects, ~s({"count":2000})},
        {:bad_destination, ~s({"to":"127.0.0.1:5555","cause":"loopback"})},
        {:bad_destination, ~s({"to":"10.0.0.1:5555","cause":"local"})},
        {:bad_destination, ~s({"to":"10.0.0.1:5555","cause":"unspecified"})},
        {:bad_destination, ~s({"to":"10.0.0.1:5555","cause":"multicast"})},
        {:bad_destination, ~s({"to":"10.0.0.1:5555","cause":"broadcast"})},
        {:bad_destination, ~s({"to":"10.0.0.1:5555","cause":"link_local"})},
        {:bad_destination, ~s({"to":"10.0.0.1:5555","cause":"reserved"})},
        {:bad_destination, ~s({"to":"[::1]:5555","cause":"mapped"})},
        {:low_port, ~s({"to":"10.0.0.1:22","port":22})},
        {:duplicate_redirect, ~s({"to":"10.0.0.1:5555"})},
        {:no_listener, ~s({"via":4000})},
        {:foreign_listener, ~s({"via":4000,"uid":7})},
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
