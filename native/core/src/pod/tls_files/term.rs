//! Erlang terms, as OTP reads the file of `-ssl_dist_optfile`: one expression that ends with a dot. An expression that
//! is no plain term, such as a call, is not evaluated.
//!
//! <https://www.erlang.org/doc/system/reference_manual#terms>

use scan::Scanner;

mod scan;

/// The longest text. The API server takes objects of 1 MiB.
const MAX_LENGTH: usize = 256 * 1024;
const MAX_DEPTH: usize = 32;

/// The types of a segment of a binary, without `unit`.
const SEGMENT_TYPES: [&str; 14] = [
    "integer",
    "float",
    "binary",
    "bytes",
    "bitstring",
    "bits",
    "utf8",
    "utf16",
    "utf32",
    "signed",
    "unsigned",
    "big",
    "little",
    "native",
];

/// A term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Term {
    Atom(String),
    /// A string, or a binary of strings.
    Text(String),
    /// The tail of an improper list is one more item.
    List(Vec<Term>),
    Tuple(Vec<Term>),
    Map(Vec<(Term, Term)>),
    /// A number, a character, a fun or another binary.
    Other,
}

/// The term of a text; `None` where it is malformed, too long or too deep.
pub(super) fn parse(text: &str) -> Option<Term> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let mut parser = Parser { input: Scanner::new(text) };
    let term = parser.term(MAX_DEPTH)?;
    parser.input.end().map(|()| term)
}

struct Parser<'a> {
    input: Scanner<'a>,
}

impl Parser<'_> {
    fn term(&mut self, depth: usize) -> Option<Term> {
        let depth = depth.checked_sub(1)?;
        match self.input.peek()? {
            '[' => self.list(depth).map(Term::List),
            '{' => {
                self.input.expect("{")?;
                self.items("}", depth).map(Term::Tuple)
            }
            '#' => {
                self.input.expect("#")?;
                self.input.expect("{")?;
                self.pairs(depth).map(Term::Map)
            }
            '<' => self.binary(depth),
            '"' => self.strings().map(Term::Text),
            '\'' => self.input.name().map(Term::Atom),
            '-' | '+' => self.signed(),
            '$' => self.input.character().map(|()| Term::Other),
            '0'..='9' => self.input.number().map(|_| Term::Other),
            _ if self.input.skip_word("fun") => self.fun(),
            _ => self.input.name().map(Term::Atom),
        }
    }

    /// The terms up to the end of a tuple.
    fn items(&mut self, end: &str, depth: usize) -> Option<Vec<Term>> {
        let mut items = Vec::new();
        if self.input.skip(end) {
            return Some(items);
        }
        loop {
            items.push(self.term(depth)?);
            if self.input.skip(end) {
                return Some(items);
            }
            self.input.expect(",")?;
        }
    }

    fn list(&mut self, depth: usize) -> Option<Vec<Term>> {
        self.input.expect("[")?;
        let mut items = Vec::new();
        if self.input.skip("]") {
            return Some(items);
        }
        loop {
            items.push(self.term(depth)?);
            if self.input.skip("|") {
                match self.term(depth)? {
                    Term::List(tail) => items.extend(tail),
                    tail => items.push(tail),
                }
                return self.input.expect("]").map(|()| items);
            }
            if self.input.skip("]") {
                return Some(items);
            }
            self.input.expect(",")?;
        }
    }

    fn pairs(&mut self, depth: usize) -> Option<Vec<(Term, Term)>> {
        let mut pairs = Vec::new();
        if self.input.skip("}") {
            return Some(pairs);
        }
        loop {
            let key = self.term(depth)?;
            self.input.expect("=>")?;
            pairs.push((key, self.term(depth)?));
            if self.input.skip("}") {
                return Some(pairs);
            }
            self.input.expect(",")?;
        }
    }

    fn binary(&mut self, depth: usize) -> Option<Term> {
        self.input.expect("<<")?;
        let mut text = Some(String::new());
        if self.input.skip(">>") {
            return text.map(Term::Text);
        }
        loop {
            let is_string = self.input.peek() == Some('"');
            let segment = self.term(depth)?;
            let is_plain = self.segment_type(depth)?;
            text = match (segment, text) {
                (Term::Text(segment), Some(text)) if is_string && is_plain => Some(text + &segment),
                (Term::Text(_) | Term::Other, _) => None,
                _ => return None,
            };
            if self.input.skip(">>") {
                return Some(text.map_or(Term::Other, Term::Text));
            }
            self.input.expect(",")?;
        }
    }

    /// The size and the types of a segment. Whether a string of that segment is the text as it stands.
    fn segment_type(&mut self, depth: usize) -> Option<bool> {
        let mut is_plain = true;
        if self.input.skip(":") {
            is_plain = false;
            // Sizes of other kinds are for expressions.
            (self.term(depth)? == Term::Other).then_some(())?;
        }
        if !self.input.skip("/") {
            return Some(is_plain);
        }
        loop {
            let name = self.input.name()?;
            is_plain &= name == "utf8";
            if name == "unit" {
                self.input.expect(":")?;
                self.input.peek()?;
                self.input.number()?;
            } else if !SEGMENT_TYPES.contains(&name.as_str()) {
                return None;
            }
            if !self.input.skip("-") {
                return Some(is_plain);
            }
        }
    }

    /// Strings next to each other are one.
    fn strings(&mut self) -> Option<String> {
        let mut text = self.input.quoted('"')?;
        while self.input.peek() == Some('"') {
            text.push_str(&self.input.quoted('"')?);
        }
        Some(text)
    }

    fn signed(&mut self) -> Option<Term> {
        self.input.sign()?;
        match self.input.peek()? {
            '$' => self.input.character().map(|()| Term::Other),
            _ => self.input.number().map(|_| Term::Other),
        }
    }

    /// The rest of `fun module:name/1`.
    fn fun(&mut self) -> Option<Term> {
        self.input.name()?;
        self.input.expect(":")?;
        self.input.name()?;
        self.input.expect("/")?;
        self.input.arity().map(|()| Term::Other)
    }
}

#[cfg(test)]
mod otp;
#[cfg(test)]
mod tests;
