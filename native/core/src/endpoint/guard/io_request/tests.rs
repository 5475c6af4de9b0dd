#![allow(clippy::cloned_ref_to_slice_refs, clippy::unwrap_used)]

use super::{super::encode::*, *};

fn call(
    name: &str,
    before: &[Vec<u8>],
    module: &str,
    function: &str,
    arguments: &[Vec<u8>],
) -> Vec<u8> {
    let mut parts = vec![atom(name)];
    parts.extend(before.iter().cloned());
    parts.extend([atom(module), atom(function), list(arguments)]);
    tuple(&parts)
}

/// Of a request to a group leader of OTP.
fn refusal(request: &[u8]) -> Option<String> {
    super::refusal(request, Server::GroupLeader)
}

fn fun() -> Vec<u8> {
    [b"q".to_vec(), atom("os"), atom("cmd"), b"a\x01".to_vec()].concat()
}

fn options(name: &str, value: &str) -> Vec<u8> {
    tuple(&[atom("setopts"), list(&[tuple(&[atom(name), atom(value)])])])
}

#[test]
fn text_passes_in_each_form() {
    let unicode = atom("unicode");
    for request in [
        tuple(&[atom("put_chars"), unicode.clone(), binary(b"text")]),
        // However little of it has arrived.
        tuple(&[atom("put_chars"), unicode.clone(), binary(b"text")])[..22].to_vec(),
        call(
            "put_chars",
            &[unicode.clone()],
            "io_lib",
            "format",
            &[string("~p and ~-12.3.0s~n"), list(&[atom("a")])],
        ),
        call(
            "put_chars",
            &[unicode.clone()],
            "io_lib",
            "fwrite",
            &[binary("~tsö~n".as_bytes()), b"j".to_vec()],
        ),
        call(
            "put_chars",
            &[unicode.clone()],
            "io_lib",
            "format",
            &[list(&[b"a~".to_vec(), b"b\0\0\x20\xac".to_vec()]), b"j".to_vec()],
        ),
        call("put_chars", &[unicode.clone()], "io_lib", "write", &[atom("a")]),
        tuple(&[atom("get_line"), unicode.clone(), binary(b"> ")]),
        tuple(&[atom("get_chars"), unicode.clone(), binary(b"> "), b"a\x05".to_vec()]),
        tuple(&[atom("get_geometry"), atom("columns")]),
        atom("getopts"),
        tuple(&[
            atom("setopts"),
            list(&[atom("binary"), tuple(&[atom("encoding"), unicode.clone()])]),
        ]),
        call(
            "get_until",
            &[unicode.clone(), binary(b"> ")],
            "erl_scan",
            "tokens",
            &[b"a\x01".to_vec()],
        ),
        call("get_until", &[unicode.clone(), binary(b"> ")], "io_lib", "fread", &[string("~d")]),
        tuple(&[atom("requests"), list(&[tuple(&[atom("put_chars"), unicode, binary(b"a")])])]),
        tuple(&[atom("requests"), b"j".to_vec()]),
    ] {
        assert_eq!(refusal(&request), None, "{request:?}");
    }
}

#[test]
fn a_request_that_names_a_function_is_refused() {
    let unicode = atom("unicode");
    let command = [string("id")];
    let put = call("put_chars", &[unicode.clone()], "os", "cmd", &command);
    let nested = tuple(&[
        atom("requests"),
        list(&[tuple(&[atom("put_chars"), unicode.clone(), binary(b"a")]), put.clone()]),
    ]);
    for (request, why) in [
        (put.clone(), "put_chars with os:cmd"),
        (call("put_chars", &[], "os", "cmd", &command), "put_chars"),
        (
            call("get_until", &[unicode.clone(), binary(b">")], "os", "cmd", &command),
            "get_until with os:cmd",
        ),
        (call("get_until", &[binary(b">")], "os", "cmd", &command), "get_until"),
        (nested.clone(), "put_chars"),
        (tuple(&[atom("requests"), list(&[nested])]), "put_chars"),
        (tuple(&[atom("setopts"), list(&[tuple(&[atom("expand_fun"), fun()])])]), "setopts"),
        (tuple(&[atom("setopts"), atom("x")]), "setopts"),
        (options("echo", "false"), "setopts"),
        (options("binary", "false"), "setopts"),
        (options("encoding", "latin1"), "setopts"),
        (options("onlcr", "false"), "setopts"),
        (tuple(&[atom("setopts"), list(&[atom("list")])]), "setopts"),
        (
            call(
                "put_chars",
                &[unicode.clone()],
                "io_lib",
                "format",
                &[string("a"), b"j".to_vec(), b"j".to_vec()],
            ),
            "put_chars with io_lib:format",
        ),
        (tuple(&[atom("shell_history")]), "shell_history"),
        (tuple(&[fun()]), "unknown"),
        (b"j".to_vec(), "unknown"),
    ] {
        assert_eq!(refusal(&request).as_deref(), Some(why));
    }
}

