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

    /// The bytes after the last item that was read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next item; its parts follow.
    pub fn item(&mut self) -> Option<Token<'a>> {
        let Item { token, size, data, .. } = item(self.rest).ok()?;
        self.rest = self.rest.get(size + data as usize..)?;
        Some(token)
    }

    /// The next item, which stays the next one. `None` if it has not arrived.
    pub fn peek(&self) -> Option<Token<'a>> {
        item(self.rest).ok().map(|item| item.token)
    }

    /// The next term as a whole.
    pub fn term(&mut self) -> Option<&'a [u8]> {
        let term = term(self.rest).ok()?;
        self.rest = &self.rest[term.len()..];
        Some(term)
    }

    pub fn atom(&mut self) -> Option<Atom<'a>> {
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
    let encoding = cursor.term()?;
    let mut head = vec![104, 5];
    head.extend(atom(&name.text()));
    head.extend(encoding);
    head.extend(module);
    let ends_list = arity == 3;
    if ends_list {
        // The text is the second argument.
        head.extend([&atom("text")[..], &[108, 0, 0, 0, 2]].concat());
        head.extend(encoding);
    } else {
        let (_io_lib, function) = (cursor.atom()?, cursor.atom()?.text());
        head.extend(atom(if function == "write" { "write" } else { "format" }));
    }
    let (length, rest) = (request.len(), cursor.rest().len());
    Some(Rewritten { head, replaced: length - rest, length, ends_list })
}

/// Whether it is a request to print text.
pub(super) fn prints(request: &[u8]) -> bool {
    let mut cursor = Cursor::new(request);
    let _tuple = cursor.item();
    cursor.atom().is_some_and(|name| name.is("put_chars"))
}

/// Who serves a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    /// A process of OTP, which calls the functions that a request names.
    GroupLeader,
    /// A process that judges such requests itself: it calls the functions in the pod.
    Judge,
}

/// Why a request is refused; `None` if it passes. `request` may end early: it passes only if no rest of it can do harm.
pub(super) fn refusal(request: &[u8], server: Server) -> Option<String> {
    judge(&mut Cursor::new(request), server, 0)
}

fn judge(cursor: &mut Cursor, server: Server, depth: u8) -> Option<String> {
    let (name, arity) = match cursor.item() {
        Some(Token::Atom(atom)) => (atom, 0),
        Some(Token::Tuple(arity @ 1..)) => match cursor.atom() {
            Some(atom) => (atom, arity),
            None => return Some(unknown()),
        },
        _ => return Some(unknown()),
    };
    // The forms without an encoding are older than OTP 25, and a newer group leader ends at some of them. It also ends
    // at input within `requests`.
    let allowed = match (name.text().as_str(), arity) {
        ("setopts" | "terminal_state" | "shell_history", _) if server == Server::Judge => true,
        ("get_until", 5 | 6) if server == Server::Judge && depth == 0 => true,
        ("getopts", 0) => true,
        ("get_geometry", 2) => cursor.atom().is_some(),
        ("put_chars", 3) => match encoding(cursor) {
            // The printer looks at the text.
            Some(_) if depth == 0 => true,
            Some(encoding) => is_plain(cursor, encoding),
            None => false,
        },
        // The printer does not look into `requests`.
        ("put_chars", 5) if depth == 0 && encoding(cursor).is_some() => {
            return called("put_chars", cursor, is_format);
        }
        ("get_line", 3) if depth == 0 => is_prompt(cursor),
        ("get_chars", 4) if depth == 0 => {
            is_prompt(cursor) && matches!(cursor.item(), Some(Token::Integer(0..)))
        }
        ("get_until", 6) if depth == 0 && is_prompt(cursor) => {
            return called("get_until", cursor, is_parser);
        }
        ("setopts", 2) => are_options(cursor),
        ("requests", 2) if depth < MAX_DEPTH => return each(cursor, server, depth),
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
                // What else there is does not have to be there yet: it only limits the text.
                && (arguments.term().is_none() || ends(arguments).unwrap_or(true))
        }
        // `write/2` has an option with a function, so the end of the arguments has to be there.
        ("io_lib", "write", Some(Token::List(1))) => {
            arguments.term().is_some() && ends(arguments) == Some(true)
        }
        // `io_lib:write(65)`: a list of a small integer is a string.
        ("io_lib", "write", Some(Token::String)) => true,
        _ => false,
    }
}

/// Whether a list ends here; `None` if that has not arrived.
fn ends(list: &Cursor) -> Option<bool> {
    list.peek().map(|token| token == Token::Nil)
}

/// Whether a format asks for no width that fills the memory: `~1000000000c`, `~*c`.
fn is_small_format(format: &[u8]) -> bool {
    let Ok(Item { token, size, .. }) = item(format) else { return false };
    let text: Vec<u8> = match token {
        Token::Atom(atom) => atom.text().into_bytes(),
        Token::Binary if format[0] == 109 => format[size..].to_vec(),
        Token::String => format[size..].to_vec(),
        Token::Nil => vec![],
        Token::List(count) => match characters(count, &format[size..]) {
            Some(text) => text,
            None => return false,
        },
        _ => return false,
    };
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split(|byte| *byte == b'~').skip(1).all(|directive| {
        // Width, precision and padding: `~-12.3.0s`
        let field = directive.iter().take_while(|byte| !byte.is_ascii_alphabetic()).count();
        let (field, rest) = directive.split_at(field);
        let is_small = (0..field.len()).all(|at| digits(&field[at..]) <= MAX_DIGITS);
        // A letter can be the padding.
        let after = if field.ends_with(b".") { rest.get(1..).unwrap_or_default() } else { rest };
        let calls = calls_a_function(rest) || calls_a_function(after);
        is_small && !field.contains(&b'*') && !calls
    })
}

