//! Bytes to text, as go-yaml reads them.

use std::borrow::Cow;

use super::{Invalid, Position};

/// UTF-8, or UTF-16 with its byte order mark, as PowerShell writes files.
pub(super) fn decode(input: &[u8]) -> Result<Cow<'_, str>, Invalid> {
    let wide = |unit: fn([u8; 2]) -> u16| {
        let units = input[2..].chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        text.ok().filter(|_| input.len().is_multiple_of(2)).map(Cow::Owned)
    };
    let text = match input {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => str::from_utf8(rest).ok().map(Cow::Borrowed),
        _ => str::from_utf8(input).ok().map(Cow::Borrowed),
    };
    let text = text.ok_or(Invalid { at: None, problem: "this is not UTF-8 text" })?;
    match text.char_indices().find(|(_, letter)| !is_allowed(*letter)) {
        Some((index, _)) => {
            let at = position(&text[..index]);
            Err(Invalid::new(at, "there is a control character"))
        }
        None => Ok(text),
    }
}

fn is_allowed(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
}

fn position(before: &str) -> Position {
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Position { line, column }
}
