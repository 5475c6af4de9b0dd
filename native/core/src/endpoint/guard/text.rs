//! Terms as Elixir writes them, cut at a number of bytes.

use std::fmt::{self, Write};

use super::term::{self, Item, Reference, Token, item};

/// Terms within terms.
const MAX_DEPTH: u8 = 32;
const CUT: &str = "...";

/// The text of the term at the beginning of `bytes`, or what fits of it, and `...`. `bytes` may end early.
pub(super) fn text(bytes: &[u8], limit: usize) -> String {
    let mut writer = Writer { rest: bytes, text: String::new(), limit };
    if writer.term(0).is_err() {
        let mut end = writer.text.len().min(limit);
        while !writer.text.is_char_boundary(end) {
            end -= 1;
        }
        writer.text.truncate(end);
        writer.text.push_str(CUT);
    }
    writer.text
}

/// A name in one line.
pub(super) fn escaped(name: &str) -> String {
    let quoted = Quoted(name).to_string();
    quoted[1..quoted.len() - 1].replace("\\\"", "\"").replace("\\\\", "\\")
}

struct Writer<'a> {
    rest: &'a [u8],
    text: String,
    limit: usize,
}

impl Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.push_str(text);
        if self.text.len() > self.limit { Err(fmt::Error) } else { Ok(()) }
    }
}

impl<'a> Writer<'a> {
    fn term(&mut self, depth: u8) -> fmt::Result {
        let bytes = self.rest;
        let Item { token, size, data, terms } = item(bytes).map_err(|_| fmt::Error)?;
        self.rest = &bytes[size..];
        if depth == MAX_DEPTH {
            return Err(fmt::Error);
        }
        match token {
            Token::Atom(atom) => self.atom(&atom.text()),
            Token::Integer(number) => write!(self, "{number}"),
            Token::Number => self.number(bytes, data),
            Token::Pid(pid) => {
                write!(self, "#PID<{} {}.{}>", Quoted(&pid.node.text()), pid.id, pid.serial)
            }
            Token::Reference(reference) => self.reference(&reference),
            Token::Port(node) => write!(self, "#Port<{}>", Quoted(&node.text())),
            Token::Export => self.fun(3, terms, depth),
            // What it holds is not shown: it may be anything.
            Token::Closure(_) => self.fun(1, terms, depth),
            Token::Nil => self.write_str("[]"),
            Token::String => {
                let bytes = self.data(data);
                self.characters(bytes)
            }
            Token::Binary => {
                let bytes = self.data(data);
                self.binary(bytes)
            }
            Token::Tuple(arity) => {
                self.write_char('{')?;
                self.terms(arity.into(), depth)?;
                self.write_char('}')
            }
            Token::List(length) => {
                self.write_char('[')?;
                self.terms(length.into(), depth)?;
                // The tail
                if self.rest.first() == Some(&106) {
                    self.rest = &self.rest[1..];
                } else {
                    self.write_str(" | ")?;
                    self.term(depth + 1)?;
                }
                self.write_char(']')
            }
            Token::Map => {
                self.write_str("%{")?;
                for at in 0..terms / 2 {
                    self.comma(at)?;
                    self.term(depth + 1)?;
                    self.write_str(" => ")?;
                    self.term(depth + 1)?;
                }
                self.write_char('}')
            }
        }
    }

    fn terms(&mut self, count: u64, depth: u8) -> fmt::Result {
        for at in 0..count {
            self.comma(at)?;
            self.term(depth + 1)?;
        }
        Ok(())
    }

    fn comma(&mut self, at: u64) -> fmt::Result {
        if at > 0 { self.write_str(", ") } else { Ok(()) }
    }

    /// The data of an item, or as much of it as there is: then nothing follows, and the term is cut.
    fn data(&mut self, length: u32) -> &'a [u8] {
        let (data, rest) = self.rest.split_at(self.rest.len().min(length as usize));
        self.rest = rest;
        data
    }

    fn atom(&mut self, text: &str) -> fmt::Result {
        let is_name = |text: &str| {
            let mut chars = text.chars();
            chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
                && chars.all(|char| char.is_ascii_alphanumeric() || "_@?!".contains(char))
        };
        match text.strip_prefix("Elixir.") {
            Some(module) if module.split('.').all(is_name) => self.write_str(module),
            _ if ["true", "false", "nil"].contains(&text) => self.write_str(text),
            _ if is_name(text) => write!(self, ":{text}"),
            _ => write!(self, ":{}", Quoted(text)),
        }
    }

    /// A float, or an integer of any size, whose bytes begin with the lowest.
    fn number(&mut self, item: &[u8], data: u32) -> fmt::Result {
        if item[0] == 70 {
            let bytes = item[1..9].try_into().unwrap_or_default();
            return write!(self, "{:?}", f64::from_be_bytes(bytes));
        }
        let negative = matches!(item, [110, _, 1, ..] | [111, _, _, _, _, 1, ..]);
        let bytes = self.data(data);
        let Some(digits) = bytes.get(..data as usize).filter(|digits| digits.len() <= 15) else {
            return write!(self, "#Integer<{data} bytes>");
        };
        let value = digits.iter().rev().fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
        write!(self, "{}{value}", if negative { "-" } else { "" })
    }

    fn reference(&mut self, reference: &Reference) -> fmt::Result {
        write!(self, "#Reference<{}", Quoted(&reference.node.text()))?;
        for word in reference.words {
            write!(self, ".{word}")?;
        }
        self.write_char('>')
    }

    /// With so many of its terms.
    fn fun(&mut self, shown: u64, terms: u64, depth: u8) -> fmt::Result {
        self.write_str("#Function<")?;
        self.terms(shown, depth)?;
        for _ in shown..terms {
            let hidden = term::term(self.rest).map_err(|_| fmt::Error)?;
            self.rest = &self.rest[hidden.len()..];
        }
        self.write_char('>')
    }

    fn binary(&mut self, bytes: &[u8]) -> fmt::Result {
        match str::from_utf8(bytes) {
            Ok(text) => write!(self, "{}", Quoted(text)),
            // Cut within a character
            Err(error) if error.error_len().is_none() && self.rest.is_empty() => {
                let text = str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
                write!(self, "{}", Quoted(text))?;
                Err(fmt::Error)
            }
            Err(_) => {
                self.write_str("<<")?;
                self.numbers(bytes)?;
                self.write_str(">>")
            }
        }
    }

    /// A list of small numbers: text, if all are printable.
    fn characters(&mut self, bytes: &[u8]) -> fmt::Result {
        if bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t')) {
            let text = str::from_utf8(bytes).unwrap_or_default();
            return write!(self, "~c{}", Quoted(text));
        }
        self.write_char('[')?;
        self.numbers(bytes)?;
        self.write_char(']')
    }

    fn numbers(&mut self, bytes: &[u8]) -> fmt::Result {
        for (at, byte) in bytes.iter().enumerate() {
            self.comma(at as u64)?;
            write!(self, "{byte}")?;
        }
        Ok(())
    }
}

/// In quotes, and in one line.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_char('"')?;
        for char in self.0.chars() {
            match char {
                '"' | '\\' => write!(f, "\\{char}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                // Whoever reads the file in a terminal must not be fooled by characters without a width.
                _ if char.is_control() || is_format(char) => {
                    write!(f, "\\x{{{:X}}}", u32::from(char))?;
                }
                _ => f.write_char(char)?,
            }
        }
        f.write_char('"')
    }
}

/// Characters that change the direction of text, or have no width.
fn is_format(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests;
