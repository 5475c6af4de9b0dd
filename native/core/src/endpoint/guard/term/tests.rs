#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::*;

fn token(bytes: &[u8]) -> Token<'_> {
    let item = item(bytes).unwrap();
    assert_eq!((item.size, item.data, item.terms), (bytes.len(), 0, 0));
    item.token
}

#[test]
fn an_atom_is_the_same_in_each_encoding() {
    for bytes in [&b"d\0\x02ok"[..], b"s\x02ok", b"v\0\x02ok", b"w\x02ok"] {
        let Token::Atom(atom) = token(bytes) else { panic!("no atom") };
        assert!(atom.is("ok") && !atom.is("o") && atom.text() == "ok");
    }
    let Token::Atom(atom) = token(b"s\x01\xfc") else { panic!("no atom") };
    assert_eq!(atom.text(), "ü");
    assert_eq!(token(b"w\x02\xc3\xbc"), Token::Atom(Atom::Utf8("ü")));
}

#[test]
fn an_atom_that_otp_refuses_is_malformed() {
    let long = |tag, text: &[u8]| {
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        [&[tag], &length[..], text].concat()
    };
    for (bytes, fits) in [
        (long(100, &[b'a'; 255]), true),
        (long(100, &[b'a'; 256]), false),
        (long(118, "ü".repeat(255).as_bytes()), true),
        (long(118, "ü".repeat(256).as_bytes()), false),
        (long(118, &[0xff]), false),
        (long(118, &[b'a'; 2000]), false),
    ] {
        assert_eq!(matches!(item(&bytes), Err(Stop::Malformed(_))), !fits);
        assert_eq!(item(&bytes).is_ok(), fits);
    }
}

#[test]
fn identifiers_have_their_fields() {
    let node = Atom::Utf8("a@b");
    let pid = Pid { node, id: 1, serial: 2, creation: 3 };
    assert_eq!(token(b"Xw\x03a@b\0\0\0\x01\0\0\0\x02\0\0\0\x03"), Token::Pid(pid));
    assert_eq!(token(b"gw\x03a@b\0\0\0\x01\0\0\0\x02\x03"), Token::Pid(pid));
    let words = [1, 2, 3, 0, 0];
    let reference = Token::Reference(Reference { node, creation: 9, words });
    assert_eq!(token(b"Z\0\x03w\x03a@b\0\0\0\x09\0\0\0\x01\0\0\0\x02\0\0\0\x03"), reference);
    assert_eq!(token(b"r\0\x03w\x03a@b\x09\0\0\0\x01\0\0\0\x02\0\0\0\x03"), reference);
    let old = Token::Reference(Reference { node, creation: 9, words: [1, 0, 0, 0, 0] });
    assert_eq!(token(b"ew\x03a@b\0\0\0\x01\x09"), old);
    for port in [
        &b"Yw\x03a@b\0\0\0\x01\0\0\0\x02"[..],
        b"fw\x03a@b\0\0\0\x01\x02",
        b"xw\x03a@b\0\0\0\0\0\0\0\x01\0\0\0\x02",
    ] {
        assert_eq!(token(port), Token::Port(node));
    }
    for malformed in [&b"Xm\0\0\0\0"[..], b"Z\0\x06w\x01a", b"Z\0\0w\x01a"] {
        assert!(matches!(item(malformed), Err(Stop::Malformed(_))), "{malformed:?}");
    }
}

#[test]
fn numbers_and_data_are_skipped_by_their_length() {
    assert_eq!(token(b"a\xff"), Token::Integer(255));
    assert_eq!(token(b"b\xff\xff\xff\xff"), Token::Integer(-1));
    assert_eq!(token(b"F\0\0\0\0\0\0\0\0"), Token::Number);
    for (bytes, kind) in [
        (&b"n\x02\0xx"[..], Token::Number),
        (b"o\0\0\0\x02\x01xx", Token::Number),
        (b"m\0\0\0\x02xx", Token::Binary),
        (b"M\0\0\0\x02\x07xx", Token::Binary),
        (b"k\0\x02xx", Token::String),
    ] {
        let item = item(bytes).unwrap();
        assert_eq!((item.token, item.size, item.data, item.terms), (kind, bytes.len() - 2, 2, 0));
        assert_eq!(term(bytes), Ok(bytes));
    }
}

#[test]
fn the_parts_of_a_term_are_counted_as_otp_counts_them() {
    let parts = |bytes: &[u8]| item(bytes).unwrap().terms;
    assert_eq!(parts(b"h\x03"), 3);
    assert_eq!(parts(b"i\xff\xff\xff\xff"), 0xffff_ffff);
    assert_eq!(parts(b"l\0\0\0\x02"), 3, "with the tail");
    assert_eq!(parts(b"t\0\0\0\x02"), 4);
    assert_eq!(parts(b"j"), 0);
    assert_eq!(parts(b"q"), 3);
    // A wrong size in a closure does not count.
    let fun = [&b"p\xff\xff\xff\xff\x01"[..], &[7; 16], &[0, 0, 0, 1], &[0, 0, 0, 2]].concat();
    assert_eq!(parts(&fun), 4 + 2);
}

#[test]
fn a_term_ends_with_its_last_part() {
    let whole = b"h\x02l\0\0\0\x01a\x01jm\0\0\0\x01x";
    assert_eq!(term(&[&whole[..], b"rest"].concat()), Ok(&whole[..]));
    for end in 0..whole.len() {
        assert_eq!(term(&whole[..end]), Err(Stop::Incomplete), "{end}");
    }
    assert!(matches!(term(b"h\x01\x00"), Err(Stop::Malformed(_))));
    // FLOAT_EXT is older than OTP 25, which may fail to decode it.
    assert!(matches!(term(&[&b"c"[..], &[0; 31]].concat()), Err(Stop::Malformed(_))));
    // OTP decodes this as `{system}`.
    assert!(matches!(term(b"l\0\0\0\0h\x01w\x06system"), Err(Stop::Malformed(_))));
    assert_eq!(term(b"m\xff\xff\xff\xffx"), Err(Stop::Incomplete));
}