#[test]
fn a_function_in_the_arguments_of_a_parser_is_refused() {
    let options = list(&[tuple(&[atom("reserved_word_fun"), fun()])]);
    let arguments = [b"a\x01".to_vec(), options];
    let request =
        call("get_until", &[atom("unicode"), binary(b">")], "erl_scan", "tokens", &arguments);
    assert_eq!(refusal(&request).as_deref(), Some("get_until with erl_scan:tokens"));
    let prompt = tuple(&[atom("format"), string("~1000000c"), list(&[b"a\x01".to_vec()])]);
    let request = tuple(&[atom("get_line"), atom("unicode"), prompt]);
    assert_eq!(refusal(&request).as_deref(), Some("get_line"));
}

#[test]
fn a_format_that_fills_the_memory_or_calls_a_function_is_refused() {
    for format in [
        "~1000000000c",
        "~*c",
        "~.1000000p",
        "~ts ~9999.c",
        "~-1000s",
        "~Kp",
        "~tKp",
        "~..xKp",
        "~..KKp",
    ] {
        let characters: Vec<_> = format.bytes().map(|byte| vec![97, byte]).collect();
        // `io_lib` takes an empty list for a character.
        let with_nil =
            |at: usize| [&characters[..at], &[b"j".to_vec()], &characters[at..]].concat();
        for encoded in [
            string(format),
            binary(format.as_bytes()),
            atom(format),
            list(&characters),
            list(&with_nil(0)),
            list(&with_nil(1)),
            list(&with_nil(characters.len())),
        ] {
            let request = call(
                "put_chars",
                &[atom("unicode")],
                "io_lib",
                "format",
                &[encoded, b"j".to_vec()],
            );
            assert_eq!(
                refusal(&request).as_deref(),
                Some("put_chars with io_lib:format"),
                "{format}"
            );
        }
    }
}

/// `write/2` has an option `maps_order`, which can be a function.
#[test]
fn the_arguments_of_a_function_do_not_go_on_in_the_tail_of_their_list() {
    let options = list(&[tuple(&[atom("maps_order"), fun()])]);
    for (function, arguments) in [
        ("write", vec![atom("x")]),
        ("format", vec![string("~w"), list(&[atom("x")])]),
        ("fwrite", vec![string("~w"), b"j".to_vec()]),
    ] {
        let proper = call("put_chars", &[atom("unicode")], "io_lib", function, &arguments);
        assert_eq!(refusal(&proper), None);
        let tail = list(std::slice::from_ref(&options));
        let improper = [&proper[..proper.len() - 1], &tail].concat();
        assert!(refusal(&improper).is_some(), "{function}");
    }
    let write = call("put_chars", &[atom("unicode")], "io_lib", "write", &[atom("x")]);
    for end in 0..write.len() {
        assert!(refusal(&write[..end]).is_some(), "{end}");
    }
}

#[test]
fn what_ends_early_is_refused_unless_its_rest_does_not_matter() {
    let format =
        call("put_chars", &[atom("unicode")], "io_lib", "format", &[string("a"), b"j".to_vec()]);
    let requests = tuple(&[
        atom("requests"),
        list(&[tuple(&[atom("put_chars"), atom("unicode"), binary(b"a")])]),
    ]);
    let options = tuple(&[atom("setopts"), list(&[atom("binary")])]);
    // The arguments of a format are not judged.
    for (request, needed) in
        [(&format, format.len() - 2), (&requests, requests.len()), (&options, options.len())]
    {
        assert_eq!(refusal(request), None);
        for end in 0..needed {
            assert!(refusal(&request[..end]).is_some(), "{end}: {request:?}");
        }
    }
}

#[test]
fn a_prompt_has_no_escape_sequence_but_colours() {
    let asks = |prompt: Vec<u8>| refusal(&tuple(&[atom("get_line"), atom("unicode"), prompt]));
    for prompt in [&b"> "[..], b"\x1b[1;32m> \x1b[0m", "ü> ".as_bytes()] {
        assert_eq!(asks(binary(prompt)), None);
        assert_eq!(asks(list(&[binary(prompt), b"a\x3e".to_vec()])), None);
    }
    let title = &b"\x1b]0;title\x07"[..];
    for prompt in [title, b"\x1b[2J", b"\x1b", b"\x1b[1", b"\xc2\x9d0;x\x07"] {
        assert!(asks(binary(prompt)).is_some(), "{prompt:?}");
        assert!(asks(list(&[list(&[binary(prompt)])])).is_some());
    }
    assert!(asks(string("\x1b[2J")).is_some());
    assert!(asks(list(&[b"a\x1b".to_vec()])).is_some());
    assert!(asks(list(&[b"a\x9b".to_vec()])).is_some());
    assert!(asks(atom("\x1b[2J")).is_some());
    assert_eq!(asks(atom("name")), None);
    let print = |text: &[u8]| {
        tuple(&[
            atom("requests"),
            list(&[tuple(&[atom("put_chars"), atom("unicode"), binary(text)])]),
        ])
    };
    assert_eq!(refusal(&print(b"text")), None);
    assert_eq!(refusal(&print(title)).as_deref(), Some("put_chars"));
}

