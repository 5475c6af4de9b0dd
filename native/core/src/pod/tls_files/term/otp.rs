//! Terms of option files, as this reader and an OTP read them.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fmt::Write;

use super::*;

/// `test/terms/options.exs` writes the file.
#[test]
#[ignore = "needs texts of an OTP"]
fn option_files_are_read_as_by_otp() {
    let file = std::env::var("K8S_CONNECT_OPTION_FILES");
    let bytes = std::fs::read(file.expect("K8S_CONNECT_OPTION_FILES names a file")).unwrap();
    let (mut rest, mut different) = (&bytes[..], vec![]);
    let (mut terms, mut expressions, mut refused) = (0, 0, 0);
    while let Some((text, after)) = field(rest) {
        let (expected, after) = field(after).unwrap();
        let read = parse(text).map(|term| written(&term));
        let same = match expected {
            "refused" => {
                refused += 1;
                read.is_none()
            }
            // OTP evaluates it, and that can fail: for example, a binary can have a segment of an impossible size.
            "expression" => {
                expressions += 1;
                read.is_none() || text.contains("<<")
            }
            expected => {
                terms += 1;
                read.as_deref() == Some(expected)
            }
        };
        if !same {
            different.push(format!("{text:?}\n  OTP:  {expected:?}\n  ours: {read:?}"));
        }
        rest = after;
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
    let cases = terms + expressions + refused;
    println!("{cases} cases: {terms} terms, {expressions} expressions, {refused} malformed");
    assert!(terms > 5000 && expressions > 100 && refused > 1000);
}

/// A length and a text.
fn field(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (text, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
    Some((std::str::from_utf8(text).unwrap(), rest))
}

/// The term as `test/terms/options.exs` writes it.
fn written(term: &Term) -> String {
    let all = |terms: &[Term]| terms.iter().map(written).collect::<String>();
    match term {
        Term::Atom(name) => format!("atom {} {name}", name.len()),
        Term::Text(text) => format!("text {} {text}", text.len()),
        Term::List(items) => format!("list {} {}", items.len(), all(items)),
        Term::Tuple(items) => format!("tuple {} {}", items.len(), all(items)),
        Term::Map(pairs) => {
            let mut text = format!("map {} ", pairs.len());
            for (key, value) in pairs {
                write!(text, "{}{}", written(key), written(value)).unwrap();
            }
            text
        }
        Term::Other => "other ".into(),
    }
}
