use super::{super::encode::*, commands::*, *};

fn pid() -> Vec<u8> {
    [&b"X"[..], &atom("a@b"), &[0; 12]].concat()
}

fn judged(term: &[u8]) -> String {
    payload_of(&[&[VERSION], term].concat())
}

fn payload_of(bytes: &[u8]) -> String {
    match payload(bytes) {
        Payload::Message => "message".into(),
        Payload::Reply { is_command, .. } => format!("reply {is_command}"),
        Payload::Command(tag) => tag,
        Payload::Late(_) => "late".into(),
        Payload::Input => "input".into(),
        Payload::IoRequest { .. } => "io_request".into(),
    }
}

#[test]
fn ordinary_messages_pass() {
    for term in [
        atom("system"),
        binary(b"EXIT"),
        tuple(&[atom("trace"), pid(), atom("receive"), atom("x")]),
        tuple(&[atom("systems"), pid(), atom("x")]),
        tuple(&[pid(), tuple(&[atom("result"), atom("x")])]),
        tuple(&[pid(), atom("ok")]),
        tuple(&[atom("log"), atom("x")]),
        tuple(&[]),
        list(&[tuple(&[atom("system")])]),
    ] {
        assert_eq!(judged(&term), "message", "{term:?}");
    }
}

#[test]
fn what_has_not_arrived_might_be_a_command() {
    let whole = |term: Vec<u8>| [&[VERSION], &term[..]].concat();
    // As far as it says what it is, and not further
    let cut = |term: Vec<u8>| payload_of(&whole(term)[..64 * 1024]);
    let call = tuple(&[atom("call"), atom("os"), atom("cmd"), b"j".to_vec(), pid()]);
    let add = tuple(&[atom("add_handler"), atom("supervisor"), atom("x")]);
    let elements = list(&vec![integer(1); 40_000]);
    for large in [binary(&vec![0; 70_000]), elements] {
        assert_eq!(cut(tuple(&[large.clone(), call.clone()])), "late");
        assert_eq!(cut(tuple(&[large.clone(), atom("set_cmd"), atom("x")])), "late");
        assert_eq!(cut(tuple(&[large.clone(), atom("x"), add.clone()])), "late");
        assert_eq!(cut(tuple(&[pid(), large.clone(), add.clone()])), "late");
        // What a process of the user may get
        for passes in [
            large.clone(),
            tuple(std::slice::from_ref(&large)),
            tuple(&[atom("x"), large.clone()]),
            tuple(&[pid(), large.clone()]),
            tuple(&[atom("x"), atom("y"), large.clone()]),
        ] {
            assert_eq!(cut(passes), "message");
        }
    }
    for term in [
        tuple(&[atom("x"), call.clone()]),
        tuple(&[atom("x"), atom("y"), add]),
        tuple(&[atom("reply"), tuple(&[tuple(&[pid(), atom("x")]), atom("y")])]),
        tuple(&[atom("eval"), pid(), binary(b"x")]),
        tuple(&[pid(), tuple(&[atom("data"), binary(b"id")])]),
        tuple(&[pid(), atom("echo"), atom("x")]),
        tuple(&[atom("io_request"), pid(), atom("r"), atom("x")]),
    ] {
        let bytes = whole(term);
        let judged = payload_of(&bytes);
        assert_ne!(judged, "message", "{bytes:?}");
        // Wherever a control term of the pod's choice makes the part end that is looked at
        for end in 0..bytes.len() {
            let cut = payload_of(&bytes[..end]);
            assert!(cut != "message" || judged == "message", "{bytes:?} up to {end}");
        }
    }
}

/// The names of commands that a message has behind its judged part, which ends where it says [`Payload::Late`].
fn late_commands(term: &[u8]) -> Vec<String> {
    let control = tuple(&[integer(2), atom(""), pid()]);
    let payload = [&[VERSION], term].concat();
    let Payload::Late(mut late) = super::payload(&payload[..payload.len().min(64 * 1024)]) else {
        return vec![];
    };
    let mut names = vec![];
    let mut see = |item: &super::super::term::Item, _at: usize| {
        if late.see(item) {
            let Token::Atom(name) = item.token else { unreachable!() };
            names.push(name.text());
        }
        Ok::<_, &'static str>(())
    };
    let mut scan = super::super::scan::Scan::default();
    let message = [&[VERSION], &control[..], &payload].concat();
    assert_eq!(scan.feed(&message, &mut see), Ok(()));
    names
}

