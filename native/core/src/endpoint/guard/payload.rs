//! What a message to a process says. OTP's processes handle messages with certain tags as commands. The pod may have been
//! told of a process of OTP, and always is of a group leader.
//!
//! Only the beginning of a message is looked at. What would decide there and has not arrived might be a command.

use super::{
    io_request::Cursor,
    term::{Atom, Reference, Token, VERSION},
};

mod commands;

use commands::{COMMANDS, OF_A_SHELL, PURGES, command};

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
            (Some((to, tag)), command) => Payload::Reply { to, tag, is_command: command.is_some() },
            (None, command) => command.map_or(Payload::Message, Payload::Command),
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
mod tests {
    use super::{super::encode::*, commands::*, *};

    fn pid() -> Vec<u8> {
        [&b"X"[..], &atom("a@b"), &[0; 12]].concat()
    }

    fn judged(term: &[u8]) -> String {
        payload_of(&[&[VERSION], term].concat())
    }

    fn payload_of(bytes: &[u8]) -> String {
        match payload(bytes) {
            Payload::Message => "message".into(),
            Payload::Reply { is_command, .. } => format!("reply {is_command}"),
            Payload::Command(tag) => tag,
            Payload::Input => "input".into(),
            Payload::IoRequest { .. } => "io_request".into(),
        }
    }

    #[test]
    fn ordinary_messages_pass() {
        for term in [
            atom("system"),
            binary(b"EXIT"),
            tuple(&[atom("trace"), pid(), atom("receive"), atom("x")]),
            tuple(&[atom("systems"), pid(), atom("x")]),
            tuple(&[pid(), tuple(&[atom("result"), atom("x")])]),
            tuple(&[pid(), atom("ok")]),
            tuple(&[atom("log"), atom("x")]),
            tuple(&[]),
            list(&[tuple(&[atom("system")])]),
        ] {
            assert_eq!(judged(&term), "message", "{term:?}");
        }
    }

    #[test]
    fn what_has_not_arrived_might_be_a_command() {
        let whole = |term: Vec<u8>| [&[VERSION], &term[..]].concat();
        // As far as it says what it is, and not further
        let cut = |term: Vec<u8>| payload_of(&whole(term)[..64 * 1024]);
        let call = tuple(&[atom("call"), atom("os"), atom("cmd"), b"j".to_vec(), pid()]);
        let add = tuple(&[atom("add_handler"), atom("supervisor"), atom("x")]);
        let elements = list(&vec![integer(1); 40_000]);
        for large in [binary(&vec![0; 70_000]), elements] {
            assert_eq!(cut(tuple(&[large.clone(), call.clone()])), "unknown");
            assert_eq!(cut(tuple(&[large.clone(), atom("set_cmd"), atom("x")])), "unknown");
            assert_eq!(cut(tuple(&[large.clone(), atom("x"), add.clone()])), "unknown");
            assert_eq!(cut(tuple(&[pid(), large.clone(), add.clone()])), "unknown");
            // What a process of the user may get
            for passes in [
                large.clone(),
                tuple(std::slice::from_ref(&large)),
                tuple(&[atom("x"), large.clone()]),
                tuple(&[pid(), large.clone()]),
                tuple(&[atom("x"), atom("y"), large.clone()]),
            ] {
                assert_eq!(cut(passes), "message");
            }
        }
        for term in [
            tuple(&[atom("x"), call.clone()]),
            tuple(&[atom("x"), atom("y"), add]),
            tuple(&[atom("reply"), tuple(&[tuple(&[pid(), atom("x")]), atom("y")])]),
            tuple(&[atom("eval"), pid(), binary(b"x")]),
            tuple(&[pid(), tuple(&[atom("data"), binary(b"id")])]),
            tuple(&[pid(), atom("echo"), atom("x")]),
            tuple(&[atom("io_request"), pid(), atom("r"), atom("x")]),
        ] {
            let bytes = whole(term);
            let judged = payload_of(&bytes);
            assert_ne!(judged, "message", "{bytes:?}");
            // Wherever a control term of the pod's choice makes the part end that is looked at
            for end in 0..bytes.len() {
                let cut = payload_of(&bytes[..end]);
                assert!(cut != "message" || judged == "message", "{bytes:?} up to {end}");
            }
        }
    }

