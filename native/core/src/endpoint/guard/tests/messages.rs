//! Messages to processes that were given out, whole and in pieces.

use super::super::{encode::*, *};
use super::support::{Pair, send};

#[test]
fn a_message_passes_to_what_was_given_out_only() {
    let mut pair = Pair::new();
    let hello = tuple(&[atom("hello"), integer(42)]);
    assert!(!pair.passes(&send(pid(LAPTOP, 1)), Some(&hello)));
    pair.call(1, 2);
    assert!(pair.passes(&send(pid(LAPTOP, 1)), Some(&hello)));
    assert!(!pair.passes(&send(pid(LAPTOP, 3)), Some(&hello)));
    assert!(!pair.passes(&send(pid(POD, 1)), Some(&hello)), "of another node");
    assert_eq!(pair.session.count(Kind::Send), 3);
    // In a message, however deep
    let sent = tuple(&[atom("x"), list(&[tuple(&[pid(LAPTOP, 3), pid(POD, 4)])])]);
    pair.outgoing(&packed(&send(pid(POD, 1)), Some(&sent)));
    assert!(pair.passes(&send(pid(LAPTOP, 3)), Some(&hello)));
    assert!(!pair.passes(&send(pid(LAPTOP, 4)), Some(&hello)));
}

#[test]
fn messages_pass_however_they_are_cut() {
    let hello = tuple(&[atom("hello"), binary(&[7; 300])]);
    let refused = packed(&send(pid(LAPTOP, 200)), Some(&hello));
    let passed = packed(&send(pid(LAPTOP, 1)), Some(&hello));
    let input = [&refused[..], &[0; 4], &passed, &refused, &passed].concat();
    let expected = [&[0; 4], &passed[..], &passed].concat();
    for cut in 0..=input.len() {
        let mut pair = Pair::new();
        pair.call(1, 2);
        let first = pair.incoming(&input[..cut]).unwrap();
        let second = pair.incoming(&input[cut..]).unwrap();
        assert_eq!([first, second].concat(), expected, "cut at {cut}");
        assert_eq!(pair.session.count(Kind::Send), 2);
    }
}

#[test]
fn a_large_message_passes_in_pieces() {
    let mut pair = Pair::new();
    pair.call(1, 2);
    let large = packed(
        &send(pid(LAPTOP, 1)),
        Some(&tuple(&[atom("a"), atom("b"), binary(&vec![7; 500_000])])),
    );
    let mut output = Vec::new();
    for (at, piece) in large.chunks(30_000).enumerate() {
        let passed = pair.incoming(piece).unwrap();
        assert_eq!(passed.is_empty(), at < 2, "the head is held until it is judged");
        output.extend(passed);
    }
    assert!(output == large);
    assert!(pair.outgoing(&large[..200_000]).len() == 200_000);
    assert!(pair.outgoing(&large[200_000..]) == large[200_000..]);
}

#[test]
fn a_whole_message_is_not_copied() {
    let mut pair = Pair::new();
    pair.call(1, 2);
    let one = packed(&send(pid(LAPTOP, 1)), Some(&binary(&[1; 800])));
    let input = Bytes::from([&one[..], &one].concat());
    let mut output = Vec::new();
    pair.connection.from_pod.pass(input.clone(), &mut output).unwrap();
    assert_eq!((output.len(), output[0].as_ptr()), (1, input.as_ptr()));
}

#[test]
fn a_message_for_several_processes_passes_if_it_passes_for_each() {
    let mut pair = Pair::new();
    pair.call(1, 2);
    pair.call(3, 2);
    let to = |ids: &[u8]| {
        let pids: Vec<_> = ids.iter().map(|id| pid(LAPTOP, *id)).collect();
        send(list(&pids))
    };
    let hello = atom("hello");
    assert!(pair.passes(&to(&[1, 3]), Some(&hello)));
    for ids in [&[1, 4][..], &[2], &[1, 2]] {
        assert!(!pair.passes(&to(ids), Some(&hello)));
    }
    let order = tuple(&[atom("system"), pid(POD, 9), atom("get_state")]);
    assert!(!pair.passes(&to(&[1, 3]), Some(&order)));
    assert!(!pair.passes(&send(list(&[atom("x")])), Some(&hello)));
}
