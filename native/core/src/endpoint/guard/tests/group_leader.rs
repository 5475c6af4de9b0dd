//! What a group leader gets and prints.

use super::super::{encode::*, *};
use super::support::{Pair, send};

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
fn a_request_for_several_group_leaders_is_refused() {
    let mut pair = Pair::new();
    pair.call(1, 2);
    let asked = tuple(&[atom("io_request"), pid(POD, 9), reference(POD, 1), atom("getopts")]);
    let all = list(&[pid(LAPTOP, 2), pid(LAPTOP, 2)]);
    assert!(!pair.passes(&send(all), Some(&asked)));
    assert!(pair.passes(&send(pid(LAPTOP, 2)), Some(&asked)));
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
                list(&[string("text")]),
            ]),
            called(&[put.clone(), unicode.clone()], "write", &list(&[string("text")])),
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
