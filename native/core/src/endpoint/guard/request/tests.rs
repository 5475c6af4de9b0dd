#![allow(clippy::unwrap_used)]

use super::{
    super::encode::{
        LAPTOP, POD, atom, binary, integer, list, message, pid, reference, string, tuple,
    },
    *,
};

fn asked(control: &[Vec<u8>], payload: Option<&[u8]>) -> String {
    let message = message(control, payload);
    Request::read(&Control::read(&message, true).unwrap()).to_string()
}

fn spawned(mfa: [&str; 2], arguments: &[Vec<u8>]) -> String {
    let control = [
        integer(29),
        reference(LAPTOP, 1),
        pid(LAPTOP, 1),
        pid(LAPTOP, 2),
        tuple(&[atom(mfa[0]), atom(mfa[1]), integer(0)]),
        list(&[atom("monitor")]),
    ];
    asked(&control, Some(&list(arguments)))
}

fn call_of(name: &str, request: Vec<u8>) -> String {
    let control = [integer(6), pid(LAPTOP, 1), atom(""), atom(name)];
    let from = tuple(&[pid(LAPTOP, 1), reference(LAPTOP, 1)]);
    asked(&control, Some(&tuple(&[atom("$gen_call"), from, request])))
}

#[test]
fn a_call_is_read_in_each_form() {
    let mfa = |arguments: Vec<u8>| [atom("erlang"), atom("memory"), arguments];
    let with_reference =
        [vec![reference(LAPTOP, 3)], mfa(list(&[atom("total")])).to_vec()].concat();
    assert_eq!(spawned(["erpc", "execute_call"], &with_reference), "erlang:memory/1");
    assert_eq!(spawned(["erpc", "execute_call"], &mfa(b"j".to_vec())), "erlang:memory/0");
    assert_eq!(spawned(["erpc", "execute_cast"], &mfa(string("ab"))), "erlang:memory/2");
    assert_eq!(spawned(["os", "cmd"], &[binary(b"id")]), "os:cmd/1");
    let request =
        |kind: &str| tuple(&[atom(kind), atom("a"), atom("b"), list(&[atom("c")]), pid(LAPTOP, 2)]);
    assert_eq!(call_of("rex", request("call")), "a:b/1");
    assert_eq!(call_of("rex", request("block_call")), "a:b/1");
    assert_eq!(call_of("rex", request("other")), "$gen_call to rex");
    assert_eq!(call_of("other", request("call")), "$gen_call to other");
}

#[test]
fn arguments_have_to_be_a_list() {
    for arguments in [atom("a"), binary(b"a"), tuple(&[atom("a")])] {
        let all = [atom("erlang"), atom("memory"), arguments];
        assert_eq!(spawned(["erpc", "execute_call"], &all), "unknown");
    }
}

#[test]
fn reads_by_messages_are_calls() {
    let from = tuple(&[pid(LAPTOP, 1), reference(LAPTOP, 1)]);
    let to = [integer(22), pid(LAPTOP, 1), pid(POD, 9)];
    for (request, expected) in [
        ("get_state", "sys:get_state/1"),
        ("get_status", "sys:get_status/1"),
        ("suspend", "system to <9.0>"),
    ] {
        let message = tuple(&[atom("system"), from.clone(), atom(request)]);
        assert_eq!(asked(&to, Some(&message)), expected);
    }
    assert_eq!(call_of("net_kernel", tuple(&[atom("is_auth"), atom(LAPTOP)])), "nothing");
    assert_eq!(
        call_of("net_kernel", tuple(&[atom("other"), atom(LAPTOP)])),
        "$gen_call to net_kernel"
    );
}

#[test]
fn messages_and_signals_have_a_receiver() {
    let to = [integer(22), pid(LAPTOP, 1), pid(POD, 9)];
    for (message, expected) in [
        (tuple(&[atom("hello"), integer(1)]), "hello to <9.0>"),
        (tuple(&[integer(1)]), "a tuple to <9.0>"),
        (atom("hello"), "hello to <9.0>"),
        (binary(b"x"), "a message to <9.0>"),
        (tuple(&[atom("io_reply"), reference(POD, 1), atom("ok")]), "nothing"),
    ] {
        assert_eq!(asked(&to, Some(&message)), expected);
    }
    // A name or an alias has asked for no input.
    let reply = tuple(&[atom("io_reply"), integer(1), atom("ok")]);
    let to_name = [integer(6), pid(LAPTOP, 1), atom(""), atom("server")];
    assert_eq!(asked(&to_name, Some(&reply)), "io_reply to server");
    let to_alias = [integer(33), pid(LAPTOP, 1), reference(POD, 9)];
    assert_eq!(asked(&to_alias, Some(&reply)), "io_reply to an alias");
    assert_eq!(asked(&[integer(1), pid(LAPTOP, 1), pid(POD, 9)], None), "link to <9.0>");
    let exit = [integer(26), pid(LAPTOP, 1), pid(POD, 9)];
    assert_eq!(asked(&exit, Some(&atom("kill"))), "exit to <9.0>");
    let leader = [integer(7), pid(LAPTOP, 1), pid(POD, 9)];
    assert_eq!(asked(&leader, None), "group_leader to <9.0>");
    let alias = [integer(33), pid(LAPTOP, 1), reference(POD, 9)];
    assert_eq!(asked(&alias, Some(&atom("x"))), "x to an alias");
    let monitor = [integer(19), pid(LAPTOP, 1), pid(POD, 9), reference(LAPTOP, 1)];
    assert_eq!(asked(&monitor, None), "nothing");
    assert_eq!(asked(&[integer(100), atom("x")], None), "unknown");
}