/// Whether the modifiers have a `K`: it takes a function from the arguments, and calls it with the keys of a map.
fn calls_a_function(modifiers: &[u8]) -> bool {
    modifiers.iter().take_while(|letter| b"tlkK".contains(letter)).any(|letter| *letter == b'K')
}

/// The characters of a list of `count` numbers, with 0 for each that is not ASCII. `io_lib` takes an empty list within it
/// for a character.
fn characters(count: u32, list: &[u8]) -> Option<Vec<u8>> {
    let (mut cursor, mut text) = (Cursor::new(list), Vec::new());
    for _ in 0..count {
        let Token::Integer(number) = cursor.item()? else { return None };
        text.push(u8::try_from(number).unwrap_or(0));
    }
    (cursor.item()? == Token::Nil).then_some(text)
}

/// Functions in the arguments are refused: `erl_scan:tokens` calls the one in `{reserved_word_fun, fun os:cmd/1}`.
fn is_parser(module: &str, function: &str, arguments: &mut Cursor) -> bool {
    let known = matches!((module, function), ("erl_scan", "tokens") | ("io_lib", "fread"));
    known && arguments.term().is_some_and(has_no_function)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Unicode,
    Latin1,
}

fn encoding(cursor: &mut Cursor) -> Option<Encoding> {
    let name = cursor.atom()?;
    if name.is("unicode") {
        Some(Encoding::Unicode)
    } else {
        name.is("latin1").then_some(Encoding::Latin1)
    }
}

/// An encoding, and a prompt. A prompt can be `{format, Format, Arguments}`, which the group leader formats, and any
/// other term, which it prints.
fn is_prompt(cursor: &mut Cursor) -> bool {
    encoding(cursor).is_some_and(|encoding| is_plain(cursor, encoding))
}

/// Whether a term is text that moves no cursor, and has no escape sequences other than colours.
fn is_plain(cursor: &mut Cursor, encoding: Encoding) -> bool {
    let Some(text) = cursor.term() else { return false };
    let mut rest = text;
    while let Ok(Item { token, size, data, .. }) = item(rest) {
        let (bytes, end) = (&rest[size..], size + data as usize);
        let plain = match token {
            Token::Atom(atom) => is_plain_text(&atom.text()),
            Token::Binary => {
                let bytes = &bytes[..data as usize];
                let plain = str::from_utf8(bytes).is_ok_and(is_plain_text);
                match encoding {
                    Encoding::Unicode => plain,
                    Encoding::Latin1 => plain && !bytes.iter().any(|byte| is_c1((*byte).into())),
                }
            }
            Token::String => bytes[..data as usize].iter().all(|byte| !is_control((*byte).into())),
            Token::Integer(char) => u32::try_from(char).is_ok_and(|char| !is_control(char)),
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

/// All control characters but tab, newline and bell.
fn is_control(char: u32) -> bool {
    let is_text = matches!(char, 0x07 | 0x09 | 0x0a);
    char < 0x20 && !is_text || char == 0x7f || is_c1(char)
}

/// The control characters that begin a sequence alone.
fn is_c1(char: u32) -> bool {
    (0x80..0xa0).contains(&char)
}

fn is_plain_text(text: &str) -> bool {
    let is_colour = |rest: &str| {
        let parameters = rest.strip_prefix('[').unwrap_or_default();
        let is_parameter = |char: char| char.is_ascii_digit() || matches!(char, ';' | ':');
        parameters.trim_start_matches(is_parameter).starts_with('m')
    };
    text.char_indices().all(|(at, char)| match char {
        '\x1b' => is_colour(&text[at + 1..]),
        _ => !is_control(char.into()),
    })
}

fn has_no_function(term: &[u8]) -> bool {
    let mut cursor = Cursor::new(term);
    while !cursor.rest.is_empty() {
        if matches!(cursor.item(), None | Some(Token::Export | Token::Closure(_))) {
            return false;
        }
    }
    true
}

/// What `IEx` sets itself. The user's shell has the same options, and could not be read without its echo.
fn are_options(cursor: &mut Cursor) -> bool {
    let count = match cursor.item() {
        Some(Token::Nil) => return true,
        Some(Token::List(count)) => count,
        _ => return false,
    };
    for _ in 0..count {
        let name = match cursor.item() {
            Some(Token::Atom(atom)) => Some(atom),
            Some(Token::Tuple(2)) => match (cursor.atom(), cursor.atom()) {
                (Some(name), Some(value)) if name.is("binary") => value.is("true").then_some(name),
                (Some(name), Some(value)) if name.is("encoding") => {
                    (value.is("unicode") || value.is("utf8")).then_some(name)
                }
                _ => None,
            },
            _ => None,
        };
        if !name.is_some_and(|name| name.is("binary") || name.is("encoding")) {
            return false;
        }
    }
    cursor.item() == Some(Token::Nil)
}

fn each(cursor: &mut Cursor, server: Server, depth: u8) -> Option<String> {
    let count = match cursor.item() {
        Some(Token::Nil) => return None,
        Some(Token::List(count)) => count,
        _ => return Some(unknown()),
    };
    for _ in 0..count {
        let Some(request) = cursor.term() else { return Some(unknown()) };
        let refused = judge(&mut Cursor::new(request), server, depth + 1);
        if refused.is_some() {
            return refused;
        }
    }
    if cursor.item() == Some(Token::Nil) { None } else { Some(unknown()) }
}

#[cfg(test)]
mod tests;
