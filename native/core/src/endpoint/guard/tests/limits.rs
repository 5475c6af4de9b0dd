//! What ends the session, and what does not.

use super::super::{encode::*, packets::packet, *};
use super::support::{Pair, send};

#[test]
fn the_session_fails_at_too_many_atoms() {
    // The pod's own name counts, too.
    let mut pair = Pair::with(Limits { atoms: 4, message: 1_000_000 });
    pair.call(1, 2);
    let many = |names: &[&str]| list(&names.iter().map(|name| atom(name)).collect::<Vec<_>>());
    assert!(pair.passes(&send(pid(LAPTOP, 1)), Some(&many(&["a", "b", "a"]))));
    // What does not pass creates no atom.
    assert!(!pair.passes(&send(pid(LAPTOP, 9)), Some(&many(&["c", "d", "e"]))));
    assert_eq!(pair.session.failure(), None);
    let last = packed(&send(pid(LAPTOP, 1)), Some(&many(&["a", "b", "f"])));
    assert_eq!(pair.incoming(&last), Err(Closed));
    assert_eq!(pair.session.failure(), Some(Error::TooManyAtoms { limit: 4 }));
    // Another connection of the session has no more of them.
    let mut again = Connection::new(pair.session.clone(), false, None);
    std::mem::swap(&mut again, &mut pair.connection);
    assert_eq!(again.from_pod.pass(last.into(), &mut vec![]), Err(Closed));
}

#[test]
fn the_session_fails_at_a_message_that_is_too_large() {
    let mut pair = Pair::with(Limits { atoms: 100, message: 1000 });
    pair.call(1, 2);
    assert!(pair.passes(&send(pid(LAPTOP, 1)), Some(&binary(&[1; 800]))));
    let large = packed(&send(pid(LAPTOP, 1)), Some(&binary(&[1; 1000])));
    assert_eq!(pair.incoming(&large), Err(Closed));
    let size = large.len() - 4;
    assert_eq!(pair.session.failure(), Some(Error::MessageTooLarge { size, limit: 1000 }));
}

#[test]
fn functions_that_the_vm_never_forgets_have_a_limit() {
    let export = |number: u32| {
        let name = format!("f{}", number / 256);
        let arity = u8::try_from(number % 256).unwrap();
        [&b"q"[..], &atom("m"), &atom(&name), &integer(arity)].concat()
    };
    let closure = |number: u32| {
        // Different within their module, or by their old number only
        let index = (number / 2).to_be_bytes();
        let unique = integer(u8::try_from(number % 2).unwrap());
        [
            &b"p\0\0\0\0\0"[..],
            &[0; 16],
            &index,
            &[0; 4],
            &atom("m"),
            &integer(1),
            &unique,
            &pid(POD, 1),
        ]
        .concat()
    };
    let limit = u32::try_from(session::MAX_FUNCTIONS).unwrap();
    let new: [&dyn Fn(u32) -> Vec<u8>; 2] = [&export, &closure];
    for function in new {
        let mut pair = Pair::with(Limits { atoms: 10_000, message: 10_000_000 });
        pair.call(1, 2);
        // In two messages, and again
        for numbers in [0..limit / 2, limit / 2..limit, 0..limit] {
            let functions: Vec<_> = numbers.map(function).collect();
            assert!(pair.passes(&send(pid(LAPTOP, 1)), Some(&list(&functions))));
        }
        let one_more = packed(&send(pid(LAPTOP, 1)), Some(&function(limit)));
        assert_eq!(pair.incoming(&one_more), Err(Closed));
        let full = Error::TooManyFunctions { limit: session::MAX_FUNCTIONS };
        assert_eq!(pair.session.failure(), Some(full));
    }
    for wrong in [
        [&b"q"[..], &atom("m"), &atom("f"), b"b\0\0\x01\0"].concat(),
        [&b"q"[..], &atom("m"), &string("f"), &integer(1)].concat(),
    ] {
        let mut pair = Pair::new();
        pair.call(1, 2);
        assert_eq!(pair.incoming(&packed(&send(pid(LAPTOP, 1)), Some(&wrong))), Err(Closed));
    }
}

#[test]
fn a_session_lasts_for_more_calls_than_a_pod_may_name_identifiers() {
    let numbered = |number: u32| {
        [&b"Z\0\x03"[..], &atom(LAPTOP), &[0, 0, 0, 7], &[0; 8], &number.to_be_bytes()].concat()
    };
    let mut pair = Pair::new();
    for number in 0..110_000 {
        let control = [
            integer(29),
            numbered(number),
            pid(LAPTOP, 1),
            pid(LAPTOP, 2),
            tuple(&[atom("erpc"), atom("execute_call"), integer(4)]),
            list(&[atom("monitor")]),
        ];
        pair.outgoing(&packed(&control, Some(&list(&[atom("x")]))));
        let ended = [integer(28), pid(POD, 9), pid(LAPTOP, 1), numbered(number)];
        let reason = tuple(&[numbered(number), atom("return"), atom("x")]);
        assert!(pair.passes(&ended, Some(&reason)), "{number}");
    }
    assert_eq!(pair.session.failure(), None);
}

#[test]
fn the_session_fails_at_what_no_otp_sends() {
    let to = send(pid(LAPTOP, 1));
    for (bytes, problem) in [
        (packet(&[b"\x83D\0h\x01"]).to_vec(), "form of a message"),
        (packed(&to, Some(b"l\0\0\0\x02j")), "length of a message"),
        (packed(&to, Some(b"jj")), "no term"),
        (packed(&to, Some(b"l\0\0\0\x01R\0j")), "unknown tag"),
        (packed(&to, None), "missing payload"),
        (packed(&[integer(22)], Some(b"j")), "arity of a control term"),
    ] {
        let mut pair = Pair::new();
        pair.call(1, 2);
        assert_eq!(pair.incoming(&bytes), Err(Closed));
        assert_eq!(pair.session.failure(), Some(Error::MalformedMessage { problem }));
    }
}

#[test]
fn an_answer_that_is_no_handshake_is_not_the_sessions_failure() {
    let session = Arc::new(Session::new(Limits { atoms: 1, message: 1 }));
    let mut connection = Connection::new(session.clone(), false, None);
    let alert = Bytes::from_static(b"\x15\x03\x01\0\x02\x02\x0a");
    assert_eq!(connection.from_pod.pass(alert, &mut vec![]), Err(Closed));
    assert_eq!(session.failure(), None);
}
