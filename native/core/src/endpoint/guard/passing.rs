//! A message from the pod that passes. It is well-formed, but OTP may refuse it, such as a map with equal keys. Its atoms
//! and functions, which a VM never frees, are counted, and the processes and references of the local node that it names
//! are noted.
//!
//! Two kinds of atoms are changed: `error_info`, because formatting an exception calls the function that it names in a stack
//! trace, and the pod can send one; and the name of a [`Late`] command.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use super::{
    Peers,
    capabilities::Named,
    packets::Piece,
    payload::Late,
    refusal::{Kind, Refusal},
    scan::Scan,
    session::{Error, HASHER, Session},
    term::{Atom, Item, Token},
};

const CALLED: &str = "error_info";
/// In place of the last byte of an atom that is changed.
const CHANGED: u8 = b'_';

/// The state of a message that passes.
#[derive(Debug, Default)]
pub(super) struct Passing {
    scan: Scan,
    /// An item that is cut. It passes together with its rest.
    held: Vec<u8>,
    /// The function that the next items name.
    function: Option<Function>,
    /// A command that can come in the rest.
    late: Option<Late>,
}

#[derive(Debug)]
struct Function {
    hasher: <RandomState as BuildHasher>::Hasher,
    /// Items of its name to come.
    left: u8,
    /// Whether it is a closure, which has other numbers.
    is_closure: bool,
}

impl Passing {
    pub fn new(late: Option<Late>) -> Self {
        Self { late, ..Self::default() }
    }

    /// Reads more of the message; `complete`: whether this is its end. Returns the positions of the bytes that have to
    /// change, counted from the beginning of the item that was cut before.
    ///
    /// # Errors
    /// What ends the session.
    pub fn read(
        &mut self,
        bytes: &[u8],
        complete: bool,
        peers: &mut Peers,
        session: &Session,
    ) -> Result<Vec<usize>, Error> {
        let Self { scan, function, late, .. } = self;
        let (from, mut marks) = (scan.at(), vec![]);
        let mut see = |item: &Item, at: usize| {
            if let Some(named) = function {
                named.see(&item.token)?;
                if named.left == 0 {
                    session.see_function(named.hasher.finish())?;
                    *function = None;
                }
            }
            let commands = late.as_mut().is_some_and(|late| late.see(item));
            match &item.token {
                Token::Atom(atom) => {
                    if commands {
                        session.refuse(Refusal::new(Kind::Message, &atom.text()));
                    }
                    if commands || atom.is(CALLED) {
                        marks.push(at - from + item.size - 1);
                    }
                    session.see_atom(atom)
                }
                Token::Port(node) => session.see_atom(node),
                Token::Pid(pid) => {
                    session.see_atom(&pid.node)?;
                    peers.note(&pid.node, Named::Process((*pid).into()), session)
                }
                Token::Reference(reference) => {
                    session.see_atom(&reference.node)?;
                    peers.note(&reference.node, Named::Alias((*reference).into()), session)
                }
                Token::Export => {
                    *function = Some(Function::new(false));
                    Ok(())
                }
                Token::Closure(identity) => {
                    let mut closure = Function::new(true);
                    identity.hash(&mut closure.hasher);
                    *function = Some(closure);
                    Ok(())
                }
                _ => Ok(()),
            }
        };
        scan.feed(bytes, &mut see)?;
        if complete && !scan.is_complete() { Err("length of a message".into()) } else { Ok(marks) }
    }

    /// The bytes of a piece that pass. Its first `before` bytes were not read.
    pub fn pass(&mut self, piece: Piece, input: &[u8], before: usize, marks: &[usize]) -> Piece {
        if marks.is_empty() && self.held.is_empty() && self.scan.cut() == 0 {
            return piece;
        }
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(piece.bytes(input));
        change(&mut bytes[before..], marks);
        Piece::Held(self.hold(bytes).into())
    }

    /// Keeps an item back that is cut.
    pub fn hold(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        self.held = bytes.split_off(bytes.len().saturating_sub(self.scan.cut()));
        bytes
    }
}

impl Function {
    /// A module, a function and an arity; or a module, an index and a unique number.
    fn new(is_closure: bool) -> Self {
        Self { hasher: HASHER.build_hasher(), left: 3, is_closure }
    }

    fn see(&mut self, token: &Token) -> Result<(), Error> {
        match token {
            Token::Atom(Atom::Utf8(text)) => text.hash(&mut self.hasher),
            Token::Atom(atom) => atom.text().as_str().hash(&mut self.hasher),
            Token::Integer(number) if self.is_closure || (0..=255).contains(number) => {
                number.hash(&mut self.hasher);
            }
            Token::Number if self.is_closure => {}
            _ => return Err("function".into()),
        }
        self.left -= 1;
        Ok(())
    }
}

/// Changes the atoms at these positions.
pub(super) fn change(bytes: &mut [u8], marks: &[usize]) {
    for mark in marks {
        if let Some(byte) = bytes.get_mut(*mark) {
            *byte = CHANGED;
        }
    }
}
