//! Requests of the I/O protocol: <https://www.erlang.org/doc/apps/stdlib/io_protocol.html>. A group leader calls the
//! functions that some of them name, so only those pass that name none, or one that only formats or parses.

use super::{
    encode::atom,
    term::{Atom, Item, Token, item, term},
};

/// Of requests in a request.
const MAX_DEPTH: u8 = 8;
/// Digits of a number in a format: 999 columns.
const MAX_DIGITS: usize = 3;

/// Reads terms one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// What was not read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next item; its parts follow.
    pub fn item(&mut self) -> Option<Token<'a>> {
        let Item { token, size, data, .. } = item(self.rest).ok()?;
        self.rest = self.rest.get(size + data as usize..)?;
        Some(token)
    }

    /// The next term as a whole.
    pub fn term(&mut self) -> Option<&'a [u8]> {
        let term = term(self.rest).ok()?;
        self.rest = &self.rest[term.len()..];
        Some(term)
    }

    fn atom(&mut self) -> Option<Atom<'a>> {
        match self.item()? {
            Token::Atom(atom) => Some(atom),
            _ => None,
        }
    }
}

/// A request of the group leader with the text that the terminal gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rewritten {
    /// The beginning of the request.
    pub head: Vec<u8>,
    /// Bytes of the old request that this replaces.
    pub replaced: usize,
    /// Bytes of the old request that have arrived.
    pub length: usize,
    /// Whether a list has to be ended after the request.
    pub ends_list: bool,
}

/// The request to print text, changed so that the group leader calls a function of this Elixir module: `text(Encoding,
/// Text)` or `format(Format, Arguments)` or `write(Term)`. `None` for other requests.
pub(super) fn printed_by(module: &str, request: &[u8]) -> Option<Rewritten> {
    let mut cursor = Cursor::new(request);
    let Token::Tuple(arity) = cursor.item()? else { return None };
    let name = cursor.atom().filter(|name| name.is("put_chars"))?;
    let module = atom(module);
    let encoding = match arity {
        3 | 5 => Some(cursor.term()?),
        _ => None,
    };
    let mut head = vec![104, 5 - u8::from(encoding.is_none())];
    head.extend(atom(&name.text()));
    head.extend(encoding.unwrap_or_default());
    head.extend(module);
    let ends_list = arity < 4;
    if ends_list {
        // The text is the second argument.
        head.extend([&atom("text")[..], &[108, 0, 0, 0, 2]].concat());
        head.extend(encoding.map_or_else(|| atom("latin1"), <[u8]>::to_vec));
    } else {
        let (_io_lib, function) = (cursor.atom()?, cursor.atom()?.text());
        head.extend(atom(if function == "write" { "write" } else { "format" }));
    }
    let (length, rest) = (request.len(), cursor.rest().len());
    Some(Rewritten { head, replaced: length - rest, length, ends_list })
}

/// What a request would do that it may not; `None` if it passes. `request` may end early: then what is not seen has to
/// be harmless, whatever it is.
pub(super) fn refusal(request: &[u8]) -> Option<String> {
    judge(&mut Cursor::new(request), 0)
}

fn judge(cursor: &mut Cursor, depth: u8) -> Option<String> {
    let (name, arity) = match cursor.item() {
        Some(Token::Atom(atom)) => (atom, 0),
        Some(Token::Tuple(arity @ 1..)) => match cursor.atom() {
            Some(atom) => (atom, arity),
            None => return Some(unknown()),
        },
        _ => return Some(unknown()),
    };
    let allowed = match (name.text().as_str(), arity) {
        ("getopts", 0) | ("get_geometry", 2) => true,
        ("put_chars", 2) => depth == 0 || is_plain(cursor),
        ("put_chars", 3) => depth == 0 || cursor.term().is_some() && is_plain(cursor),
        ("put_chars", 4) => return called("put_chars", cursor, is_format),
        ("put_chars", 5) => {
            return cursor
                .term()
                .map_or_else(|| Some(unknown()), |_| called("put_chars", cursor, is_format));
        }
        ("get_line", 2) | ("get_chars", 3) => is_prompt(cursor),
        ("get_line" | "get_password", 3) | ("get_chars", 4) => {
            cursor.term().is_some() && is_prompt(cursor)
        }
        ("get_until", 5) if is_prompt(cursor) => return called("get_until", cursor, is_parser),
        ("get_until", 6) if cursor.term().is_some() && is_prompt(cursor) => {
            return called("get_until", cursor, is_parser);
        }
        ("setopts", 2) => are_options(cursor),
        ("requests", 2) if depth < MAX_DEPTH => return each(cursor, depth),
        _ => false,
    };
    (!allowed).then(|| name.text())
}

fn unknown() -> String {
    "unknown".into()
}

/// The function that a request names, unless it may be called.
fn called(
    request: &str,
    cursor: &mut Cursor,
    allowed: impl Fn(&str, &str, &mut Cursor) -> bool,
) -> Option<String> {
    let (Some(module), Some(function)) = (cursor.atom(), cursor.atom()) else {
        return Some(unknown());
    };
    let (module, function) = (module.text(), function.text());
    if allowed(&module, &function, cursor) {
        return None;
    }
    Some(format!("{request} with {module}:{function}"))
}

