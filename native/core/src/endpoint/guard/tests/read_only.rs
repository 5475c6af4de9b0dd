//! Sessions that only read.

use super::super::{encode::*, *};
use super::support::{Pair, send};

#[test]
fn a_session_that_only_reads_calls_what_is_allowed() {
    let calls = ["erlang:memory/0".into()].into_iter().collect();
    let limits = Limits { atoms: 1000, message: 1_000_000 };
    let mut pair = Pair::of(Session::read_only(limits, calls));
    let call = |function: &str, size: usize| {
        let control = [
            integer(29),
            reference(LAPTOP, 1),
            pid(LAPTOP, 1),
            pid(LAPTOP, 2),
            tuple(&[atom("erpc"), atom("execute_call"), integer(4)]),
            list(&[atom("monitor")]),
        ];
        let arguments = if size == 0 { b"j".to_vec() } else { list(&[binary(&vec![0; size])]) };
        let all = list(&[reference(LAPTOP, 1), atom("erlang"), atom(function), arguments]);
        packed(&control, Some(&all))
    };
    let (allowed, refused, large) = (call("memory", 0), call("halt", 0), call("md5", 200_000));
    let tick = vec![0; 4];
    let sent = [&allowed[..], &refused, &tick, &large, &allowed].concat();
    for cut in (0..sent.len()).step_by(997).chain([sent.len()]) {
        let mut left = pair.outgoing(&sent[..cut]);
        left.extend(pair.outgoing(&sent[cut..]));
        assert!(left == [&allowed[..], &tick, &allowed].concat(), "cut at {cut}");
        let reply =
            [integer(31), reference(LAPTOP, 1), pid(LAPTOP, 1), integer(0), atom("read_only")];
        let reply = packed(&reply, None);
        assert_eq!(pair.connection.from_pod.replies().concat(), [&reply[..], &reply].concat());
    }
    // What does not leave gives nothing out.
    let message = tuple(&[atom("hello"), pid(LAPTOP, 5)]);
    assert_eq!(pair.outgoing(&packed(&send(pid(POD, 9)), Some(&message))), b"");
    assert!(!pair.passes(&send(pid(LAPTOP, 5)), Some(&atom("hello"))));
    assert!(pair.session.count(Kind::ReadOnly) > 0);
}

#[test]
fn replies_wait_for_the_end_of_a_message() {
    let limits = Limits { atoms: 1000, message: 1_000_000 };
    let mut pair = Pair::of(Session::read_only(limits, [].into_iter().collect()));
    let monitor = [integer(19), pid(LAPTOP, 1), pid(POD, 9), reference(LAPTOP, 1)];
    pair.outgoing(&packed(&monitor, None));
    let answer = packed(
        &[integer(28), pid(POD, 9), pid(LAPTOP, 1), reference(LAPTOP, 1)],
        Some(&binary(&vec![0; 100_000])),
    );
    assert!(!pair.incoming(&answer[..90_000]).unwrap().is_empty());
    assert_eq!(pair.outgoing(&packed(&[integer(1), pid(LAPTOP, 1), pid(POD, 9)], None)), b"");
    assert!(pair.connection.from_pod.replies().is_empty());
    pair.incoming(&answer[90_000..]).unwrap();
    let exit = [integer(3), pid(POD, 9), pid(LAPTOP, 1), atom("read_only")];
    assert_eq!(pair.connection.from_pod.replies().concat(), packed(&exit, None));
}
