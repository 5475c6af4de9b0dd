use super::{super::encode::*, *};

fn shown(term: &[u8]) -> String {
    text(term, 1000)
}

#[test]
fn each_term_has_a_text() {
    let map = [&b"t\0\0\0\x01"[..], &atom("a"), &integer(1)].concat();
    let improper = [&b"l\0\0\0\x01"[..], &integer(1), &atom("b")].concat();
    let function = [&b"q"[..], &atom("os"), &atom("cmd"), &integer(1)].concat();
    for (term, expected) in [
        (atom("ok"), ":ok"),
        (atom("Elixir.Shop.Cart"), "Shop.Cart"),
        (atom("true"), "true"),
        (atom("app@10.0.0.1"), r#":"app@10.0.0.1""#),
        (atom("a@b"), ":a@b"),
        (integer(255), "255"),
        (b"b\xff\xff\xff\xff".to_vec(), "-1"),
        (b"n\x08\x01\0\0\0\0\0\0\0\x80".to_vec(), "-9223372036854775808"),
        (
            b"n\x10\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
            "#Integer<16 bytes>",
        ),
        ([&b"F"[..], &1.5_f64.to_be_bytes()].concat(), "1.5"),
        (binary("tea \"ö\"\n".as_bytes()), r#""tea \"ö\"\n""#),
        (binary(b"\xff\0"), "<<255, 0>>"),
        (string("tea"), r#"~c"tea""#),
        (string("\x01a"), "[1, 97]"),
        (list(&[integer(1), atom("b")]), "[1, :b]"),
        (improper, "[1 | :b]"),
        (b"j".to_vec(), "[]"),
        (tuple(&[]), "{}"),
        (tuple(&[atom("a"), tuple(&[integer(1)])]), "{:a, {1}}"),
        (map, "%{:a => 1}"),
        (pid(POD, 9), r#"#PID<"app@10.0.0.1" 9.0>"#),
        (reference(POD, 5), r#"#Reference<"app@10.0.0.1".0.0.5.0.0>"#),
        (function, "#Function<:os, :cmd, 1>"),
    ] {
        assert_eq!(shown(&term), expected);
    }
}

#[test]
fn what_a_closure_holds_is_not_shown() {
    // One free variable, after module, old index, old uniq and pid
    let head = [&b"p\0\0\0\0\x01"[..], &[0; 16], &[0; 4], &[0, 0, 0, 1]].concat();
    let closure =
        [head, atom("m"), integer(1), integer(2), pid(POD, 1), binary(b"secret")].concat();
    assert_eq!(shown(&tuple(&[closure.clone(), atom("b")])), "{#Function<:m>, :b}");
    let large = closure[..closure.len() - binary(b"secret").len()].to_vec();
    let large = [large, binary("secret".repeat(1000).as_bytes())].concat();
    assert_eq!(shown(&tuple(&[large.clone(), atom("b")])), "{#Function<:m>, :b}");
    assert_eq!(shown(&tuple(&[large])[..200]), "{#Function<:m...");
}

#[test]
fn it_stays_in_one_line_and_in_its_direction() {
    for text in ["a\x1b[2J", "a\u{9b}b", "a\u{202e}b", "a\r\nb", "\u{feff}", "\u{2028}"] {
        let shown = shown(&binary(text.as_bytes()));
        assert!(!shown.chars().any(|char| char.is_control() || is_format(char)), "{shown}");
    }
    assert_eq!(shown(&binary(b"\x1b")), r#""\x{1B}""#);
}

#[test]
fn names_are_escaped() {
    assert_eq!(escaped("Elixir.Shop"), "Elixir.Shop");
    assert_eq!(escaped("a \"b\" \\ c"), "a \"b\" \\ c");
    assert_eq!(escaped("a\u{9b}\u{202e}\nb"), "a\\x{9B}\\x{202E}\\nb");
}

#[test]
fn it_is_cut() {
    let long = binary("ö".repeat(10_000).as_bytes());
    let cut = text(&long, 100);
    assert!(cut.ends_with("ö...") && cut.len() <= 103, "{cut}");
    let wide = list(&vec![atom("a"); 10_000]);
    assert!(text(&wide, 50).starts_with("[:a, :a") && text(&wide, 50).len() <= 53);
    let deep: Vec<u8> = (0..1_000_000).flat_map(|_| [104, 1]).collect();
    assert_eq!(shown(&deep), format!("{}...", "{".repeat(32)));
    // Of more terms than there are bytes
    assert_eq!(shown(b"i\xff\xff\xff\xff"), "{...");
    assert_eq!(shown(b""), "...");
}

#[test]
fn bytes_that_end_early_are_shown_as_far_as_they_go() {
    let whole = tuple(&[atom("a"), binary("tea ö".as_bytes()), integer(7)]);
    for end in 0..whole.len() {
        let shown = shown(&whole[..end]);
        assert!(shown.ends_with("..."), "{shown}");
    }
    assert_eq!(shown(&whole[..whole.len() - 3]), r#"{:a, "tea "..."#);
}