    #[test]
    fn what_otp_handles_is_recognized_in_each_encoding() {
        for tag in COMMANDS {
            assert_eq!(judged(&tuple(&[atom(tag), pid(), atom("x")])), tag);
            let length = u8::try_from(tag.len()).unwrap_or(0);
            for latin1 in [
                [&[115, length], tag.as_bytes()].concat(),
                [&[100, 0, length], tag.as_bytes()].concat(),
                [&[118, 0, length], tag.as_bytes()].concat(),
            ] {
                assert_eq!(judged(&[&b"i\0\0\0\x02"[..], &latin1, &b"j"[..]].concat()), tag);
            }
        }
        assert_eq!(
            judged(&tuple(&[atom("log"), atom("a"), atom("b"), atom("c"), atom("d")])),
            "log"
        );
    }

    #[test]
    fn what_a_shell_handles_is_recognized() {
        for tag in OF_A_SHELL {
            assert_eq!(judged(&tuple(&[atom(tag), pid(), binary(b"x")])), tag);
            assert_eq!(judged(&tuple(&[atom(tag), binary(b"x"), atom("y")])), "message");
        }
        for (tag, arity) in PURGES {
            let mut parts = vec![atom(tag)];
            parts.resize(arity as usize, pid());
            assert_eq!(judged(&tuple(&parts)), tag);
            parts.push(pid());
            assert_eq!(judged(&tuple(&parts)), "message");
        }
    }

    #[test]
    fn what_gen_event_handles_is_recognized() {
        let tag = tuple(&[pid(), atom("r")]);
        for command in EVENT_COMMANDS {
            let request = tuple(&[atom(command), atom("supervisor"), atom("x")]);
            for first in [pid(), binary(b"x"), tuple(&[])] {
                assert_eq!(judged(&tuple(&[first.clone(), tag.clone(), request.clone()])), command);
                assert_eq!(judged(&tuple(&[first, atom("r"), atom(command)])), command);
            }
        }
        let message = tuple(&[pid(), tag.clone(), tuple(&[atom("other")])]);
        assert_eq!(judged(&message), "message");
        let large = tuple(&[pid(), binary(&[0; 100]), tuple(&[atom("call")])]);
        assert_eq!(judged(&large[..80]), "unknown");
    }

    #[test]
    fn a_command_behind_a_sender_is_recognized() {
        for (command, arity) in ASKED {
            let mut parts = vec![atom(command)];
            parts.resize(arity as usize, binary(b"x"));
            for sender in [pid(), atom("x"), integer(1)] {
                assert_eq!(judged(&tuple(&[sender, tuple(&parts)])), command);
            }
            parts.push(atom("more"));
            assert_eq!(judged(&tuple(&[pid(), tuple(&parts)])), "message");
        }
        for command in ASKED_ALONE {
            assert_eq!(judged(&tuple(&[pid(), atom(command)])), command);
            assert_eq!(judged(&tuple(&[pid(), tuple(&[atom(command)])])), "message");
        }
        for command in SECOND {
            assert_eq!(judged(&tuple(&[pid(), atom(command), binary(b"x")])), command);
            assert_eq!(judged(&tuple(&[pid(), atom(command), atom("a"), atom("b")])), command);
        }
    }

