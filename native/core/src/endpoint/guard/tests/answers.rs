//! What the pod asks for has an answer, and what answers the local node passes.

use super::super::{encode::*, from_pod::MAX_ANSWERS, *};
use super::support::{Pair, send};

#[test]
fn what_a_process_asks_for_has_an_answer() {
    let mut pair = Pair::new();
    let from = pid(POD, 9);
    let request = [
        integer(29),
        reference(POD, 1),
        from.clone(),
        pid(POD, 8),
        tuple(&[atom("os"), atom("cmd"), integer(1)]),
        b"j".to_vec(),
    ];
    assert!(!pair.passes(&request, Some(&list(&[string("id")]))));
    let reply = [integer(31), reference(POD, 1), from.clone(), integer(0), atom("notsup")];
    assert_eq!(pair.answers(), packed(&reply, None));

    for (what, name) in [(pid(LAPTOP, 5), false), (atom("code_server"), true)] {
        let monitor = [integer(19), from.clone(), what.clone(), reference(POD, 2)];
        assert!(!pair.passes(&monitor, None));
        let exit = [integer(21), what, from.clone(), reference(POD, 2), atom("noproc")];
        assert_eq!(pair.answers(), packed(&exit, None), "{name}");
    }
    assert!(!pair.passes(&[integer(1), from.clone(), pid(LAPTOP, 5)], None));
    assert_eq!(
        pair.answers(),
        packed(&[integer(3), pid(LAPTOP, 5), from.clone(), atom("noproc")], None)
    );
    for kind in [Kind::Spawn, Kind::Link] {
        assert_eq!(pair.session.count(kind), 1);
    }
    assert_eq!(pair.session.count(Kind::Monitor), 2);
}

#[test]
fn a_ping_has_an_answer_and_no_other_name_has_one() {
    let mut pair = Pair::new();
    let from = pid(POD, 9);
    let tag = [&b"l\0\0\0\x01"[..], &atom("alias"), &reference(POD, 3)].concat();
    let ping = |request| {
        tuple(&[
            atom("$gen_call"),
            tuple(&[from.clone(), tag.clone()]),
            tuple(&[request, atom(POD)]),
        ])
    };
    let to = |name| [integer(6), from.clone(), atom(""), atom(name)];
    assert!(
        !pair.passes(&[integer(19), from.clone(), atom("net_kernel"), reference(POD, 2)], None)
    );
    assert_eq!(pair.answers(), b"");
    assert!(!pair.passes(&to("net_kernel"), Some(&ping(atom("is_auth")))));
    let yes = tuple(&[tag.clone(), atom("yes")]);
    assert_eq!(pair.answers(), packed(&[integer(2), atom(""), from.clone()], Some(&yes)));
    assert!(
        !pair.passes(&[integer(20), from.clone(), atom("net_kernel"), reference(POD, 2)], None)
    );
    assert_eq!(Kind::ALL.map(|kind| pair.session.count(kind)), [0; 12]);

    assert!(!pair.passes(&to("net_kernel"), Some(&ping(atom("other")))));
    assert!(!pair.passes(&to("code_server"), Some(&ping(atom("is_auth")))));
    assert_eq!((pair.session.count(Kind::Name), pair.answers()), (2, vec![]));
}

#[test]
fn what_answers_us_passes() {
    let mut pair = Pair::new();
    pair.call(1, 2);
    let (from, to) = (pid(POD, 9), pid(LAPTOP, 1));
    let of_another_node = [integer(33), from.clone(), reference("other@127.0.0.1", 1)];
    assert!(!pair.passes(&of_another_node, Some(&atom("reply"))));
    assert!(pair.passes(&[integer(33), from.clone(), reference(LAPTOP, 1)], Some(&atom("reply"))));
    let started = [integer(31), reference(LAPTOP, 1), to.clone(), integer(2), from.clone()];
    assert!(pair.passes(&started, None));
    assert!(pair.passes(
        &[integer(28), from.clone(), to.clone(), reference(LAPTOP, 1)],
        Some(&atom("done"))
    ));
    // The monitor has fired, and its alias is gone with it.
    assert!(!pair.passes(&[integer(33), from.clone(), reference(LAPTOP, 1)], Some(&atom("late"))));
    for control in [
        vec![integer(3), from.clone(), to.clone(), atom("boom")],
        vec![integer(35), integer(1), from.clone(), to.clone()],
        vec![integer(36), integer(1), from.clone(), to.clone()],
        vec![integer(19), from.clone(), to.clone(), reference(POD, 1)],
        vec![integer(20), from.clone(), to.clone(), reference(POD, 1)],
    ] {
        assert!(pair.passes(&control, None), "{control:?}");
    }
}

#[test]
fn answers_wait_for_the_end_of_a_message() {
    let mut pair = Pair::new();
    let large = packed(&send(pid(POD, 1)), Some(&binary(&vec![7; 200_000])));
    let mut sent = pair.outgoing(&large[..100_000]);
    assert!(!pair.passes(&[integer(1), pid(POD, 9), pid(LAPTOP, 5)], None));
    assert_eq!(pair.answers(), b"");
    sent.extend(pair.outgoing(&large[100_000..]));
    let exit = packed(&[integer(3), pid(LAPTOP, 5), pid(POD, 9), atom("noproc")], None);
    assert!(sent == [large, exit].concat());
    assert_eq!(pair.answers(), b"");
}

#[test]
fn answers_that_nobody_reads_have_a_limit() {
    let mut pair = Pair::new();
    let monitor = [integer(19), pid(POD, 9), atom(&"a".repeat(250)), reference(POD, 2)];
    for _ in 0..5000 {
        assert!(!pair.passes(&monitor, None));
    }
    assert!(pair.answers().len() <= MAX_ANSWERS);
    assert_eq!(pair.session.count(Kind::Monitor), 5000);
}
