#![allow(clippy::cloned_ref_to_slice_refs, clippy::unwrap_used)]

use super::{encode::*, from_pod::MAX_ANSWERS, handshake::packet, *};

fn short(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u16::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

/// Both directions of a connection whose handshake is over.
pub(super) struct Pair {
    pub session: Arc<Session>,
    connection: Connection,
}

impl Pair {
    pub fn new() -> Self {
        Self::with(Limits { atoms: 1000, message: 1_000_000 })
    }

    pub fn with(limits: Limits) -> Self {
        Self::of(Session::new(limits))
    }

    pub fn of(session: Session) -> Self {
        let session = Arc::new(session);
        let connection = Connection::new(session.clone(), false, None);
        let mut pair = Self { session, connection };
        pair.shake();
        pair
    }

    /// The handshake of a new connection.
    pub fn shake(&mut self) {
        let flags = u64::MAX.to_be_bytes();
        let named = |before: &[u8], name: &str| {
            let length = u16::try_from(name.len()).unwrap().to_be_bytes();
            short(&[b"N", &flags, before, &length, name.as_bytes()])
        };
        self.outgoing(&[named(&[0; 4], LAPTOP), short(&[b"r", &[0; 20]])].concat());
        let answer = [short(&[b"sok"]), named(&[0; 8], POD), short(&[b"a", &[0; 16]])].concat();
        self.incoming(&answer).unwrap();
    }

    pub fn outgoing(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        self.connection.to_pod.pass(Bytes::copy_from_slice(bytes), &mut output).unwrap();
        output.concat()
    }

    pub fn incoming(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Closed> {
        let mut output = Vec::new();
        self.connection.from_pod.pass(Bytes::copy_from_slice(bytes), &mut output)?;
        Ok(output.concat())
    }

    pub fn entries(&mut self) -> Vec<Entry> {
        self.connection.to_pod.entries()
    }

    pub fn answers(&mut self) -> Vec<u8> {
        self.connection.to_pod.answers().concat()
    }

    /// Gives a process out: a call of `erpc` with this group leader.
    pub fn call(&mut self, caller: u8, leader: u8) {
        let control = [
            integer(29),
            reference(LAPTOP, caller),
            pid(LAPTOP, caller),
            pid(LAPTOP, leader),
            tuple(&[atom("erpc"), atom("execute_call"), integer(4)]),
            list(&[atom("monitor")]),
        ];
        let call = packed(&control, Some(&list(&[pid(LAPTOP, caller)])));
        assert_eq!(self.outgoing(&call), call);
    }

    /// Whether a message passes unchanged.
    pub fn passes(&mut self, control: &[Vec<u8>], payload: Option<&[u8]>) -> bool {
        let message = packed(control, payload);
        let output = self.incoming(&message).unwrap();
        assert!(output.is_empty() || output == message);
        !output.is_empty()
    }
}

fn send(to: Vec<u8>) -> [Vec<u8>; 3] {
    [integer(22), pid(POD, 9), to]
}

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
    assert!(pair.passes(
        &[integer(28), from.clone(), to.clone(), reference(LAPTOP, 1)],
        Some(&atom("done"))
    ));
    // The monitor has fired, and its alias is gone with it.
    assert!(!pair.passes(&[integer(33), from.clone(), reference(LAPTOP, 1)], Some(&atom("late"))));
    for control in [
        vec![integer(21), from.clone(), to.clone(), reference(LAPTOP, 1), atom("noproc")],
        vec![integer(31), reference(LAPTOP, 1), to.clone(), integer(0), from.clone()],
        vec![integer(3), from.clone(), to.clone(), atom("boom")],
        vec![integer(35), integer(1), from.clone(), to.clone()],
        vec![integer(36), integer(1), from.clone(), to.clone()],
        vec![integer(19), from.clone(), to.clone(), reference(POD, 1)],
        vec![integer(20), from.clone(), to.clone(), reference(POD, 1)],
    ] {
        assert!(pair.passes(&control, None), "{control:?}");
    }
    assert!(pair.passes(&[integer(24), from, to], Some(&atom("boom"))));
}

#[test]
fn a_process_of_otp_gets_answers_only() {
    let session = Arc::new(Session::new(Limits { atoms: 1000, message: 1_000_000 }));
    let mut pair = Pair::new();
    pair.session = session.clone();
    pair.connection = Connection::new(session.clone(), false, Some("Elixir.Printer"));
    pair.shake();
    // Before the VM has a name
    let mut server = [&[131], &pid("nonode@nohost", 1)[..]].concat();
    *server.last_mut().unwrap() = 0;
    assert!(pair.session.add_server(&server));
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
fn a_request_for_several_group_leaders_is_refused() {
    let mut pair = Pair::new();
    pair.call(1, 2);
    let asked = tuple(&[atom("io_request"), pid(POD, 9), reference(POD, 1), atom("getopts")]);
    let all = list(&[pid(LAPTOP, 2), pid(LAPTOP, 2)]);
    assert!(!pair.passes(&send(all), Some(&asked)));
    assert!(pair.passes(&send(pid(LAPTOP, 2)), Some(&asked)));
}

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

#[test]
fn a_group_leader_gets_io_requests_only() {
    let mut pair = Pair::new();
    pair.call(1, 2);
    let io = |request: &[u8]| {
        tuple(&[atom("io_request"), pid(POD, 9), reference(POD, 4), request.to_vec()])
    };
    let text = tuple(&[atom("put_chars"), atom("unicode"), binary(b"text")]);
    assert!(pair.passes(&send(pid(LAPTOP, 2)), Some(&io(&text))));
    assert!(!pair.passes(&send(pid(LAPTOP, 2)), Some(&atom("hello"))));
    let keys = tuple(&[pid(LAPTOP, 4), tuple(&[atom("data"), string("os:cmd(\"id\").\n")])]);
    assert!(!pair.passes(&send(pid(LAPTOP, 2)), Some(&keys)));
    let call = tuple(&[
        atom("put_chars"),
        atom("unicode"),
        atom("os"),
        atom("cmd"),
        list(&[string("id")]),
    ]);
    for to in [1, 2] {
        assert!(!pair.passes(&send(pid(LAPTOP, to)), Some(&io(&call))));
        let error = tuple(&[atom("error"), atom("request")]);
        let reply = tuple(&[atom("io_reply"), reference(POD, 4), error]);
        assert_eq!(pair.answers(), packed(&[integer(2), atom(""), pid(POD, 9)], Some(&reply)));
    }
    let for_another = tuple(&[atom("io_request"), pid(LAPTOP, 1), atom("x"), text]);
    assert!(!pair.passes(&send(pid(LAPTOP, 2)), Some(&for_another)));
    assert_eq!(
        (pair.session.count(Kind::IoRequest), pair.session.count(Kind::GroupLeader)),
        (3, 2)
    );

    assert!(!pair.passes(&[integer(1), pid(POD, 9), pid(LAPTOP, 2)], None));
    assert_eq!((pair.session.count(Kind::Link), pair.answers()), (0, vec![]));

    let judge = [&[131], &pid(LAPTOP, 2)[..]].concat();
    assert!(pair.session.add_judge(&judge));
    let parse = tuple(&[
        atom("get_until"),
        atom("unicode"),
        binary(b"> "),
        atom("a"),
        atom("b"),
        list(&[atom("c")]),
    ]);
    assert!(pair.passes(&send(pid(LAPTOP, 2)), Some(&io(&parse))), "it judges for itself");
    assert!(!pair.passes(&send(pid(LAPTOP, 2)), Some(&io(&call))));
    assert!(pair.passes(&[integer(1), pid(POD, 9), pid(LAPTOP, 2)], None));
    assert!(!pair.passes(&[integer(1), pid(POD, 9), pid(POD, 2)], None));
    assert!(!pair.passes(&send(pid(LAPTOP, 2)), Some(&atom("hello"))));
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
    pair.outgoing(&packed(&send(pid(POD, 9)), Some(&pid(LAPTOP, 1))));
    assert!(pair.passes(&send(pid(LAPTOP, 1)), Some(&message)));
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
    for (repeated, to) in [
        (pid(LAPTOP, 41), send(pid(LAPTOP, 41))),
        (reference(LAPTOP, 42), [integer(33), pid(POD, 9), reference(LAPTOP, 42)]),
    ] {
        let request = tuple(&[atom("io_request"), pid(POD, 9), repeated.clone(), geometry.clone()]);
        assert!(pair.passes(&send(pid(LAPTOP, 2)), Some(&request)));
        let reply = tuple(&[atom("io_reply"), repeated, integer(80)]);
        pair.outgoing(&packed(&[integer(22), pid(LAPTOP, 2), pid(POD, 9)], Some(&reply)));
        assert!(!pair.passes(&to, Some(&hello)));
    }
    assert!(pair.passes(&send(pid(LAPTOP, 1)), Some(&hello)), "it was given out before");
}

#[test]
fn text_that_is_not_understood_is_not_printed() {
    let mut pair = Pair::new();
    pair.connection.from_pod.printer = Some("Elixir.Printer");
    pair.call(1, 2);
    // The beginning of the message, which is looked at, ends within the encoding.
    let text = tuple(&[atom("put_chars"), atom("unicode"), binary(b"\x1b]0;x\x07")]);
    for size in 64_900..65_600 {
        let request =
            tuple(&[atom("io_request"), pid(POD, 9), binary(&vec![0; size]), text.clone()]);
        let message = packed(&send(pid(LAPTOP, 2)), Some(&request));
        let output = pair.incoming(&message).unwrap();
        assert!(output != message, "{size}");
    }
}

#[test]
fn text_for_a_group_leader_goes_through_the_printer() {
    let module = atom("Elixir.Printer");
    let io =
        |request: &[u8]| tuple(&[atom("io_request"), pid(POD, 9), atom("r"), request.to_vec()]);
    let (unicode, text) = (atom("unicode"), binary(&vec![b'x'; 100_000]));
    let format = list(&[string("~ts"), list(&[binary(b"a")])]);
    let called = |before: &[Vec<u8>], function: &str, arguments: &[u8]| {
        tuple(&[before, &[module.clone(), atom(function), arguments.to_vec()]].concat())
    };
    let put = atom("put_chars");
    for (request, printed) in [
        (
            tuple(&[put.clone(), unicode.clone(), text.clone()]),
            called(
                &[put.clone(), unicode.clone()],
                "text",
                &list(&[unicode.clone(), text.clone()]),
            ),
        ),
        (
            tuple(&[put.clone(), unicode.clone(), atom("io_lib"), atom("fwrite"), format.clone()]),
            called(&[put.clone(), unicode.clone()], "format", &format),
        ),
        (
            tuple(&[
                put.clone(),
                unicode.clone(),
                atom("io_lib"),
                atom("write"),
                list(&[text.clone()]),
            ]),
            called(&[put.clone(), unicode.clone()], "write", &list(&[text])),
        ),
        (atom("getopts"), atom("getopts")),
    ] {
        let input = [packed(&send(pid(LAPTOP, 2)), Some(&io(&request))), vec![0; 4]].concat();
        let expected = [packed(&send(pid(LAPTOP, 2)), Some(&io(&printed))), vec![0; 4]].concat();
        for cut in
            (0..200.min(input.len())).chain([input.len() / 2, input.len() - 5, input.len() - 4])
        {
            let mut pair = Pair::new();
            pair.connection.from_pod.printer = Some("Elixir.Printer");
            pair.call(1, 2);
            let output =
                [pair.incoming(&input[..cut]).unwrap(), pair.incoming(&input[cut..]).unwrap()];
            assert!(output.concat() == expected, "cut at {cut}");
        }
    }
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
fn the_session_fails_at_what_no_otp_sends() {
    let to = send(pid(LAPTOP, 1));
    for (bytes, problem) in [
        (packet(&[b"\x83D\0h\x01"]).to_vec(), "form of a message"),
        (packed(&to, Some(b"h\x02j")), "length of a message"),
        (packed(&to, Some(b"jj")), "no term"),
        (packed(&to, Some(b"R\0")), "unknown tag"),
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

#[test]
fn a_printed_text_has_no_changed_atom_left() {
    let session = Arc::new(Session::new(Limits { atoms: 1000, message: 1_000_000 }));
    let mut pair = Pair::new();
    pair.connection = Connection::new(session, false, Some("Elixir.Printer"));
    pair.shake();
    pair.call(1, 2);
    let request = |name: &str| {
        let arguments = list(&[string("~p"), list(&[atom(name)])]);
        let (unicode, io_lib) = (atom("unicode"), atom("io_lib"));
        let print = tuple(&[atom("put_chars"), unicode, io_lib, atom("format"), arguments]);
        let whole = tuple(&[atom("io_request"), pid(POD, 9), reference(POD, 1), print]);
        packed(&send(pid(LAPTOP, 2)), Some(&whole))
    };
    let output = pair.incoming(&request("error_info")).unwrap();
    assert_eq!(output, pair.incoming(&request("error_inf_")).unwrap());
    assert!(output.windows(14).any(|part| part == b"Elixir.Printer"));
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
            let passes = pair.passes(&control, payload.map(Vec::as_slice));
            assert_eq!(passes, token == b"j", "{control:?}");
        }
    }
}

#[test]
fn a_link_comes_only_with_a_process_for_which_it_was_asked() {
    let reply = |number: u8, flags: u8| {
        [integer(31), reference(LAPTOP, number), pid(LAPTOP, 1), integer(flags), pid(POD, 9)]
    };
    let mut pair = Pair::new();
    pair.call(1, 2);
    assert!(pair.passes(&reply(1, 0), None) && pair.passes(&reply(1, 2), None));
    assert!(!pair.passes(&reply(1, 1), None) && !pair.passes(&reply(1, 3), None));
    for option in [atom("link"), tuple(&[atom("link"), list(&[atom("x")])])] {
        let control = [
            integer(29),
            reference(LAPTOP, 5),
            pid(LAPTOP, 1),
            pid(LAPTOP, 2),
            tuple(&[atom("m"), atom("f"), integer(0)]),
            list(&[atom("monitor"), option]),
        ];
        pair.outgoing(&packed(&control, Some(b"j")));
        assert!(pair.passes(&reply(5, 3), None));
        assert!(!pair.passes(&reply(5, 3), None), "it links once");
    }
    assert!(pair.session.count(Kind::Link) > 0);
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
    // An alias that the call itself names
    assert!(pair.passes(&to(6), Some(&tuple(&[atom("hello"), atom("x")]))));
}

#[test]
fn the_group_leader_of_a_call_of_rpc_is_one() {
    for size in [1, 100_000] {
        let mut pair = Pair::new();
        let from = tuple(&[pid(LAPTOP, 1), reference(LAPTOP, 1)]);
        let arguments = list(&[binary(&vec![b'a'; size])]);
        let called = [atom("call"), atom("m"), atom("f"), arguments, pid(LAPTOP, 2)];
        let call = tuple(&[atom("$gen_call"), from, tuple(&called)]);
        let control = [integer(6), pid(LAPTOP, 1), atom(""), atom("rex")];
        pair.outgoing(&packed(&control, Some(&call)));
        assert!(!pair.passes(&send(pid(LAPTOP, 2)), Some(&tuple(&[atom("hello"), atom("x")]))));
        let print = tuple(&[atom("put_chars"), atom("unicode"), binary(b"text")]);
        let asked = tuple(&[atom("io_request"), pid(POD, 9), reference(POD, 1), print]);
        assert!(pair.passes(&send(pid(LAPTOP, 2)), Some(&asked)));
    }
}
