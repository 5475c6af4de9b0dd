//! What a process may get, by how the pod was told of it.

use super::super::{encode::*, *};
use super::support::{Pair, send};

#[test]
fn a_process_of_otp_gets_answers_only() {
    let servers = Arc::new(Servers::default());
    let limits = Limits { atoms: 1000, message: 1_000_000 };
    let session = Arc::new(Session::new(limits).with_servers(servers.clone()));
    let mut pair = Pair::new();
    pair.session = session.clone();
    pair.connection = Connection::new(session.clone(), false, Some("Elixir.Printer"));
    pair.shake();
    // Before the VM has a name
    let mut server = pid("nonode@nohost", 1);
    *server.last_mut().unwrap() = 0;
    let both = [&[131][..], &list(&[pid("nonode@nohost", 7), server])].concat();
    let none = [131, 106];
    servers.replace(&both);
    pair.call(1, 2);
    let hello = tuple(&[atom("hello"), integer(42)]);
    assert!(!pair.passes(&send(pid(LAPTOP, 1)), Some(&hello)));
    // Any term can be the sender of a command.
    let call = tuple(&[atom("call"), atom("os"), atom("cmd"), b"j".to_vec(), pid(POD, 9)]);
    for sender in
        [reference(POD, 1), reference(LAPTOP, 1), reference(LAPTOP, 8), list(&[atom("a")])]
    {
        let command = tuple(&[sender, call.clone()]);
        assert!(!pair.passes(&send(pid(LAPTOP, 1)), Some(&command)));
    }
    let reply = |number| tuple(&[reference(LAPTOP, number), atom("ok")]);
    assert!(pair.passes(&send(pid(LAPTOP, 1)), Some(&reply(1))));
    assert!(!pair.passes(&send(pid(LAPTOP, 1)), Some(&reply(8))), "nobody waits for it");
    assert_eq!(pair.session.count(Kind::Message), 5);
    // It is gone, and another process is there.
    servers.replace(&none);
    assert!(pair.passes(&send(pid(LAPTOP, 1)), Some(&hello)));
    // Added alone, also twice
    for number in [7, 1, 7] {
        servers.add(&[&[131][..], &pid("nonode@nohost", number)].concat());
    }
    assert!(!pair.passes(&send(pid(LAPTOP, 1)), Some(&hello)));
    servers.replace(&none);
    assert!(pair.passes(&send(pid(LAPTOP, 1)), Some(&hello)));
    servers.replace(&both);
    // Of another VM it is another process.
    pair.connection = Connection::new(session, false, None);
    pair.shake();
    pair.call(1, 2);
    assert!(pair.passes(&send(pid(LAPTOP, 1)), Some(&hello)));
}

#[test]
fn a_command_that_looks_like_an_answer_is_one_of_a_call_only() {
    let call = tuple(&[atom("call"), atom("os"), atom("cmd"), b"j".to_vec(), pid(POD, 9)]);
    let answer = |number| tuple(&[reference(LAPTOP, number), call.clone()]);
    let mut pair = Pair::new();
    pair.call(1, 2);
    pair.call(3, 2);
    let to = |number| send(pid(LAPTOP, number));
    assert!(!pair.passes(&to(1), Some(&answer(1))));
    assert!(!pair.passes(&to(1), Some(&tuple(&[reference(POD, 1), call.clone()]))));
    assert!(pair.passes(&to(1), Some(&tuple(&[reference(LAPTOP, 1), atom("ok")]))));
    let monitor = [integer(19), pid(LAPTOP, 3), pid(POD, 9), reference(LAPTOP, 5)];
    pair.outgoing(&packed(&monitor, None));
    assert!(pair.passes(&to(3), Some(&answer(5))), "its own call");
    assert!(!pair.passes(&to(1), Some(&answer(5))), "the call of another");
}

