//! Reads terms in the external format without building them:
//! <https://www.erlang.org/doc/apps/erts/erl_ext_dist.html>.
//!
//! An [`Item`] is a tag with the fields before any other term. It says how many bytes of data and how many terms follow,
//! as OTP's own decoder counts them, so whoever skips terms needs a counter and no recursion.

/// Characters of an atom.
const MAX_ATOM: usize = 255;
/// 32 bit words of a reference.
const MAX_WORDS: usize = 5;
/// Free variables of a closure.
const MAX_VARIABLES: u32 = 255;
/// No item is longer: the longest is a reference of a node whose name has the most bytes.
pub(super) const MAX_ITEM: usize = 3 + (3 + 4 * MAX_ATOM) + 4 + 4 * MAX_WORDS;
/// The version of the format, before each term.
pub(super) const VERSION: u8 = 131;

/// Why there is no item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The bytes end within it.
    Incomplete,
    /// OTP would not decode it, or not as a term of its own.
    Malformed(&'static str),
}

/// The text of an atom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Atom<'a> {
    Utf8(&'a str),
    Latin1(&'a [u8]),
}

impl Atom<'_> {
    /// Whether it is this text.
    pub fn is(&self, text: &str) -> bool {
        match self {
            Self::Utf8(own) => *own == text,
            Self::Latin1(own) => own.iter().map(|byte| char::from(*byte)).eq(text.chars()),
        }
    }

    /// Its text: the same for both encodings.
    pub fn text(&self) -> String {
        match self {
            Self::Utf8(own) => (*own).to_owned(),
            Self::Latin1(own) => own.iter().map(|byte| char::from(*byte)).collect(),
        }
    }
}

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pid<'a> {
    pub node: Atom<'a>,
    pub id: u32,
    pub serial: u32,
    pub creation: u32,
}