/// `io:format` leaves the formatting to the group leader.
fn is_format(module: &str, function: &str, arguments: &mut Cursor) -> bool {
    match (module, function, arguments.item()) {
        ("io_lib", "format" | "fwrite", Some(Token::List(2))) => {
            arguments.term().is_some_and(is_small_format)
        }
        // `io_lib:write(65)`: a list of a small integer is a string.
        ("io_lib", "write", Some(Token::List(1) | Token::String)) => true,
        _ => false,
    }
}

/// Whether a format asks for no width that fills the memory: `~1000000000c`, `~*c`.
fn is_small_format(format: &[u8]) -> bool {
    let Ok(Item { token, size, .. }) = item(format) else { return false };
    let text: Vec<u8> = match token {
        Token::Atom(atom) => atom.text().into_bytes(),
        Token::Binary if format[0] == 109 => format[size..].to_vec(),
        Token::String => format[size..].to_vec(),
        Token::Nil => vec![],
        Token::List(_) => match characters(&format[size..]) {
            Some(text) => text,
            None => return false,
        },
        _ => return false,
    };
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split(|byte| *byte == b'~').skip(1).all(|directive| {
        // Width, precision and padding: `~-12.3.0s`
        let field = directive.iter().take_while(|byte| !byte.is_ascii_alphabetic()).count();
        let field = &directive[..field];
        !field.contains(&b'*') && (0..field.len()).all(|at| digits(&field[at..]) <= MAX_DIGITS)
    })
}

/// The characters of a list of numbers, with 0 for each that is not ASCII.
fn characters(list: &[u8]) -> Option<Vec<u8>> {
    let (mut cursor, mut text) = (Cursor::new(list), Vec::new());
    loop {
        match cursor.item()? {
            Token::Integer(number) => text.push(u8::try_from(number).unwrap_or(0)),
            Token::Nil => return Some(text),
            _ => return None,
        }
    }
}

/// Functions in the arguments are refused: `erl_scan:tokens` calls the one in `{reserved_word_fun, fun os:cmd/1}`.
fn is_parser(module: &str, function: &str, arguments: &mut Cursor) -> bool {
    let known = matches!((module, function), ("erl_scan", "tokens") | ("io_lib", "fread"));
    known && arguments.term().is_some_and(has_no_function)
}

/// A prompt can be `{format, Format, Arguments}`, which the group leader formats, and any other term, which it prints.
fn is_prompt(cursor: &mut Cursor) -> bool {
    is_plain(cursor)
}

/// Whether a term is text without escape sequences other than colours.
fn is_plain(cursor: &mut Cursor) -> bool {
    let Some(text) = cursor.term() else { return false };
    let mut rest = text;
    while let Ok(Item { token, size, data, .. }) = item(rest) {
        let (bytes, end) = (&rest[size..], size + data as usize);
        let plain = match token {
            Token::Atom(atom) => is_plain_utf8(atom.text().as_bytes()),
            Token::Binary => is_plain_utf8(&bytes[..data as usize]),
            Token::String => bytes[..data as usize].iter().all(|byte| !is_control((*byte).into())),
            Token::Integer(char) => !is_control(char),
            Token::Nil | Token::List(_) => true,
            _ => false,
        };
        if !plain {
            return false;
        }
        rest = &rest[end..];
    }
    rest.is_empty()
}

/// ESC, and the control characters that begin a sequence alone.
fn is_control(char: i32) -> bool {
    char == 0x1b || (0x80..0xa0).contains(&char)
}

fn is_plain_utf8(text: &[u8]) -> bool {
    let is_colour = |rest: &[u8]| {
        let parameters = rest.strip_prefix(b"[").unwrap_or_default();
        parameters.iter().find(|byte| !matches!(byte, b'0'..=b'9' | b';' | b':')) == Some(&b'm')
    };
    (0..text.len()).all(|at| match text[at] {
        0x1b => is_colour(&text[at + 1..]),
        0xc2 => !text.get(at + 1).is_some_and(|byte| (0x80..0xa0).contains(byte)),
        _ => true,
    })
}

fn has_no_function(term: &[u8]) -> bool {
    let mut cursor = Cursor::new(term);
    while !cursor.rest.is_empty() {
        if matches!(cursor.item(), None | Some(Token::Fun)) {
            return false;
        }
    }
    true
}

fn are_options(cursor: &mut Cursor) -> bool {
    let count = match cursor.item() {
        Some(Token::Nil) => return true,
        Some(Token::List(count)) => count,
        _ => return false,
    };
    for _ in 0..count {
        let name = match cursor.item() {
            Some(Token::Atom(atom)) => Some(atom),
            Some(Token::Tuple(2)) => cursor.atom().filter(|_| cursor.term().is_some()),
            _ => None,
        };
        let harmless = ["binary", "list", "encoding", "echo", "onlcr"];
        if !name.is_some_and(|name| harmless.iter().any(|text| name.is(text))) {
            return false;
        }
    }
    cursor.item() == Some(Token::Nil)
}

fn each(cursor: &mut Cursor, depth: u8) -> Option<String> {
    let count = match cursor.item() {
        Some(Token::Nil) => return None,
        Some(Token::List(count)) => count,
        _ => return Some(unknown()),
    };
    for _ in 0..count {
        let Some(request) = cursor.term() else { return Some(unknown()) };
        let refused = judge(&mut Cursor::new(request), depth + 1);
        if refused.is_some() {
            return refused;
        }
    }
    if cursor.item() == Some(Token::Nil) { None } else { Some(unknown()) }
}

#[cfg(test)]
mod tests;
