//! The payload of a message to a process. OTP's processes handle messages with certain tags as commands, and a process of
//! OTP may have been given out; a group leader always is.
//!
//! Only the beginning of a message is looked at. If what would decide there has not arrived, the message counts as a
//! command, or is [`Late`].

use super::{
    io_request::Cursor,
    term::{Atom, Reference, Token, VERSION},
};

mod commands;
mod late;

use commands::{COMMANDS, Found, OF_A_SHELL, PURGES, command};
pub(super) use late::Late;

/// A payload.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Payload<'a> {
    /// Any message.
    Message,
    /// `{Tag, Answer}`, where the tag is this reference or `[alias | Reference]`.
    Reply {
        to: Reference<'a>,
        /// What else is in the tag.
        tag: Tag<'a>,
        /// Whether it can also be a command of `rpc` or others, which take any term for the sender.
        is_command: bool,
    },
    /// Tuples that begin with this.
    Command(String),
    /// Whether it is a command shows when more of it arrives.
    Late(Late),
    /// Keys or text of a terminal, which a group leader takes for the user's.
    Input,
    IoRequest {
        /// Who gets the answer.
        from: &'a [u8],
        reply_as: &'a [u8],
        request: &'a [u8],
    },
}

/// What the tag of an answer has next to its reference. `gen_server:multi_call` gives several nodes the same reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag<'a> {
    /// Nothing.
    Plain,
    /// The node that was called: `{Reference, Node}`, in OTP 25.
    Node(Atom<'a>),
    /// The monitor of the process that was called: `[[alias | Reference] | Monitor]`.
    Monitor(Reference<'a>),
}

/// A command that has not arrived.
const UNKNOWN: &str = "unknown";

/// Reads a payload from its beginning.
pub(super) fn payload(bytes: &[u8]) -> Payload<'_> {
    let mut cursor = Cursor::new(bytes.strip_prefix(&[VERSION]).unwrap_or_default());
    let arity = match cursor.peek() {
        None => return Payload::Command(UNKNOWN.into()),
        Some(Token::Tuple(arity @ 1..)) => arity,
        Some(_) => return Payload::Message,
    };
    let _tuple = cursor.item();
    let first = cursor.peek();
    if matches!(first, Some(Token::Atom(_) | Token::Pid(_) | Token::Port(_))) {
        let _first = cursor.item();
    }
    match first {
        None => Payload::Command(UNKNOWN.into()),
        Some(Token::Atom(tag)) if tag.is("io_request") => {
            io_request(arity, cursor).unwrap_or_else(|| Payload::Command("io_request".into()))
        }
        Some(Token::Atom(tag)) if COMMANDS.iter().any(|handled| tag.is(handled)) => {
            Payload::Command(tag.text())
        }
        Some(Token::Atom(tag)) if tag.is("log") && matches!(arity, 4 | 5) => {
            Payload::Command("log".into())
        }
        // A group leader answers for another process.
        Some(Token::Atom(tag)) if tag.is("reply") && is_answer(arity, cursor) => {
            Payload::Command("reply".into())
        }
        // Of a timer, which is of the VM of the process
        Some(Token::Atom(tag)) if tag.is("timeout") && arity == 3 => {
            Payload::Command("timeout".into())
        }
        // `{'Elixir.Module.ParallelChecker', stop}`
        Some(Token::Atom(tag)) if tag.is("Elixir.Module.ParallelChecker") => {
            Payload::Command(tag.text())
        }
        // `{eval, Server, …}`
        Some(Token::Atom(tag))
            if OF_A_SHELL.iter().any(|text| tag.is(text))
                && matches!(cursor.peek(), None | Some(Token::Pid(_))) =>
        {
            Payload::Command(tag.text())
        }
        Some(Token::Atom(tag))
            if PURGES.iter().any(|(text, size)| *size == arity && tag.is(text)) =>
        {
            Payload::Command(tag.text())
        }
        Some(Token::Pid(_) | Token::Port(_)) if is_input(arity, cursor) => Payload::Input,
        Some(_) => match (answer(bytes), command(arity, bytes)) {
            (Some((to, tag)), found) => Payload::Reply { to, tag, is_command: found.is_some() },
            (None, None) => Payload::Message,
            (None, Some(Found::Command(name))) => Payload::Command(name),
            (None, Some(Found::Nothing)) => Payload::Late(Late::new(arity)),
        },
    }
}

