//! What a connection leaves in the audit log.

#![allow(clippy::unwrap_used)]

use std::{mem, sync::Arc};

use super::{
    Arguments, Asked, Calls, Connection, Entry, Limits, Session,
    audit::{MAX_ARGUMENTS, MAX_WAITING},
    encode::{LAPTOP, POD, atom, binary, integer, list, packed, pid, reference, tuple},
    tests::Pair,
};

const LIMITS: Limits = Limits { atoms: 1000, message: 1_000_000 };

fn audited(arguments: Arguments) -> Pair {
    Pair::of(Session::new(LIMITS).audited(arguments))
}

/// A call of `erpc`.
fn erpc(number: u8, arguments: &[Vec<u8>]) -> Vec<u8> {
    let control = [
        integer(29),
        reference(LAPTOP, number),
        pid(LAPTOP, 1),
        pid(LAPTOP, 2),
        tuple(&[atom("erpc"), atom("execute_call"), integer(4)]),
        list(&[atom("monitor")]),
    ];
    let call = [reference(LAPTOP, 99), atom("m"), atom("f"), list(arguments)];
    packed(&control, Some(&list(&call)))
}

/// The end of the process that `erpc` has started.
fn exit(number: u8, reason: &[u8]) -> Vec<u8> {
    packed(&[integer(28), pid(POD, 9), pid(LAPTOP, 1), reference(LAPTOP, number)], Some(reason))
}

fn started(number: u8, result: Vec<u8>) -> Vec<u8> {
    let reply = [integer(31), reference(LAPTOP, number), pid(LAPTOP, 1), integer(0), result];
    packed(&reply, None)
}

fn sent(to: Vec<u8>, payload: &[u8]) -> Vec<u8> {
    packed(&[integer(22), pid(LAPTOP, 1), to], Some(payload))
}

fn call(id: u64, arguments: Option<&str>) -> Entry {
    let asked = Asked::Call { module: "m".into(), function: "f".into(), arity: 1 };
    Entry::Request { id, asked, arguments: arguments.map(String::from), refused: false }
}

#[test]
fn a_call_has_an_entry_and_one_for_its_end() {
    for (class, result) in [
        ("return", "return"),
        ("throw", "throw"),
        ("exit", "exit"),
        ("error", "error"),
        ("other", "down"),
    ] {
        let mut pair = audited(Arguments::Hidden);
        pair.outgoing(&erpc(5, &[binary(b"secret")]));
        assert_eq!(pair.entries(), [call(1, None)]);
        // That its process has started is not its end.
        pair.incoming(&started(5, pid(POD, 9))).unwrap();
        assert_eq!(pair.entries(), []);
        let reason = tuple(&[reference(LAPTOP, 99), atom(class), atom("x")]);
        pair.incoming(&exit(5, &reason)).unwrap();
        assert_eq!(pair.entries(), [Entry::Result { id: 1, result }]);
        // It ends once.
        pair.incoming(&exit(5, &reason)).unwrap();
        assert_eq!(pair.entries(), []);
    }
}

#[test]
fn a_call_whose_process_did_not_start_has_ended() {
    let mut pair = audited(Arguments::Hidden);
    pair.outgoing(&erpc(5, &[integer(1)]));
    pair.incoming(&started(5, atom("notsup"))).unwrap();
    assert_eq!(pair.entries()[1], Entry::Result { id: 1, result: "not_started" });
}