#[test]
fn a_caller_gets_answers_only_until_a_message_names_it() {
    let mut pair = Pair::new();
    let monitor = [integer(19), pid(LAPTOP, 1), pid(POD, 9), reference(LAPTOP, 1)];
    pair.outgoing(&packed(&monitor, None));
    let tag = tuple(&[pid(LAPTOP, 1), reference(LAPTOP, 1)]);
    let call = tuple(&[atom("$gen_call"), tag, atom("x")]);
    pair.outgoing(&packed(&send(pid(POD, 9)), Some(&call)));
    let answer = tuple(&[reference(LAPTOP, 1), atom("x")]);
    let message = tuple(&[atom("hello"), pid(POD, 9)]);
    assert!(pair.passes(&send(pid(LAPTOP, 1)), Some(&answer)));
    assert!(!pair.passes(&send(pid(LAPTOP, 1)), Some(&message)));
    // It does not know such a message, and the process in the pod waits for an answer.
    let geometry = tuple(&[atom("get_geometry"), atom("rows")]);
    let request = tuple(&[atom("io_request"), pid(POD, 9), reference(POD, 4), geometry]);
    let alias = [integer(33), pid(POD, 9), reference(LAPTOP, 1)];
    for to in [&send(pid(LAPTOP, 1)), &alias] {
        assert!(!pair.passes(to, Some(&request)));
        let error = tuple(&[atom("error"), atom("request")]);
        let reply = tuple(&[atom("io_reply"), reference(POD, 4), error]);
        assert_eq!(pair.answers(), packed(&[integer(2), atom(""), pid(POD, 9)], Some(&reply)));
    }
    assert_eq!(pair.session.count(Kind::IoRequest), 2);
    pair.outgoing(&packed(&send(pid(POD, 9)), Some(&pid(LAPTOP, 1))));
    assert!(pair.passes(&send(pid(LAPTOP, 1)), Some(&message)));
}

#[test]
fn the_alias_of_a_call_gets_an_answer_only() {
    let mut pair = Pair::new();
    let monitor = [integer(19), pid(LAPTOP, 1), pid(POD, 9), reference(LAPTOP, 5)];
    pair.outgoing(&packed(&monitor, None));
    let alias = [&b"l\0\0\0\x01"[..], &atom("alias"), &reference(LAPTOP, 5)].concat();
    let from = tuple(&[pid(LAPTOP, 1), alias.clone()]);
    let call = tuple(&[atom("$gen_call"), from, tuple(&[atom("x"), reference(LAPTOP, 6)])]);
    pair.outgoing(&packed(&[integer(22), pid(LAPTOP, 1), pid(POD, 9)], Some(&call)));
    let to = |number: u8| [integer(33), pid(POD, 9), reference(LAPTOP, number)];
    let answer = tuple(&[alias, atom("x")]);
    assert!(pair.passes(&to(5), Some(&answer)));
    assert!(!pair.passes(&to(5), Some(&tuple(&[atom("hello"), atom("x")]))));
    // The first message to the alias ends its monitor: the caller would wait for ever, or take it for another answer.
    for other in [reference(LAPTOP, 6), reference(LAPTOP, 99), reference(POD, 5)] {
        assert!(!pair.passes(&to(5), Some(&tuple(&[other.clone(), atom("x")]))));
        let alias = [&b"l\0\0\0\x01"[..], &atom("alias"), &other].concat();
        assert!(!pair.passes(&to(5), Some(&tuple(&[alias, atom("x")]))));
    }
    // An alias that the call itself names
    assert!(pair.passes(&to(6), Some(&tuple(&[atom("hello"), atom("x")]))));
    let call = tuple(&[atom("call"), atom("os"), atom("cmd"), b"j".to_vec(), pid(POD, 9)]);
    assert!(!pair.passes(&to(6), Some(&tuple(&[reference(LAPTOP, 7), call.clone()]))));
    assert!(pair.passes(&to(6), Some(&tuple(&[reference(LAPTOP, 6), call]))));
}

#[test]
fn the_alias_of_a_call_of_several_servers_gets_an_answer_only() {
    let mut pair = Pair::new();
    let monitor = [integer(19), pid(LAPTOP, 1), atom("name"), reference(LAPTOP, 6)];
    pair.outgoing(&packed(&monitor, None));
    let tag = |monitor: u8| of_several(5, monitor);
    let from = tuple(&[pid(LAPTOP, 1), tag(6)]);
    let call = tuple(&[atom("$gen_call"), from, atom("x")]);
    pair.outgoing(&packed(&[integer(6), pid(LAPTOP, 1), atom(""), atom("name")], Some(&call)));
    let to = |number: u8| [integer(33), pid(POD, 9), reference(LAPTOP, number)];
    assert!(pair.passes(&to(5), Some(&tuple(&[tag(6), atom("x")]))));
    assert!(!pair.passes(&to(5), Some(&tuple(&[atom("hello"), atom("x")]))));
    assert!(!pair.passes(&to(5), Some(&tuple(&[reference(LAPTOP, 6), atom("x")]))));
    assert!(!pair.passes(&to(6), Some(&tuple(&[tag(6), atom("x")]))));
    // The answer of another pod
    assert!(!pair.passes(&to(5), Some(&tuple(&[tag(99), atom("x")]))));
    assert!(!pair.passes(&send(pid(LAPTOP, 1)), Some(&atom("hello"))));
    // OTP 25
    let tag = |node: &str| tuple(&[reference(LAPTOP, 7), atom(node)]);
    let call = tuple(&[atom("$gen_call"), tuple(&[pid(LAPTOP, 2), tag(POD)]), atom("x")]);
    pair.outgoing(&packed(&[integer(6), pid(LAPTOP, 2), atom(""), atom("name")], Some(&call)));
    assert!(pair.passes(&send(pid(LAPTOP, 2)), Some(&tuple(&[tag(POD), atom("x")]))));
    assert!(!pair.passes(&send(pid(LAPTOP, 2)), Some(&tuple(&[tag("other@host"), atom("x")]))));
    let other = tuple(&[reference(LAPTOP, 8), atom(POD)]);
    assert!(!pair.passes(&send(pid(LAPTOP, 2)), Some(&tuple(&[other, atom("x")]))));
}