#[test]
fn what_a_group_leader_cannot_answer_is_refused() {
    let (unicode, prompt) = (atom("unicode"), binary(b"> "));
    let line = tuple(&[atom("get_line"), unicode.clone(), prompt.clone()]);
    for request in [
        tuple(&[atom("put_chars"), atom("x"), binary(b"a")]),
        tuple(&[atom("put_chars"), binary(b"a")]),
        tuple(&[atom("get_line"), prompt.clone()]),
        tuple(&[atom("get_line"), atom("utf8"), prompt.clone()]),
        tuple(&[atom("get_chars"), prompt.clone(), integer(1)]),
        tuple(&[atom("get_chars"), unicode.clone(), prompt.clone(), atom("x")]),
        tuple(&[atom("get_chars"), unicode.clone(), prompt, b"b\xff\xff\xff\xff".to_vec()]),
        tuple(&[atom("get_password"), unicode]),
        tuple(&[atom("get_geometry"), b"j".to_vec()]),
        tuple(&[atom("requests"), list(&[line])]),
    ] {
        assert!(refusal(&request).is_some(), "{request:?}");
    }
}

#[test]
fn a_prompt_is_judged_in_its_encoding() {
    let asks = |encoding: &str, prompt: &[u8]| {
        refusal(&tuple(&[atom("get_line"), atom(encoding), binary(prompt)]))
    };
    assert_eq!(asks("latin1", b"> "), None);
    for (encoding, prompt) in [
        ("latin1", &b"\x9b2J"[..]),
        ("latin1", "\u{db}".as_bytes()),
        ("unicode", b"\x9b2J"),
        ("unicode", b"\xc2"),
        ("unicode", b"a\rb"),
        ("unicode", b"\x08"),
        ("unicode", b"\x0e"),
        ("unicode", b"\x7f"),
    ] {
        assert!(asks(encoding, prompt).is_some(), "{prompt:?}");
    }
}

#[test]
fn requests_within_requests_have_a_limit() {
    let mut request = tuple(&[atom("put_chars"), atom("unicode"), binary(b"a")]);
    for _ in 0..MAX_DEPTH {
        request = tuple(&[atom("requests"), list(&[request])]);
    }
    assert_eq!(refusal(&request), None);
    let request = tuple(&[atom("requests"), list(&[request])]);
    assert_eq!(refusal(&request).as_deref(), Some("requests"));
}

#[test]
fn text_that_is_formatted_within_requests_is_refused() {
    let format = [string("~ts"), list(&[binary(b"\x1b]0;title\x07")])];
    let print = call("put_chars", &[atom("unicode")], "io_lib", "format", &format);
    assert_eq!(refusal(&print), None, "the printer looks at it");
    let nested = tuple(&[atom("requests"), list(&[print])]);
    assert_eq!(refusal(&nested).as_deref(), Some("put_chars"));
}

#[test]
fn a_judge_gets_no_request_that_only_follows_one_of_its_own() {
    let (unicode, prompt) = (atom("unicode"), binary(b"> "));
    let own = tuple(&[atom("setopts"), list(&[tuple(&[atom("expand_fun"), fun()])])]);
    let parse = call("get_until", &[unicode.clone(), prompt.clone()], "Elixir.IEx", "parse", &[]);
    let judged = |request: &[u8]| super::refusal(request, Server::Judge);
    for request in [own.clone(), parse.clone(), atom("shell_history"), atom("terminal_state")] {
        assert!(refusal(&request).is_some());
        assert_eq!(judged(&request), None);
    }
    for refused in [
        call("put_chars", &[unicode.clone()], "io_lib", "format", &[string("~Kp"), list(&[fun()])]),
        call("put_chars", &[unicode.clone()], "os", "cmd", &[string("id")]),
        tuple(&[atom("get_line"), unicode.clone(), prompt]),
        tuple(&[atom("get_password"), unicode]),
        parse,
    ] {
        let nested = tuple(&[atom("requests"), list(&[own.clone(), refused])]);
        assert!(judged(&nested).is_some(), "{nested:?}");
    }
    assert_eq!(judged(&tuple(&[atom("requests"), list(&[own.clone(), own])])), None);
}
