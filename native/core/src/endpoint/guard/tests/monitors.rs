//! Monitors, and requests for a process: what the pod says of them is about those of its own connection.

use super::super::{encode::*, *};
use super::support::Pair;

/// The end of a process that the one with the number `to` monitors.
fn down(to: u8, reference: Vec<u8>) -> [Vec<u8>; 5] {
    [integer(21), pid(POD, 9), pid(LAPTOP, to), reference, atom("noproc")]
}

fn reply(number: u8, to: u8, flags: u8, result: Vec<u8>) -> [Vec<u8>; 5] {
    [integer(31), reference(LAPTOP, number), pid(LAPTOP, to), integer(flags), result]
}

fn spawn(pair: &mut Pair, number: u8, options: &[Vec<u8>]) {
    let control = [
        integer(29),
        reference(LAPTOP, number),
        pid(LAPTOP, 1),
        pid(LAPTOP, 2),
        tuple(&[atom("m"), atom("f"), integer(0)]),
        list(options),
    ];
    pair.outgoing(&packed(&control, Some(b"j")));
}

#[test]
fn a_process_ends_for_the_one_that_monitors_it() {
    let mut pair = Pair::new();
    let monitor = [integer(19), pid(LAPTOP, 1), pid(POD, 9), reference(LAPTOP, 5)];
    pair.outgoing(&packed(&monitor, None));
    pair.call(3, 2);
    for control in [down(3, reference(LAPTOP, 5)), down(1, reference(LAPTOP, 6))] {
        assert!(!pair.passes(&control, None), "{control:?}");
    }
    assert!(pair.passes(&down(1, reference(LAPTOP, 5)), None));
    assert!(!pair.passes(&down(1, reference(LAPTOP, 5)), None), "it ends once");
    let result = tuple(&[reference(LAPTOP, 3), atom("return"), atom("x")]);
    let control = [integer(28), pid(POD, 9), pid(LAPTOP, 3), reference(LAPTOP, 3)];
    assert!(pair.passes(&control, Some(&result)), "the result of a call");
}

/// The VM would take a monitor of this process by the pod for one of a process in the pod.
#[test]
fn a_monitor_of_the_pods_is_no_monitor_of_the_receivers() {
    let mut pair = Pair::new();
    pair.call(1, 2);
    assert!(pair.passes(&[integer(19), pid(POD, 9), pid(LAPTOP, 1), reference(POD, 1)], None));
    assert!(!pair.passes(&down(1, reference(POD, 1)), None));
    let control = [integer(28), pid(POD, 9), pid(LAPTOP, 1), reference(POD, 1)];
    assert!(!pair.passes(&control, Some(&atom("noproc"))));
    assert!(pair.passes(&[integer(20), pid(POD, 9), pid(LAPTOP, 1), reference(POD, 1)], None));
}

#[test]
fn the_pod_monitors_with_its_own_references() {
    let mut pair = Pair::new();
    pair.call(1, 2);
    for code in [19, 20] {
        for other in [reference(LAPTOP, 1), reference("other@10.0.0.2", 1), atom("x")] {
            let control = [integer(code), pid(POD, 9), pid(LAPTOP, 1), other];
            assert!(!pair.passes(&control, None), "{control:?}");
        }
    }
    assert_eq!(pair.session.count(Kind::Monitor), 3);
    assert!(pair.answers().is_empty());
}

/// The VM does not compare the pod that answers with the pod that was asked.
#[test]
fn a_pod_does_not_answer_for_another() {
    let (mut asked, mut other) = (Pair::new(), Pair::new());
    asked.call(1, 2);
    other.call(3, 2);
    let result = tuple(&[reference(LAPTOP, 1), atom("return"), atom("forged")]);
    let end = [integer(28), pid(POD, 9), pid(LAPTOP, 1), reference(LAPTOP, 1)];
    assert!(!other.passes(&reply(1, 1, 0, pid(POD, 9)), None));
    assert!(!other.passes(&end, Some(&result)));
    assert!(asked.passes(&reply(1, 1, 0, pid(POD, 9)), None));
    assert!(asked.passes(&end, Some(&result)));
}

#[test]
fn a_request_for_a_process_has_one_answer() {
    let mut pair = Pair::new();
    spawn(&mut pair, 5, &[atom("monitor")]);
    assert!(!pair.passes(&reply(5, 3, 0, pid(POD, 9)), None), "to another process");
    spawn(&mut pair, 6, &[atom("monitor")]);
    assert!(pair.passes(&reply(6, 1, 2, pid(POD, 9)), None));
    assert!(!pair.passes(&reply(6, 1, 2, pid(POD, 9)), None));
    assert!(pair.passes(&down(1, reference(LAPTOP, 6)), None));
    // It was not started, so nothing of it ends.
    spawn(&mut pair, 7, &[atom("monitor")]);
    assert!(pair.passes(&reply(7, 1, 0, atom("notsup")), None));
    assert!(!pair.passes(&down(1, reference(LAPTOP, 7)), None));
}

#[test]
fn a_link_comes_only_with_a_process_for_which_it_was_asked() {
    let mut pair = Pair::new();
    for (number, flags) in [(5, 0), (6, 1), (7, 2), (8, 3)] {
        spawn(&mut pair, number, &[atom("monitor")]);
        let passes = pair.passes(&reply(number, 1, flags, pid(POD, 9)), None);
        assert_eq!(passes, flags & 1 == 0, "{flags}");
    }
    for option in [atom("link"), tuple(&[atom("link"), list(&[atom("x")])])] {
        spawn(&mut pair, 9, &[atom("monitor"), option]);
        assert!(pair.passes(&reply(9, 1, 3, pid(POD, 9)), None));
        assert!(!pair.passes(&reply(9, 1, 3, pid(POD, 9)), None), "it links once");
    }
    assert_eq!(pair.session.count(Kind::Link), 2);
}