#[test]
fn arguments_are_shown_if_they_are_wanted() {
    let mut pair = audited(Arguments::Shown);
    pair.outgoing(&erpc(5, &[binary(b"tea")]));
    assert_eq!(pair.entries(), [call(1, Some(r#"["tea"]"#))]);
    // However much of the message has arrived.
    let large = erpc(6, &[binary(&vec![b'a'; 200_000])]);
    let (head, rest) = large.split_at(100_000);
    pair.outgoing(head);
    let entries = pair.entries();
    let [Entry::Request { id: 2, arguments: Some(arguments), asked, .. }] = &entries[..] else {
        unreachable!("{entries:?}")
    };
    assert!(arguments.starts_with("[\"aaa") && arguments.ends_with("a..."));
    assert!(arguments.len() <= MAX_ARGUMENTS + 3);
    assert_eq!(asked, &Asked::Call { module: "m".into(), function: "f".into(), arity: 1 });
    pair.outgoing(rest);
    assert_eq!(pair.entries(), []);
}

#[test]
fn a_call_of_a_process_ends_with_its_reply_or_its_process() {
    let alias = [&b"l\0\0\0\x01"[..], &atom("alias"), &reference(LAPTOP, 5)].concat();
    for tag in [alias, reference(LAPTOP, 5)] {
        let request =
            tuple(&[atom("$gen_call"), tuple(&[pid(LAPTOP, 1), tag.clone()]), atom("get")]);
        let asked = Asked::Message { to: "<9.0>".into(), tag: "$gen_call".into() };
        let monitor = [integer(19), pid(LAPTOP, 1), pid(POD, 9), reference(LAPTOP, 5)];
        let monitor = packed(&monitor, None);
        let mut pair = audited(Arguments::Hidden);
        pair.outgoing(&monitor);
        pair.outgoing(&sent(pid(POD, 9), &request));
        let expected = Entry::Request { id: 1, asked, arguments: None, refused: false };
        assert_eq!(pair.entries(), [expected]);
        let reply = packed(
            &[integer(22), pid(POD, 9), pid(LAPTOP, 1)],
            Some(&tuple(&[tag.clone(), atom("value")])),
        );
        pair.incoming(&reply).unwrap();
        assert_eq!(pair.entries(), [Entry::Result { id: 1, result: "reply" }]);

        pair.outgoing(&sent(pid(POD, 9), &request));
        pair.incoming(&exit(5, &atom("noproc"))).unwrap();
        assert_eq!(mem::take(&mut pair.entries())[1], Entry::Result { id: 2, result: "down" });

        pair.outgoing(&sent(pid(POD, 9), &request));
        let demonitor = [integer(20), pid(LAPTOP, 1), pid(POD, 9), reference(LAPTOP, 5)];
        pair.outgoing(&packed(&demonitor, None));
        assert_eq!(pair.entries()[1], Entry::Result { id: 3, result: "abandoned" });
    }
}

#[test]
fn messages_signals_and_new_processes_have_entries() {
    let request = |id, asked| Entry::Request { id, asked, arguments: None, refused: false };
    let mut pair = audited(Arguments::Hidden);
    pair.outgoing(&sent(pid(POD, 9), &atom("hello")));
    pair.outgoing(&packed(&[integer(26), pid(LAPTOP, 1), pid(POD, 9)], Some(&atom("kill"))));
    let mfa = tuple(&[atom("m"), atom("f"), integer(0)]);
    let spawn =
        [integer(29), reference(LAPTOP, 5), pid(LAPTOP, 1), pid(LAPTOP, 2), mfa, b"j".to_vec()];
    pair.outgoing(&packed(&spawn, Some(b"j")));
    // A monitor and an answer to what was printed ask for nothing.
    let monitor = [integer(19), pid(LAPTOP, 1), pid(POD, 9), reference(LAPTOP, 7)];
    pair.outgoing(&packed(&monitor, None));
    let printed = tuple(&[atom("io_reply"), reference(POD, 1), atom("ok")]);
    pair.outgoing(&sent(pid(POD, 9), &printed));
    let width = tuple(&[atom("io_reply"), reference(POD, 1), integer(80)]);
    pair.outgoing(&sent(pid(POD, 9), &width));
    for reply in [
        tuple(&[atom("error"), atom("enotsup")]),
        list(&[tuple(&[atom("echo"), atom("true")])]),
        atom("eof"),
    ] {
        let answered = tuple(&[atom("io_reply"), reference(POD, 1), reply]);
        pair.outgoing(&sent(pid(POD, 9), &answered));
    }
    let typed = tuple(&[atom("io_reply"), reference(POD, 1), binary(b"halt()\n")]);
    pair.outgoing(&sent(pid(POD, 9), &typed));
    pair.outgoing(&packed(&[integer(100), atom("x")], None));
    // No answer to an I/O request
    for reply in [tuple(&[atom("do"), atom("it")]), atom("do"), tuple(&[])] {
        let other = tuple(&[atom("io_reply"), integer(1), reply]);
        pair.outgoing(&sent(pid(POD, 9), &other));
    }
    let entries = pair.entries();
    let other = |id| request(id, Asked::Message { to: "<9.0>".into(), tag: "io_reply".into() });
    let called = Asked::Call { module: "m".into(), function: "f".into(), arity: 0 };
    assert_eq!(
        entries,
        [
            request(1, Asked::Message { to: "<9.0>".into(), tag: "hello".into() }),
            request(2, Asked::Signal { signal: "exit", to: "<9.0>".into() }),
            request(3, called),
            request(4, Asked::Input),
            request(5, Asked::Unknown),
            other(6),
            other(7),
            other(8),
        ]
    );
    pair.incoming(&started(5, pid(POD, 7))).unwrap();
    assert_eq!(pair.entries(), [Entry::Result { id: 3, result: "started" }]);
}

#[test]
fn what_was_typed_is_shown_if_it_is_wanted() {
    let mut pair = audited(Arguments::Shown);
    let typed = tuple(&[atom("io_reply"), reference(POD, 1), binary(b"1 + 1\n")]);
    pair.outgoing(&sent(pid(POD, 9), &typed));
    let arguments = Some(r#""1 + 1\n""#.to_owned());
    let expected = Entry::Request { id: 1, asked: Asked::Input, arguments, refused: false };
    assert_eq!(pair.entries(), [expected]);
}

#[test]
fn what_is_not_sent_is_told_as_such() {
    let calls = Calls::from_iter(["other:f/1".to_owned()]);
    let mut pair = Pair::of(Session::read_only(LIMITS, calls).audited(Arguments::Hidden));
    assert_eq!(pair.outgoing(&erpc(5, &[binary(b"x")])), b"");
    let asked = Asked::Call { module: "m".into(), function: "f".into(), arity: 1 };
    assert_eq!(pair.entries(), [Entry::Request { id: 1, asked, arguments: None, refused: true }]);
}

#[test]
fn requests_that_never_end_need_a_bounded_memory() {
    let numbered = |number: usize| {
        let number = u32::try_from(number).unwrap().to_be_bytes();
        [&b"Z\0\x03"[..], &atom(LAPTOP), &[0, 0, 0, 7], &[0; 8], &number].concat()
    };
    let mfa = tuple(&[atom("m"), atom("f"), integer(0)]);
    let mut pair = audited(Arguments::Hidden);
    for number in 0..2 * MAX_WAITING {
        let (caller, leader) = (pid(LAPTOP, 1), pid(LAPTOP, 2));
        let options = list(&[atom("monitor")]);
        let spawn = [integer(29), numbered(number), caller, leader, mfa.clone(), options];
        pair.outgoing(&packed(&spawn, Some(b"j")));
    }
    assert_eq!(pair.entries().len(), 2 * MAX_WAITING);
    for (number, result) in [(0, vec![]), (2 * MAX_WAITING - 1, vec!["down"])] {
        let control = [integer(28), pid(POD, 9), pid(LAPTOP, 1), numbered(number)];
        pair.incoming(&packed(&control, Some(&atom("noproc")))).unwrap();
        let id = number as u64 + 1;
        let expected: Vec<_> =
            result.into_iter().map(|result| Entry::Result { id, result }).collect();
        assert_eq!(pair.entries(), expected);
    }
}

#[test]
fn without_a_log_there_are_no_entries() {
    let session = Arc::new(Session::new(LIMITS));
    let mut connection = Connection::new(session, false, None);
    assert_eq!(connection.to_pod.entries(), []);
    assert_eq!(connection.from_pod.entries(), []);
}
