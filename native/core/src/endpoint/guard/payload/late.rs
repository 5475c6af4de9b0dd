//! A command behind a large element, which has not arrived when the message is judged. The message passes, because the
//! VM takes no part of it before it is complete. When the name of the command arrives, its last letter is changed.

use super::{
    super::term::{Item, Token},
    commands::is_command,
};

/// What precedes the elements: the control term, and the tuple itself.
const BEFORE: u32 = 2;

/// The position in a message whose payload is a tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Late {
    /// Of the tuple.
    arity: u32,
    /// Terms that have begun: the control term, then the elements.
    begun: u32,
    /// Items that the current term still needs.
    left: u64,
    /// The size of a tuple whose first element is next.
    inner: Option<u32>,
}

impl Late {
    /// For a payload that is a tuple of this size. Begins with the control term.
    pub fn new(arity: u32) -> Self {
        Self { arity, begun: 0, left: 0, inner: None }
    }

    /// Whether the next item of the message is the name of a command.
    pub fn see(&mut self, item: &Item) -> bool {
        let begins = self.left == 0;
        if begins {
            self.begun += 1;
            if self.begun == BEFORE {
                return false;
            }
            self.left = 1;
        }
        let inner = self.inner.take();
        self.left = (self.left - 1).saturating_add(item.terms);
        if begins && let Token::Tuple(arity @ 1..) = item.token {
            self.inner = Some(arity);
        }
        let Token::Atom(name) = item.token else { return false };
        let element = self.begun.saturating_sub(BEFORE);
        (begins || inner.is_some()) && is_command(self.arity, element, inner, &name.text())
    }
}