/// `test/terms/generate.exs` writes the file.
#[test]
#[ignore = "needs terms of an OTP"]
fn terms_have_the_size_and_the_names_that_otp_finds() {
    let file = std::env::var("K8S_CONNECT_TERMS").expect("K8S_CONNECT_TERMS names a file");
    let bytes = std::fs::read(file).unwrap();
    let mut cases = Cases(&bytes);
    let (mut decoded_intact, mut decoded_broken, mut refused) = (0, 0, 0);
    while let Some(case) = cases.next() {
        let Case { intact, bytes, decoded, used, shape, names } = case;
        if !decoded {
            assert!(!intact, "OTP has written it");
            // Whatever it is, reading it ends.
            let _ = term(&bytes[1..]);
            continue;
        }
        match term(&bytes[1..]) {
            Ok(read) => {
                assert_eq!(read.len() + 1, used, "{bytes:?}");
                assert_eq!(shape_of(read, 2), shape, "{bytes:?}");
                let seen = seen(read);
                assert!(names.is_subset(&seen), "{names:?}, but seen {seen:?} in {bytes:?}");
                if intact { decoded_intact += 1 } else { decoded_broken += 1 }
            }
            // The guard may refuse more than OTP, but nothing that OTP writes.
            Err(stop) => {
                assert!(!intact, "{stop:?}: {bytes:?}");
                refused += 1;
            }
        }
    }
    println!(
        "{decoded_intact} terms, {decoded_broken} changed ones, {refused} refused that OTP decodes"
    );
    assert!(decoded_intact > 1000 && decoded_broken > 1000);
}

struct Case<'a> {
    intact: bool,
    bytes: &'a [u8],
    decoded: bool,
    used: usize,
    shape: String,
    names: BTreeSet<String>,
}

struct Cases<'a>(&'a [u8]);

impl<'a> Cases<'a> {
    fn next(&mut self) -> Option<Case<'a>> {
        let intact = *self.0.first()? == 1;
        self.take(1);
        let length = self.number(4);
        let bytes = self.take(length);
        let decoded = self.take(1) == [1];
        let used = self.number(4);
        let length = self.number(2);
        let shape = String::from_utf8(self.take(length).to_vec()).unwrap();
        let names = (0..self.number(2))
            .map(|_| {
                let length = self.number(2);
                String::from_utf8(self.take(length).to_vec()).unwrap()
            })
            .collect();
        Some(Case { intact, bytes, decoded, used, shape, names })
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn number(&mut self, bytes: usize) -> usize {
        self.take(bytes).iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }
}

/// What the guard takes a term for, as `generate.exs` writes it.
fn shape_of(whole: &[u8], depth: u8) -> String {
    let Item { token, size, .. } = item(whole).unwrap();
    let mut rest = &whole[size..];
    match token {
        Token::Nil => "n".into(),
        Token::Atom(_) => "a".into(),
        Token::String if rest.is_empty() => "n".into(),
        Token::String | Token::List(_) if depth == 0 => "l".into(),
        Token::String => "l(x)".into(),
        Token::List(_) => format!("l({})", shape_of(term(rest).unwrap(), depth - 1)),
        Token::Tuple(arity) if depth == 0 => format!("t{arity}"),
        Token::Tuple(arity) => {
            let parts = (0..arity).map(|_| {
                let part = term(rest).unwrap();
                rest = &rest[part.len()..];
                shape_of(part, depth - 1)
            });
            format!("t{arity}({})", parts.collect::<Vec<_>>().join(","))
        }
        _ => "x".into(),
    }
}

fn seen(term: &[u8]) -> BTreeSet<String> {
    let (mut at, mut seen) = (0, BTreeSet::new());
    while at < term.len() {
        let item = item(&term[at..]).unwrap();
        match item.token {
            Token::Atom(atom) | Token::Port(atom) => seen.insert(atom.text()),
            Token::Pid(pid) => seen.insert(pid.node.text()),
            Token::Reference(reference) => seen.insert(reference.node.text()),
            _ => false,
        };
        at += item.size + item.data as usize;
    }
    seen
}

#[test]
fn a_closure_has_few_variables() {
    let closure = |count: u32| [&b"p"[..], &[0; 25], &count.to_be_bytes()].concat();
    assert_eq!(item(&closure(255)).map(|item| item.terms), Ok(4 + 255));
    assert_eq!(item(&closure(256)), Err(Stop::Malformed("closure")));
}

/// The VM writes each byte of a message that it cannot decode to its log.
#[test]
fn what_otp_does_not_decode_is_malformed() {
    for (malformed, what) in [
        (&b"F\x7f\xf8\0\0\0\0\0\0"[..], "float"),
        (b"F\xff\xf0\0\0\0\0\0\0", "float"),
        (b"M\0\0\0\x01\x09\xff", "bits of a binary"),
        (b"M\0\0\0\x01\0\xff", "bits of a binary"),
        (b"M\0\0\0\0\x01", "bits of a binary"),
        (b"u\0\0\0\0", "unknown tag"),
    ] {
        assert_eq!(item(malformed), Err(Stop::Malformed(what)), "{malformed:?}");
    }
    assert!(item(b"M\0\0\0\0\0").is_ok() && item(b"F\x7f\xef\0\0\0\0\0\0").is_ok());
}
