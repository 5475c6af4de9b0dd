//! The atom that names a function for exceptions.

use super::super::{encode::*, *};
use super::support::{Pair, send};

/// A message that passes in two pieces, cut at each position.
fn passes_as(message: &[u8], expected: &[u8]) {
    for cut in 0..=message.len() {
        let mut pair = Pair::new();
        pair.call(1, 2);
        let mut output = pair.incoming(&message[..cut]).unwrap();
        output.extend(pair.incoming(&message[cut..]).unwrap());
        assert_eq!(output, expected, "cut at {cut}");
    }
}

#[test]
fn the_function_that_formats_an_exception_is_not_the_pods() {
    let name = b"error_info";
    for head in [&b"w\x0a"[..], b"s\x0a", b"v\0\x0a", b"d\0\x0a"] {
        let reason = |name: &[u8]| {
            tuple(&[
                reference(LAPTOP, 9),
                atom("error"),
                atom("x"),
                list(&[tuple(&[
                    [head, name].concat(),
                    binary(b"error_info"),
                    string("error_info"),
                ])]),
            ])
        };
        let control = [integer(28), pid(POD, 9), pid(LAPTOP, 1), reference(LAPTOP, 1)];
        let expected = packed(&control, Some(&reason(b"error_inf_")));
        passes_as(&packed(&control, Some(&reason(name))), &expected);
        let exit = |name: &[u8]| {
            packed(&[integer(3), pid(POD, 9), pid(LAPTOP, 1), [head, name].concat()], None)
        };
        passes_as(&exit(name), &exit(b"error_inf_"));
    }
}

/// Data of a widget in Livebook is larger than what is judged.
#[test]
fn a_large_message_passes_and_a_command_behind_it_is_changed() {
    let add = |name: &str| tuple(&[atom(name), atom("supervisor"), atom("x")]);
    for before in (packets::HEAD - 60..packets::HEAD + 20).chain([200_000]) {
        let message = |third: Vec<u8>| {
            let parts = [atom("connect_reply"), binary(&vec![b'a'; before]), third];
            packed(&send(pid(LAPTOP, 1)), Some(&tuple(&parts)))
        };
        for (third, expected) in [
            (tuple(&[atom("ref"), atom("stop")]), Some(tuple(&[atom("ref"), atom("stop")]))),
            (add("add_handler"), Some(add("add_handle_"))),
            (atom("which_handlers"), Some(atom("which_handler_"))),
        ] {
            let mut pair = Pair::new();
            pair.call(1, 2);
            let mut output = Vec::new();
            for piece in message(third.clone()).chunks(16_384 + 7) {
                output.extend(pair.incoming(piece).unwrap());
            }
            let is_command = expected != Some(third.clone());
            assert_eq!(pair.session.count(Kind::Message), u64::from(is_command), "{before}");
            // What is judged as a whole does not pass.
            let passed = !output.is_empty();
            assert!(passed || is_command && before < packets::HEAD, "{before}");
            assert!(!passed || output == message(expected.unwrap()), "{before}");
        }
        // Not to those that only wait for an answer.
        let mut pair = Pair::new();
        pair.outgoing(&packed(&send(pid(POD, 1)), Some(&atom("x"))));
        pair.outgoing(&packed(
            &[integer(19), pid(LAPTOP, 1), pid(POD, 1), reference(LAPTOP, 1)],
            None,
        ));
        let mut output = Vec::new();
        for piece in message(add("add_handler")).chunks(16_384 + 7) {
            output.extend(pair.incoming(piece).unwrap());
        }
        assert!(output.is_empty(), "{before}");
    }
}

#[test]
fn an_atom_that_is_changed_can_be_anywhere_in_a_large_message() {
    for before in (packets::HEAD - 60..packets::HEAD + 20).chain([200_000]) {
        let message = |name: &str| {
            let payload = list(&[binary(&vec![b'a'; before]), atom(name), binary(&[0; 100])]);
            packed(&send(pid(LAPTOP, 1)), Some(&payload))
        };
        let mut pair = Pair::new();
        pair.call(1, 2);
        let mut output = Vec::new();
        for piece in message("error_info").chunks(16_384 + 7) {
            output.extend(pair.incoming(piece).unwrap());
        }
        assert!(output == message("error_inf_"), "{before}");
    }
}