/// `[[alias | Alias] | Monitor]`
fn of_several(alias: u8, monitor: u8) -> Vec<u8> {
    let alias = [&b"l\0\0\0\x01"[..], &atom("alias"), &reference(LAPTOP, alias)].concat();
    [&b"l\0\0\0\x01"[..], &alias, &reference(LAPTOP, monitor)].concat()
}

#[test]
fn the_reason_of_an_exit_gives_no_tag_and_no_caller() {
    for code in [24, 28] {
        let mut pair = Pair::new();
        pair.call(1, 2);
        let tag = of_several(42, 43);
        let call = tuple(&[atom("$gen_call"), tuple(&[pid(LAPTOP, 41), tag.clone()]), atom("x")]);
        // A process here ends with the reason of one in the pod, to which it was linked.
        let exit = [integer(24), pid(POD, 9), pid(LAPTOP, 1)];
        pair.incoming(&packed(&exit, Some(&call))).unwrap();
        let mut control = vec![integer(code), pid(LAPTOP, 1), pid(POD, 9)];
        if code == 28 {
            control.push(reference(POD, 3));
        }
        pair.outgoing(&packed(&control, Some(&call)));
        let forged = tuple(&[tag, atom("forged")]);
        let alias = [integer(33), pid(POD, 9), reference(LAPTOP, 42)];
        assert!(!pair.passes(&alias, Some(&forged)));
        assert!(!pair.passes(&send(pid(LAPTOP, 41)), Some(&forged)));
    }
}

#[test]
fn a_control_term_that_hides_the_message_hides_no_command() {
    let system = tuple(&[atom("system"), pid(POD, 9), atom("x")]);
    // What stands before the receiver is a term of the pod's choice.
    for padding in (0..100).map(|more| 65_500 - more).chain([64_000, 10]) {
        let mut pair = Pair::new();
        pair.call(1, 2);
        let control = [integer(2), binary(&vec![0; padding]), pid(LAPTOP, 1)];
        let passed = pair.incoming(&packed(&control, Some(&system))).unwrap_or_default();
        assert!(passed.is_empty(), "{padding}");
    }
}

#[test]
fn what_the_pod_names_is_not_given_out_by_its_return() {
    let mut pair = Pair::new();
    pair.call(1, 2);
    let hello = atom("hello");
    // The local VM acknowledges an unlink.
    assert!(pair.passes(&[integer(35), integer(9), pid(POD, 9), pid(LAPTOP, 40)], None));
    pair.outgoing(&packed(&[integer(36), integer(9), pid(LAPTOP, 40), pid(POD, 9)], None));
    assert!(!pair.passes(&send(pid(LAPTOP, 40)), Some(&hello)));
    // A group leader repeats what the answer is for.
    let geometry = tuple(&[atom("get_geometry"), atom("rows")]);
    // Of a reference that is no alias, OTP writes three words, whatever else it has read.
    let mut longer = reference(LAPTOP, 43);
    longer[2] = 5;
    longer.extend([1; 8]);
    for (named, repeated, to) in [
        (pid(LAPTOP, 41), pid(LAPTOP, 41), send(pid(LAPTOP, 41))),
        (
            reference(LAPTOP, 42),
            reference(LAPTOP, 42),
            [integer(33), pid(POD, 9), reference(LAPTOP, 42)],
        ),
        (longer, reference(LAPTOP, 43), [integer(33), pid(POD, 9), reference(LAPTOP, 43)]),
    ] {
        let request = tuple(&[atom("io_request"), pid(POD, 9), named, geometry.clone()]);
        assert!(pair.passes(&send(pid(LAPTOP, 2)), Some(&request)));
        let reply = tuple(&[atom("io_reply"), repeated, integer(80)]);
        pair.outgoing(&packed(&[integer(22), pid(LAPTOP, 2), pid(POD, 9)], Some(&reply)));
        assert!(!pair.passes(&to, Some(&hello)));
    }
    assert!(pair.passes(&send(pid(LAPTOP, 1)), Some(&hello)), "it was given out before");
}