    #[test]
    fn a_timer_and_an_event_of_the_logger_are_of_this_vm() {
        let reference = [&b"Z\0\x01"[..], &atom("a@b"), &[0; 8]].concat();
        assert_eq!(judged(&tuple(&[atom("timeout"), reference, atom("x")])), "timeout");
        assert_eq!(judged(&tuple(&[atom("timeout"), atom("a"), atom("x")])), "timeout");
        assert_eq!(judged(&tuple(&[atom("timeout"), atom("a")])), "message");
        assert_eq!(judged(&tuple(&[atom("log"), atom("error"), binary(b"x"), atom("m")])), "log");
    }

    #[test]
    fn an_answer_has_a_reference() {
        let reference = [&b"Z\0\x01"[..], &atom("a@b"), &[0; 8]].concat();
        assert_eq!(judged(&tuple(&[reference.clone(), atom("x")])), "reply false");
        let call = [atom("call"), atom("os"), atom("cmd"), b"j".to_vec(), pid()];
        assert_eq!(judged(&tuple(&[reference.clone(), tuple(&call)])), "reply true");
        assert_eq!(judged(&tuple(&[list(&[atom("a")]), tuple(&call)])), "call");
        assert_eq!(judged(&tuple(&[list(&[atom("a")]), atom("x")])), "message");
        let alias = [&b"l\0\0\0\x01"[..], &atom("alias"), &reference].concat();
        assert_eq!(judged(&tuple(&[alias.clone(), atom("x")])), "reply false");
        let of_several = [&b"l\0\0\0\x01"[..], &alias, &reference].concat();
        assert_eq!(judged(&tuple(&[of_several, atom("x")])), "reply false");
        let of_otp_25 = tuple(&[reference.clone(), atom("a@b")]);
        assert_eq!(judged(&tuple(&[of_otp_25, atom("x")])), "reply false");
        assert_eq!(judged(&tuple(&[reference, atom("x"), atom("y")])), "message");
    }

    #[test]
    fn keys_are_recognized() {
        let edited = tuple(&[pid(), tuple(&[atom("editor_data"), string("os:cmd(id).")])]);
        assert_eq!(judged(&edited), "input");
        for term in
            [tuple(&[pid(), tuple(&[atom("data"), binary(b"id\n")])]), tuple(&[pid(), atom("eof")])]
        {
            assert_eq!(judged(&term), "input");
        }
    }

    #[test]
    fn the_mode_of_a_terminal_is_recognized() {
        for mode in ["echo", "terminal_mode", "set_unicode_state"] {
            assert_eq!(judged(&tuple(&[pid(), atom(mode), atom("false")])), "input");
            assert_eq!(judged(&tuple(&[atom("x"), atom(mode), atom("false")])), "message");
        }
    }

    #[test]
    fn an_answer_for_another_process_is_recognized() {
        let from = tuple(&[pid(), atom("r")]);
        assert_eq!(judged(&tuple(&[atom("reply"), tuple(&[from.clone(), atom("x")])])), "reply");
        assert_eq!(judged(&tuple(&[atom("reply"), from, atom("x")])), "reply");
        let other = tuple(&[atom("a"), atom("b")]);
        assert_eq!(judged(&tuple(&[atom("reply"), other, atom("x")])), "message");
    }

    #[test]
    fn an_io_request_has_a_process_that_asks() {
        let request = tuple(&[atom("put_chars"), atom("unicode"), binary(b"x")]);
        let whole = |from: Vec<u8>| tuple(&[atom("io_request"), from, atom("r"), request.clone()]);
        assert_eq!(judged(&whole(pid())), "io_request");
        // A command, which has no answer
        assert!(matches!(
            payload(&[&[VERSION], &whole(atom("init"))[..]].concat()),
            Payload::Command(_)
        ));
        assert_eq!(judged(&tuple(&[atom("io_request"), pid(), atom("r")])), "io_request");
        let bytes = [&[VERSION], &whole(pid())[..]].concat();
        let expected = (pid(), atom("r"));
        assert!(
            matches!(payload(&bytes), Payload::IoRequest { from, reply_as, .. } if (from, reply_as) == (&expected.0, &expected.1))
        );
    }
}