#[test]
fn a_command_is_found_when_it_comes_late() {
    let large = list(&[tuple(&[atom("stop")]), binary(&vec![0; 70_000]), atom("stop")]);
    for (command, arity) in ASKED {
        let mut parts = vec![atom(command)];
        parts.resize(arity as usize, atom("stop"));
        assert_eq!(late_commands(&tuple(&[large.clone(), tuple(&parts)])), [command]);
        parts.push(atom("more"));
        assert!(late_commands(&tuple(&[large.clone(), tuple(&parts)])).is_empty());
    }
    for command in ASKED_ALONE {
        assert_eq!(late_commands(&tuple(&[large.clone(), atom(command)])), [command]);
    }
    for command in SECOND {
        for last in [vec![integer(1)], vec![integer(1), pid()]] {
            let parts = [vec![large.clone(), atom(command)], last].concat();
            assert_eq!(late_commands(&tuple(&parts)), [command]);
        }
    }
    for command in EVENT_COMMANDS {
        for third in [atom(command), tuple(&[atom(command), atom("call")])] {
            for [first, second] in [[large.clone(), pid()], [pid(), large.clone()]] {
                assert_eq!(late_commands(&tuple(&[first, second, third.clone()])), [command]);
            }
        }
    }
    // As Livebook answers for a widget
    let reference = tuple(&[atom("ref"), atom("stop")]);
    let answer = tuple(&[atom("connect_reply"), large.clone(), reference]);
    assert!(late_commands(&answer).is_empty());
    assert!(late_commands(&tuple(&[large.clone(), atom("stop")])).is_empty());
    assert!(late_commands(&tuple(&[large, atom("x"), list(&[atom("stop")])])).is_empty());
}

#[test]
fn what_otp_handles_is_recognized_in_each_encoding() {
    for tag in COMMANDS {
        assert_eq!(judged(&tuple(&[atom(tag), pid(), atom("x")])), tag);
        let length = u8::try_from(tag.len()).unwrap_or(0);
        for latin1 in [
            [&[115, length], tag.as_bytes()].concat(),
            [&[100, 0, length], tag.as_bytes()].concat(),
            [&[118, 0, length], tag.as_bytes()].concat(),
        ] {
            assert_eq!(judged(&[&b"i\0\0\0\x02"[..], &latin1, &b"j"[..]].concat()), tag);
        }
    }
    assert_eq!(judged(&tuple(&[atom("log"), atom("a"), atom("b"), atom("c"), atom("d")])), "log");
}

#[test]
fn what_a_shell_handles_is_recognized() {
    for tag in OF_A_SHELL {
        assert_eq!(judged(&tuple(&[atom(tag), pid(), binary(b"x")])), tag);
        assert_eq!(judged(&tuple(&[atom(tag), binary(b"x"), atom("y")])), "message");
    }
    for (tag, arity) in PURGES {
        let mut parts = vec![atom(tag)];
        parts.resize(arity as usize, pid());
        assert_eq!(judged(&tuple(&parts)), tag);
        parts.push(pid());
        assert_eq!(judged(&tuple(&parts)), "message");
    }
}

#[test]
fn what_gen_event_handles_is_recognized() {
    let tag = tuple(&[pid(), atom("r")]);
    for command in EVENT_COMMANDS {
        let request = tuple(&[atom(command), atom("supervisor"), atom("x")]);
        for first in [pid(), binary(b"x"), tuple(&[])] {
            assert_eq!(judged(&tuple(&[first.clone(), tag.clone(), request.clone()])), command);
            assert_eq!(judged(&tuple(&[first, atom("r"), atom(command)])), command);
        }
    }
    let message = tuple(&[pid(), tag.clone(), tuple(&[atom("other")])]);
    assert_eq!(judged(&message), "message");
    let large = tuple(&[pid(), binary(&[0; 100]), tuple(&[atom("call")])]);
    assert_eq!(judged(&large[..80]), "late");
}

#[test]
fn a_command_behind_a_sender_is_recognized() {
    for (command, arity) in ASKED {
        let mut parts = vec![atom(command)];
        parts.resize(arity as usize, binary(b"x"));
        for sender in [pid(), atom("x"), integer(1)] {
            assert_eq!(judged(&tuple(&[sender, tuple(&parts)])), command);
        }
        parts.push(atom("more"));
        assert_eq!(judged(&tuple(&[pid(), tuple(&parts)])), "message");
    }
    for command in ASKED_ALONE {
        assert_eq!(judged(&tuple(&[pid(), atom(command)])), command);
        assert_eq!(judged(&tuple(&[pid(), tuple(&[atom(command)])])), "message");
    }
    for command in SECOND {
        assert_eq!(judged(&tuple(&[pid(), atom(command), binary(b"x")])), command);
        assert_eq!(judged(&tuple(&[pid(), atom(command), atom("a"), atom("b")])), command);
    }
}