/// A reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    pub node: Atom<'a>,
    pub creation: u32,
    pub words: [u32; MAX_WORDS],
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Atom(Atom<'a>),
    /// 32 bits; larger ones and floats are a `Number`.
    Integer(i32),
    Number,
    Pid(Pid<'a>),
    Reference(Reference<'a>),
    Port(Atom<'a>),
    Nil,
    String,
    List(u32),
    Tuple(u32),
    Map,
    Binary,
    /// A function of a module: the module, the function and the arity follow.
    Export,
    /// A closure by what makes it different within its module, which follows.
    Closure(&'a [u8]),
}

/// A tag and its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub token: Token<'a>,
    /// Bytes of the item.
    pub size: usize,
    /// Bytes of data that follow.
    pub data: u32,
    /// Terms that follow and are parts of it.
    pub terms: u64,
}

/// The item at the beginning of `bytes`.
pub(super) fn item(bytes: &[u8]) -> Result<Item<'_>, Stop> {
    let mut input = Input { bytes, at: 0 };
    let (token, data, terms) = match input.u8()? {
        97 => (Token::Integer(input.u8()?.into()), 0, 0),
        98 => (Token::Integer(i32::from_be_bytes(input.array()?)), 0, 0),
        70 => {
            if !f64::from_be_bytes(input.array()?).is_finite() {
                return Err(Stop::Malformed("float"));
            }
            (Token::Number, 0, 0)
        }
        // The sign is a byte after the length.
        110 => {
            let length = input.u8()?;
            (input.skipped(1, Token::Number)?, length.into(), 0)
        }
        111 => {
            let length = input.u32()?;
            (input.skipped(1, Token::Number)?, length, 0)
        }
        tag @ (100 | 115 | 118 | 119) => (Token::Atom(input.atom_of(tag)?), 0, 0),
        88 => (Token::Pid(input.pid(4)?), 0, 0),
        103 => (Token::Pid(input.pid(1)?), 0, 0),
        89 => (input.port(4 + 4)?, 0, 0),
        102 => (input.port(4 + 1)?, 0, 0),
        120 => (input.port(8 + 4)?, 0, 0),
        101 => (Token::Reference(input.reference(1, 1)?), 0, 0),
        tag @ (90 | 114) => {
            let words = input.u16()?;
            let creation = if tag == 90 { 4 } else { 1 };
            (Token::Reference(input.reference(words.into(), creation)?), 0, 0)
        }
        106 => (Token::Nil, 0, 0),
        107 => (Token::String, input.u16()?.into(), 0),
        109 => (Token::Binary, input.u32()?, 0),
        77 => {
            let (length, bits) = (input.u32()?, input.u8()?);
            if bits > 8 || (bits == 0) != (length == 0) {
                return Err(Stop::Malformed("bits of a binary"));
            }
            (Token::Binary, length, 0)
        }
        104 => {
            let arity = input.u8()?;
            (Token::Tuple(arity.into()), 0, arity.into())
        }
        105 => {
            let arity = input.u32()?;
            (Token::Tuple(arity), 0, arity.into())
        }
        108 => {
            let length = input.u32()?;
            // OTP decodes it to its tail, which can be any term.
            if length == 0 {
                return Err(Stop::Malformed("list without elements"));
            }
            (Token::List(length), 0, u64::from(length) + 1)
        }
        116 => (Token::Map, 0, 2 * u64::from(input.u32()?)),
        113 => (Token::Export, 0, 3),
        // Size, arity, uniq, index; then the free variables, after module, old index, old uniq and pid. OTP does not
        // use the size.
        112 => {
            input.take(4)?;
            let identity = input.take(1 + 16 + 4)?;
            let variables = input.u32()?;
            // Some releases of OTP do not check this, and their closures have room for no more.
            if variables > MAX_VARIABLES {
                return Err(Stop::Malformed("closure"));
            }
            (Token::Closure(identity), 0, 4 + u64::from(variables))
        }
        _ => return Err(Stop::Malformed("unknown tag")),
    };
    Ok(Item { token, size: input.at, data, terms })
}

/// The bytes of the whole term at the beginning of `bytes`.
pub(super) fn term(bytes: &[u8]) -> Result<&[u8], Stop> {
    let (mut at, mut terms) = (0_usize, 1_u64);
    while terms > 0 {
        let item = item(bytes.get(at..).ok_or(Stop::Incomplete)?)?;
        at = at.saturating_add(item.size).saturating_add(item.data as usize);
        terms = terms - 1 + item.terms;
    }
    bytes.get(..at).ok_or(Stop::Incomplete)
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let taken = self.bytes.get(self.at..self.at + length).ok_or(Stop::Incomplete)?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        self.take(N)?.try_into().map_err(|_| Stop::Incomplete)
    }

    fn u8(&mut self) -> Result<u8, Stop> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, Stop> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Stop> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn skipped(&mut self, length: usize, token: Token<'a>) -> Result<Token<'a>, Stop> {
        self.take(length).map(|_| token)
    }

    /// The name of a node is an atom of any encoding.
    fn node(&mut self) -> Result<Atom<'a>, Stop> {
        match self.u8()? {
            tag @ (100 | 115 | 118 | 119) => self.atom_of(tag),
            _ => Err(Stop::Malformed("node name")),
        }
    }

    fn atom_of(&mut self, tag: u8) -> Result<Atom<'a>, Stop> {
        let short = matches!(tag, 115 | 119);
        let length = if short { self.u8()?.into() } else { usize::from(self.u16()?) };
        let utf8 = matches!(tag, 118 | 119);
        if length > if utf8 { 4 * MAX_ATOM } else { MAX_ATOM } {
            return Err(Stop::Malformed("atom length"));
        }
        let text = self.take(length)?;
        if !utf8 {
            return Ok(Atom::Latin1(text));
        }
        let text = str::from_utf8(text).map_err(|_| Stop::Malformed("atom encoding"))?;
        if text.chars().count() > MAX_ATOM {
            return Err(Stop::Malformed("atom length"));
        }
        Ok(Atom::Utf8(text))
    }

    fn creation(&mut self, size: usize) -> Result<u32, Stop> {
        if size == 4 { self.u32() } else { Ok(self.u8()?.into()) }
    }

    fn pid(&mut self, creation: usize) -> Result<Pid<'a>, Stop> {
        let (node, id, serial) = (self.node()?, self.u32()?, self.u32()?);
        Ok(Pid { node, id, serial, creation: self.creation(creation)? })
    }

    fn port(&mut self, size: usize) -> Result<Token<'a>, Stop> {
        let node = self.node()?;
        self.skipped(size, Token::Port(node))
    }

    fn reference(&mut self, count: usize, creation: usize) -> Result<Reference<'a>, Stop> {
        if !(1..=MAX_WORDS).contains(&count) {
            return Err(Stop::Malformed("reference length"));
        }
        let node = self.node()?;
        let before = if creation == 4 { Some(self.u32()?) } else { None };
        // REFERENCE_EXT has its creation at the end.
        let old = self.bytes.first() == Some(&101);
        let before = if before.is_none() && !old { Some(self.creation(1)?) } else { before };
        let mut words = [0; MAX_WORDS];
        for word in &mut words[..count] {
            *word = self.u32()?;
        }
        let creation = match before {
            Some(creation) => creation,
            None => self.creation(1)?,
        };
        Ok(Reference { node, creation, words })
    }
}

#[cfg(test)]
mod tests;
