//! Signals that are no messages: exits, links, monitors.

use super::super::{encode::*, *};
use super::support::{Pair, send};

#[test]
fn signals_that_change_a_process_do_not_pass() {
    let mut pair = Pair::new();
    pair.call(1, 2);
    let (from, to) = (pid(POD, 9), pid(LAPTOP, 1));
    assert!(!pair.passes(&[integer(8), from.clone(), to.clone(), atom("kill")], None));
    assert!(!pair.passes(&[integer(26), from.clone(), to.clone()], Some(&atom("kill"))));
    assert!(!pair.passes(&[integer(7), from.clone(), to.clone()], None));
    for code in [5, 9, 11, 14, 37, 200] {
        assert!(!pair.passes(&[integer(code), from.clone(), to.clone()], None), "{code}");
    }
    assert_eq!(pair.session.count(Kind::Exit), 2);
    assert_eq!(pair.session.count(Kind::SetGroupLeader), 1);
    assert_eq!(pair.session.count(Kind::Other), 6);
}

#[test]
fn a_sender_is_of_the_pod() {
    let mut pair = Pair::new();
    pair.call(1, 2);
    let (ours, to) = (pid(LAPTOP, 9), pid(LAPTOP, 1));
    for control in [
        vec![integer(3), ours.clone(), to.clone(), atom("boom")],
        vec![integer(19), ours.clone(), to.clone(), reference(POD, 1)],
        vec![integer(21), ours.clone(), to.clone(), reference(LAPTOP, 1), atom("x")],
        vec![integer(31), reference(LAPTOP, 1), to.clone(), integer(1), ours.clone()],
        vec![integer(35), integer(1), ours.clone(), to.clone()],
    ] {
        assert!(!pair.passes(&control, None), "{control:?}");
    }
    assert_eq!(pair.session.count(Kind::Other), 5);
}

/// The VM removes the link before it decodes a payload.
#[test]
fn the_reason_of_an_exit_is_decoded_before_the_link_is_removed() {
    let (from, to) = (pid(POD, 9), pid(LAPTOP, 1));
    let large = binary(&vec![7; 200_000]);
    for reason in [atom("boom"), large, tuple(&[atom("error_inf_"), pid(POD, 9)])] {
        for (code, new, token) in [(24, 3, vec![]), (25, 13, vec![b"j".to_vec()])] {
            let sent = [vec![integer(code), from.clone(), to.clone()], token.clone()].concat();
            let passed =
                [vec![integer(new), from.clone(), to.clone()], token, vec![reason.clone()]]
                    .concat();
            let (sent, passed) = (packed(&sent, Some(&reason)), packed(&passed, None));
            for cut in [1, 5, 20, sent.len() - 1, sent.len() / 2] {
                let mut pair = Pair::new();
                pair.call(1, 2);
                let first = pair.incoming(&sent[..cut]).unwrap();
                let second = pair.incoming(&sent[cut..]).unwrap();
                assert!([first, second].concat() == passed, "{code}, cut at {cut}");
                assert!(pair.passes(&[integer(36), integer(1), from.clone(), to.clone()], None));
            }
        }
    }
}

/// The control term ends where the part of the message ends that is judged.
#[test]
fn the_end_of_what_is_no_process_is_refused() {
    let from = pid(POD, 9);
    let before = 6 + from.len() + 5;
    let to = binary(&vec![7; packets::HEAD - before]);
    let sent = packed(&[integer(24), from, to], Some(&atom("boom")));
    let mut pair = Pair::new();
    pair.call(1, 2);
    assert!(pair.incoming(&sent).unwrap().is_empty());
    assert_eq!(pair.session.count(Kind::Exit), 1);
}

#[test]
fn a_process_of_a_third_node_gets_no_answer() {
    let mut pair = Pair::new();
    pair.call(1, 2);
    let read = tuple(&[atom("get_line"), atom("unicode"), binary(b"> ")]);
    for from in [pid("other@10.0.0.2", 9), pid(LAPTOP, 9)] {
        let asked = tuple(&[atom("io_request"), from.clone(), reference(POD, 1), read.clone()]);
        assert!(!pair.passes(&send(pid(LAPTOP, 2)), Some(&asked)));
        let monitor = [integer(19), from.clone(), pid(LAPTOP, 1), reference(POD, 1)];
        assert!(!pair.passes(&monitor, None));
        assert!(!pair.passes(&[integer(24), from, pid(LAPTOP, 1)], Some(&atom("x"))));
    }
}

#[test]
fn a_trace_token_does_not_pass() {
    let hello = atom("hello");
    let (from, to, reason) = (pid(POD, 9), pid(LAPTOP, 1), atom("x"));
    for token in [integer(1), atom("x"), tuple(&[]), b"j".to_vec()] {
        for (control, payload) in [
            (vec![integer(12), atom(""), to.clone(), token.clone()], Some(&hello)),
            (vec![integer(23), from.clone(), to.clone(), token.clone()], Some(&hello)),
            (vec![integer(34), from.clone(), reference(LAPTOP, 1), token.clone()], Some(&hello)),
            (vec![integer(25), from.clone(), to.clone(), token.clone()], Some(&hello)),
            (vec![integer(13), from.clone(), to.clone(), token.clone(), reason.clone()], None),
            (
                vec![
                    integer(32),
                    reference(LAPTOP, 1),
                    to.clone(),
                    integer(0),
                    from.clone(),
                    token.clone(),
                ],
                None,
            ),
        ] {
            let mut pair = Pair::new();
            pair.call(1, 2);
            let message = packed(&control, payload.map(Vec::as_slice));
            let passes = !pair.incoming(&message).unwrap().is_empty();
            assert_eq!(passes, token == b"j", "{control:?}");
        }
    }
}
