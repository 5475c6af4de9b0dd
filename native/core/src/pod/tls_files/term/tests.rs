use super::*;

fn atom(name: &str) -> Term {
    Term::Atom(name.into())
}

fn text(text: &str) -> Term {
    Term::Text(text.into())
}

#[test]
fn terms_as_otp_reads_them() {
    use Term::{List, Map, Other, Tuple};
    for (input, term) in [
        ("[].", List(vec![])),
        (" % comment ]\n[a, 'b c'|'\\'d'] .", List(vec![atom("a"), atom("b c"), atom("'d")])),
        ("{\"a\" \"b\"\n\"c\", <<\"d\"/utf8>>}.", Tuple(vec![text("abc"), text("d")])),
        ("\"\\x41\\x{0000e9}\\102\\n\\\"%\".", text("A\u{e9}B\n\"%")),
        ("\"\\v\\b\\f\\e\\s\\d\\q\\^A\\0\\1234\".", text("\x0b\x08\x0c\x1b \x7fq\x01\0S4")),
        ("[1, -2, 16#ff, 1_000, 1.5e-3, $a, $\\n, $,].", List(vec![Other; 8])),
        ("{verify_fun, fun ssl:check/3, fun 'A':'b'/12}.", {
            Tuple(vec![atom("verify_fun"), Other, Other])
        }),
        ("#{certfile => \"c\"}.", Map(vec![(atom("certfile"), text("c"))])),
        ("#{}.", Map(vec![])),
        ("5.", Other),
        ("a.% the end", atom("a")),
        ("<<>>.", text("")),
        ("<<\"a\", \"b\"/utf8>>.", text("ab")),
        ("<<\"a\", 0>>.", Other),
        ("<<1, 2:8/little-unit:1>>.", Other),
        ("[a|[b]].", List(vec![atom("a"), atom("b")])),
    ] {
        assert_eq!(parse(input), Some(term), "{input}");
    }
}

#[test]
fn malformed_terms() {
    for input in [
        "",
        "[]",
        "[]. []",
        "[].a",
        "[],",
        "Ab.",
        "end.",
        "\u{feff}[].",
        "[a|b,c].",
        "[1a].",
        "[1_].",
        "37#1.",
        "1.5e.",
        "1.5e999.",
        "<<a>>.",
        "<<\"a\"/text>>.",
        "fun a:b/256.",
        "os:getenv(\"X\").",
        "\"a\" ++ \"b\".",
        "\"\\x{ffff}\".",
        ".",
        "%",
        "[",
        "[a",
        "[a,",
        "[a,]",
        "[a b]",
        "{a|b}",
        "\"",
        "\"\\",
        "\"\\x\"",
        "'",
        "$",
        "$\\",
        "<",
        "<<",
        "<<\"a\">",
        "#",
        "#{a}",
        "#{a =>",
        "#{a=1}",
        "fun",
        "fun a",
        "fun a:b/",
        "-",
        "-a",
        "A",
        "]",
        "\"\\x{110000}\"",
        "\"\\x{ffffffff}\"",
    ] {
        assert_eq!(parse(input), None, "{input}");
    }
}

#[test]
fn long_and_deep_texts() {
    let nested = |depth| format!("{}{}.", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(MAX_DEPTH)).is_some());
    assert_eq!(parse(&nested(MAX_DEPTH + 1)), None);
    assert_eq!(parse(&"[".repeat(MAX_LENGTH)), None);
    let long = |length| format!("\"{}\".", "x".repeat(length - 3));
    assert!(parse(&long(MAX_LENGTH)).is_some());
    assert_eq!(parse(&long(MAX_LENGTH + 1)), None);
}

#[test]
fn every_beginning_and_every_changed_byte_ends() {
    let input =
        "% c\n[{server, [{certfile, \"/a\\x{41}\"}, #{k => <<\"v\">>}, fun a:b/1, $\\n, 1.5]}|x].";
    for at in 0..input.len() {
        let _ = parse(&input[..at]);
        for byte in 0..128 {
            let mut changed = input.as_bytes().to_vec();
            changed[at] = byte;
            let _ = parse(&String::from_utf8_lossy(&changed));
        }
    }
}