#[test]
fn what_the_pod_has_named_does_not_come_back_on_another_connection() {
    let mut pair = Pair::new();
    pair.call(1, 2);
    let victim = pid(LAPTOP, 7);
    let read = tuple(&[atom("get_line"), atom("unicode"), binary(b"> ")]);
    let asked = tuple(&[atom("io_request"), pid(POD, 9), victim.clone(), read]);
    assert!(pair.passes(&send(pid(LAPTOP, 2)), Some(&asked)));
    pair.connection = Connection::new(pair.session.clone(), false, None);
    pair.shake();
    let reply = tuple(&[atom("io_reply"), victim.clone(), binary(b"x")]);
    pair.outgoing(&packed(&[integer(22), pid(LAPTOP, 2), pid(POD, 9)], Some(&reply)));
    assert!(!pair.passes(&send(victim), Some(&atom("hello"))));
}

#[test]
fn what_has_ended_is_forgotten() {
    let mut pair = Pair::new();
    pair.call(1, 2);
    pair.call(3, 2);
    pair.outgoing(&packed(&[integer(20), pid(LAPTOP, 1), pid(POD, 9), reference(LAPTOP, 1)], None));
    let reply = |id| [integer(33), pid(POD, 9), reference(LAPTOP, id)];
    assert!(!pair.passes(&reply(1), Some(&atom("late"))));
    assert!(pair.passes(&reply(3), Some(&atom("answer"))));
    pair.outgoing(&packed(
        &[integer(21), pid(LAPTOP, 1), pid(POD, 9), reference(POD, 1), atom("normal")],
        None,
    ));
    assert!(!pair.passes(&send(pid(LAPTOP, 1)), Some(&atom("hello"))));
    assert!(pair.passes(&send(pid(LAPTOP, 3)), Some(&atom("hello"))));
    // What comes late is not counted.
    let monitor = [integer(19), pid(POD, 9), pid(LAPTOP, 1), reference(POD, 2)];
    assert!(!pair.passes(&monitor, None));
    assert!(!pair.answers().is_empty());
    assert_eq!(Kind::ALL.map(|kind| pair.session.count(kind)), [0; 12]);
}

#[test]
fn the_group_leader_of_a_call_of_rpc_is_one() {
    for size in [1, 100_000] {
        let mut pair = Pair::new();
        let from = tuple(&[pid(LAPTOP, 1), reference(LAPTOP, 1)]);
        let arguments = list(&[pid(LAPTOP, 3), binary(&vec![b'a'; size])]);
        let called = [atom("call"), atom("m"), atom("f"), arguments, pid(LAPTOP, 2)];
        let call = tuple(&[atom("$gen_call"), from, tuple(&called)]);
        let control = [integer(6), pid(LAPTOP, 1), atom(""), atom("rex")];
        pair.outgoing(&packed(&control, Some(&call)));
        assert!(!pair.passes(&send(pid(LAPTOP, 2)), Some(&tuple(&[atom("hello"), atom("x")]))));
        let print = tuple(&[atom("put_chars"), atom("unicode"), binary(b"text")]);
        let asked = tuple(&[atom("io_request"), pid(POD, 9), reference(POD, 1), print]);
        assert!(pair.passes(&send(pid(LAPTOP, 2)), Some(&asked)));
        assert!(pair.passes(&send(pid(LAPTOP, 3)), Some(&asked)), "an argument that prints");
        assert!(!pair.passes(&send(pid(LAPTOP, 1)), Some(&asked)), "the caller");
    }
}

#[test]
fn a_caller_whose_group_leader_is_elsewhere_is_none() {
    for size in [1, 100_000] {
        let mut pair = Pair::new();
        let from = tuple(&[pid(LAPTOP, 1), reference(LAPTOP, 1)]);
        let arguments = list(&[binary(&vec![b'a'; size])]);
        let called =
            [atom("block_call"), atom("m"), atom("f"), arguments, pid("other@127.0.0.1", 2)];
        let call = tuple(&[atom("$gen_call"), from, tuple(&called)]);
        let control = [integer(6), pid(LAPTOP, 1), atom(""), atom("rex")];
        pair.outgoing(&packed(&control, Some(&call)));
        assert!(!pair.passes(&send(pid(LAPTOP, 1)), Some(&atom("hello"))));
        assert_eq!(pair.session.count(Kind::GroupLeader), 0);
    }
}