#[test]
fn a_timer_and_an_event_of_the_logger_are_of_this_vm() {
    let reference = [&b"Z\0\x01"[..], &atom("a@b"), &[0; 8]].concat();
    assert_eq!(judged(&tuple(&[atom("timeout"), reference, atom("x")])), "timeout");
    assert_eq!(judged(&tuple(&[atom("timeout"), atom("a"), atom("x")])), "timeout");
    assert_eq!(judged(&tuple(&[atom("timeout"), atom("a")])), "message");
    assert_eq!(judged(&tuple(&[atom("log"), atom("error"), binary(b"x"), atom("m")])), "log");
}

#[test]
fn an_answer_has_a_reference() {
    let reference = [&b"Z\0\x01"[..], &atom("a@b"), &[0; 8]].concat();
    assert_eq!(judged(&tuple(&[reference.clone(), atom("x")])), "reply false");
    let call = [atom("call"), atom("os"), atom("cmd"), b"j".to_vec(), pid()];
    assert_eq!(judged(&tuple(&[reference.clone(), tuple(&call)])), "reply true");
    assert_eq!(judged(&tuple(&[list(&[atom("a")]), tuple(&call)])), "call");
    assert_eq!(judged(&tuple(&[list(&[atom("a")]), atom("x")])), "message");
    let alias = [&b"l\0\0\0\x01"[..], &atom("alias"), &reference].concat();
    assert_eq!(judged(&tuple(&[alias.clone(), atom("x")])), "reply false");
    let of_several = [&b"l\0\0\0\x01"[..], &alias, &reference].concat();
    assert_eq!(judged(&tuple(&[of_several, atom("x")])), "reply false");
    let of_otp_25 = tuple(&[reference.clone(), atom("a@b")]);
    assert_eq!(judged(&tuple(&[of_otp_25, atom("x")])), "reply false");
    assert_eq!(judged(&tuple(&[reference, atom("x"), atom("y")])), "message");
}

#[test]
fn keys_are_recognized() {
    let edited = tuple(&[pid(), tuple(&[atom("editor_data"), string("os:cmd(id).")])]);
    assert_eq!(judged(&edited), "input");
    for term in
        [tuple(&[pid(), tuple(&[atom("data"), binary(b"id\n")])]), tuple(&[pid(), atom("eof")])]
    {
        assert_eq!(judged(&term), "input");
    }
}

#[test]
fn the_mode_of_a_terminal_is_recognized() {
    for mode in ["echo", "terminal_mode", "set_unicode_state"] {
        assert_eq!(judged(&tuple(&[pid(), atom(mode), atom("false")])), "input");
        assert_eq!(judged(&tuple(&[atom("x"), atom(mode), atom("false")])), "message");
    }
}

#[test]
fn an_answer_for_another_process_is_recognized() {
    let from = tuple(&[pid(), atom("r")]);
    assert_eq!(judged(&tuple(&[atom("reply"), tuple(&[from.clone(), atom("x")])])), "reply");
    assert_eq!(judged(&tuple(&[atom("reply"), from, atom("x")])), "reply");
    let other = tuple(&[atom("a"), atom("b")]);
    assert_eq!(judged(&tuple(&[atom("reply"), other, atom("x")])), "message");
}

#[test]
fn an_io_request_has_a_process_that_asks() {
    let request = tuple(&[atom("put_chars"), atom("unicode"), binary(b"x")]);
    let whole = |from: Vec<u8>| tuple(&[atom("io_request"), from, atom("r"), request.clone()]);
    assert_eq!(judged(&whole(pid())), "io_request");
    // A command, which has no answer
    assert!(matches!(
        payload(&[&[VERSION], &whole(atom("init"))[..]].concat()),
        Payload::Command(_)
    ));
    assert_eq!(judged(&tuple(&[atom("io_request"), pid(), atom("r")])), "io_request");
    let bytes = [&[VERSION], &whole(pid())[..]].concat();
    let expected = (pid(), atom("r"));
    assert!(
        matches!(payload(&bytes), Payload::IoRequest { from, reply_as, .. } if (from, reply_as) == (&expected.0, &expected.1))
    );
}
