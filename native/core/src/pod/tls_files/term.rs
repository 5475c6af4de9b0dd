//! Erlang terms, as `file:consult/1` reads them, as far as the options of TLS distribution need them.
//!
//! <https://www.erlang.org/doc/system/reference_manual#terms>

use std::{iter::Peekable, str::Chars};

/// The longest text. The API server takes objects of 1 MiB.
const MAX_LENGTH: usize = 256 * 1024;
const MAX_DEPTH: usize = 32;

/// A term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Term {
    Atom(String),
    /// A string or a binary.
    Text(String),
    List(Vec<Term>),
    Tuple(Vec<Term>),
    Map(Vec<(Term, Term)>),
    /// A number, a character or a fun.
    Other,
}

/// The first term of a text; `None` where it is malformed, too long or too deep.
pub(super) fn parse(text: &str) -> Option<Term> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    Parser { input: text.chars().peekable() }.term(MAX_DEPTH)
}

struct Parser<'a> {
    input: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    fn term(&mut self, depth: usize) -> Option<Term> {
        let depth = depth.checked_sub(1)?;
        match self.peek()? {
            '[' => {
                self.input.next();
                self.items(']', depth).map(Term::List)
            }
            '{' => {
                self.input.next();
                self.items('}', depth).map(Term::Tuple)
            }
            '#' => {
                self.input.next();
                self.expect('{')?;
                self.pairs(depth).map(Term::Map)
            }
            '<' => self.binary(),
            '"' => self.strings().map(Term::Text),
            '\'' => self.quoted('\'').map(Term::Atom),
            '$' => {
                self.input.next();
                match self.input.next()? {
                    '\\' => self.escape().map(|_| Term::Other),
                    _ => Some(Term::Other),
                }
            }
            '-' | '+' => {
                self.input.next();
                self.number()
            }
            letter if letter.is_ascii_digit() => self.number(),
            letter if letter.is_lowercase() => self.word(),
            _ => None,
        }
    }

    /// The terms up to the end of a list or tuple.
    fn items(&mut self, end: char, depth: usize) -> Option<Vec<Term>> {
        let mut items = Vec::new();
        if self.skip(end) {
            return Some(items);
        }
        loop {
            items.push(self.term(depth)?);
            if self.skip(end) {
                return Some(items);
            }
            // The tail of an improper list is one more item.
            if !(self.skip(',') || end == ']' && self.skip('|')) {
                return None;
            }
        }
    }

    fn pairs(&mut self, depth: usize) -> Option<Vec<(Term, Term)>> {
        let mut pairs = Vec::new();
        if self.skip('}') {
            return Some(pairs);
        }
        loop {
            let key = self.term(depth)?;
            self.expect('=')?;
            self.input.next_if_eq(&'>')?;
            pairs.push((key, self.term(depth)?));
            if self.skip('}') {
                return Some(pairs);
            }
            self.expect(',')?;
        }
    }

    /// A binary with a string, or another one, which is no path.
    fn binary(&mut self) -> Option<Term> {
        self.input.next();
        self.input.next_if_eq(&'<')?;
        let mut text = String::new();
        loop {
            match self.peek()? {
                '"' => text.push_str(&self.strings()?),
                '>' => {
                    self.input.next();
                    return self.input.next_if_eq(&'>').map(|_| Term::Text(text));
                }
                _ => {
                    self.input.next();
                }
            }
        }
    }

    /// Strings next to each other are one.
    fn strings(&mut self) -> Option<String> {
        let mut text = self.quoted('"')?;
        while self.peek() == Some('"') {
            text.push_str(&self.quoted('"')?);
        }
        Some(text)
    }

    fn quoted(&mut self, end: char) -> Option<String> {
        self.input.next();
        let mut text = String::new();
        loop {
            match self.input.next()? {
                '\\' => text.push(self.escape()?),
                letter if letter == end => return Some(text),
                letter => text.push(letter),
            }
        }
    }

    /// The character after a backslash.
    fn escape(&mut self) -> Option<char> {
        let code = match self.input.next()? {
            'n' => return Some('\n'),
            't' => return Some('\t'),
            'r' => return Some('\r'),
            's' => return Some(' '),
            '^' => u32::from(self.input.next()?) & 0x1f,
            'x' => {
                if self.input.next_if_eq(&'{').is_some() {
                    let code = self.digits(16, 6)?;
                    self.input.next_if_eq(&'}')?;
                    code
                } else {
                    self.digits(16, 2)?
                }
            }
            digit @ '0'..='7' => {
                let first = digit.to_digit(8)?;
                let mut code = first;
                for _ in 0..2 {
                    let Some(next) = self.input.next_if(|next| next.is_digit(8)) else { break };
                    code = code * 8 + next.to_digit(8)?;
                }
                code
            }
            letter => return Some(letter),
        };
        char::from_u32(code)
    }

    fn digits(&mut self, base: u32, max: usize) -> Option<u32> {
        let mut code = None;
        for _ in 0..max {
            let Some(digit) = self.input.next_if(|next| next.is_digit(base)) else { break };
            code = Some(code.unwrap_or(0) * base + digit.to_digit(base)?);
        }
        code
    }

    /// An integer of any base, or a float.
    fn number(&mut self) -> Option<Term> {
        let is_digit = |letter: &char| letter.is_ascii_alphanumeric() || "_#".contains(*letter);
        self.input.next_if(char::is_ascii_digit)?;
        while self.input.next_if(is_digit).is_some() {}
        // The dot at the end of the term is followed by no digit.
        let mut ahead = self.input.clone();
        if ahead.next() == Some('.') && ahead.next().is_some_and(|next| next.is_ascii_digit()) {
            self.input.next();
            let is_rest = |letter: &char| letter.is_ascii_digit() || "eE+-".contains(*letter);
            while self.input.next_if(is_rest).is_some() {}
        }
        Some(Term::Other)
    }

    /// An atom, or `fun module:name/1`.
    fn word(&mut self) -> Option<Term> {
        let word = self.atom();
        if word != "fun" {
            return Some(Term::Atom(word));
        }
        self.name()?;
        self.expect(':')?;
        self.name()?;
        self.expect('/')?;
        self.peek()?;
        self.number()
    }

    fn name(&mut self) -> Option<()> {
        match self.peek()? {
            '\'' => self.quoted('\'').map(|_| ()),
            letter if letter.is_lowercase() => {
                self.atom();
                Some(())
            }
            _ => None,
        }
    }

    fn atom(&mut self) -> String {
        let mut atom = String::new();
        let is_letter = |letter: &char| letter.is_alphanumeric() || "_@".contains(*letter);
        while let Some(letter) = self.input.next_if(is_letter) {
            atom.push(letter);
        }
        atom
    }

    /// The next character that is neither space nor in a comment.
    fn peek(&mut self) -> Option<char> {
        loop {
            match self.input.peek()? {
                '%' => while self.input.next_if(|letter| *letter != '\n').is_some() {},
                letter if letter.is_whitespace() => {
                    self.input.next();
                }
                letter => return Some(*letter),
            }
        }
    }

    fn skip(&mut self, letter: char) -> bool {
        self.peek() == Some(letter) && self.input.next().is_some()
    }

    fn expect(&mut self, letter: char) -> Option<()> {
        self.skip(letter).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(name: &str) -> Term {
        Term::Atom(name.into())
    }

    fn text(text: &str) -> Term {
        Term::Text(text.into())
    }

    #[test]
    fn terms_as_file_consult_reads_them() {
        use Term::{List, Map, Other, Tuple};
        for (input, term) in [
            ("[].", List(vec![])),
            (" % comment ]\n[a, 'b c'|'\\'d'] .", List(vec![atom("a"), atom("b c"), atom("'d")])),
            ("{\"a\" \"b\"\n\"c\", <<\"d\"/utf8>>}.", Tuple(vec![text("abc"), text("d")])),
            ("\"\\x41\\x{e9}\\102\\n\\\"%\"", text("A\u{e9}B\n\"%")),
            ("[1, -2, 16#ff, 1_000, 1.5e-3, $a, $\\n, $,].", List(vec![Other; 8])),
            ("{verify_fun, fun ssl:check/3, fun 'A':'b'/12}.", {
                Tuple(vec![atom("verify_fun"), Other, Other])
            }),
            ("#{certfile => \"c\"}.", Map(vec![(atom("certfile"), text("c"))])),
            ("#{}", Map(vec![])),
            ("5.", Other),
            ("<<1,2:8>>", text("")),
        ] {
            assert_eq!(parse(input), Some(term), "{input}");
        }
    }

    #[test]
    fn malformed_terms() {
        for input in [
            "",
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
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(MAX_DEPTH)).is_some());
        assert_eq!(parse(&nested(MAX_DEPTH + 1)), None);
        assert_eq!(parse(&"[".repeat(MAX_LENGTH)), None);
        let long = |length| format!("\"{}\"", "x".repeat(length - 2));
        assert!(parse(&long(MAX_LENGTH)).is_some());
        assert_eq!(parse(&long(MAX_LENGTH + 1)), None);
    }

    #[test]
    fn every_beginning_and_every_changed_byte_ends() {
        let input = "% c\n[{server, [{certfile, \"/a\\x{41}\"}, #{k => <<\"v\">>}, fun a:b/1, $\\n, 1.5]}|x].";
        for at in 0..input.len() {
            let _ = parse(&input[..at]);
            for byte in 0..128 {
                let mut changed = input.as_bytes().to_vec();
                changed[at] = byte;
                let _ = parse(&String::from_utf8_lossy(&changed));
            }
        }
    }
}