/// The reference of an answer.
pub(super) fn reply_to(payload: &[u8]) -> Option<Reference<'_>> {
    answer(payload).map(|(to, _tag)| to)
}

fn answer(payload: &[u8]) -> Option<(Reference<'_>, Tag<'_>)> {
    let mut cursor = Cursor::new(payload.strip_prefix(&[VERSION])?);
    if cursor.item()? != Token::Tuple(2) {
        return None;
    }
    tag_of(cursor)
}

/// The reference of a tag, and what else is in it: `Reference`, `[alias | Reference]`, or as `gen_server:multi_call` has
/// it.
pub(super) fn tag_of(mut cursor: Cursor<'_>) -> Option<(Reference<'_>, Tag<'_>)> {
    match cursor.item()? {
        Token::Reference(reference) => Some((reference, Tag::Plain)),
        Token::Tuple(2) => Some((next_reference(&mut cursor)?, Tag::Node(cursor.atom()?))),
        Token::List(1) => {
            let is_nested = cursor.peek()? == Token::List(1);
            if is_nested {
                cursor.item()?;
            }
            cursor.atom().filter(|name| name.is("alias"))?;
            let alias = next_reference(&mut cursor)?;
            let tag =
                if is_nested { Tag::Monitor(next_reference(&mut cursor)?) } else { Tag::Plain };
            Some((alias, tag))
        }
        _ => None,
    }
}

fn next_reference<'a>(cursor: &mut Cursor<'a>) -> Option<Reference<'a>> {
    match cursor.item()? {
        Token::Reference(reference) => Some(reference),
        _ => None,
    }
}

/// `{io_request, From, ReplyAs, Request}`. A requester that is no process is refused without an answer.
fn io_request(arity: u32, mut cursor: Cursor<'_>) -> Option<Payload<'_>> {
    let mut asked = cursor;
    if arity != 4 || !matches!(asked.item()?, Token::Pid(_)) {
        return None;
    }
    let (from, reply_as) = (cursor.term()?, cursor.term()?);
    Some(Payload::IoRequest { from, reply_as, request: cursor.rest() })
}

/// `{reply, {{From, ReplyAs}, Reply}}`, and since OTP 26 `{reply, {From, ReplyAs}, Reply}`.
fn is_answer(arity: u32, mut cursor: Cursor) -> bool {
    match cursor.peek() {
        None => return matches!(arity, 2 | 3),
        Some(Token::Tuple(2)) => cursor.item(),
        Some(_) => return false,
    };
    match arity {
        2 => matches!(cursor.peek(), None | Some(Token::Tuple(2))),
        3 => matches!(cursor.peek(), None | Some(Token::Pid(_))),
        _ => false,
    }
}

/// What `user_drv` sends to a group leader, and what sets a terminal.
fn is_input(arity: u32, mut cursor: Cursor) -> bool {
    if arity == 3 {
        let modes = ["echo", "terminal_mode", "set_unicode_state"];
        return match cursor.peek() {
            None => true,
            Some(Token::Atom(mode)) => modes.iter().any(|text| mode.is(text)),
            Some(_) => false,
        };
    }
    if arity != 2 {
        return false;
    }
    if let Some(Token::Tuple(_)) = cursor.peek() {
        let _tuple = cursor.item();
    }
    let Some(tag) = cursor.peek() else { return true };
    let tags = [
        "data",
        "eof",
        "activate",
        "reply",
        "error",
        "tty_geometry",
        "get_unicode_state",
        "editor_data",
    ];
    matches!(tag, Token::Atom(tag) if tags.iter().any(|text| tag.is(text)))
}

#[cfg(test)]
mod tests;
