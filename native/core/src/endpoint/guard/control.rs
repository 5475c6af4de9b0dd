//! The control term of a message:
//! <https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html#protocol-between-connected-nodes>.

use super::term::{Item, Stop, Token, VERSION, item, term};

/// Before a message that was encoded without an atom cache.
pub(super) const PASS_THROUGH: u8 = 112;
/// The most elements of a control term.
const MAX_ARITY: usize = 8;

/// What a message does. The operations with a trace token have the same positions, and the same name here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Link,
    Send,
    Exit,
    SendToName,
    GroupLeader,
    ExitSignal,
    Monitor,
    Demonitor,
    MonitorExit,
    SpawnRequest,
    SpawnReply,
    AliasSend,
    Unlink,
    /// Not used by OTP 25 and later, or not known.
    Other(u8),
}

/// A control term. Its elements are encoded terms.
#[derive(Debug)]
pub(super) struct Control<'a> {
    pub operation: Operation,
    elements: [&'a [u8]; MAX_ARITY],
    /// The token of `seq_trace`, in the operations that have one.
    trace_token: Option<&'a [u8]>,
    /// The payload of a message that has one, or as much of it as there is.
    pub payload: Option<&'a [u8]>,
    /// Bytes of the message that have arrived.
    pub size: usize,
}

impl<'a> Control<'a> {
    /// The control term of a message; `complete`: whether `message` is all of it.
    ///
    /// # Errors
    /// What no OTP sends.
    pub fn read(message: &'a [u8], complete: bool) -> Result<Self, &'static str> {
        let rest = message.strip_prefix(&[PASS_THROUGH, VERSION]).ok_or("form of a message")?;
        let Ok(Item { token: Token::Tuple(arity), size, .. }) = item(rest) else {
            return Err("control term");
        };
        let arity = usize::try_from(arity).unwrap_or(usize::MAX);
        if !(1..=MAX_ARITY).contains(&arity) {
            return Err("arity of a control term");
        }
        let mut rest = &rest[size..];
        let mut elements = [&[][..]; MAX_ARITY];
        for element in &mut elements[..arity] {
            *element = term(rest).map_err(|stop| match stop {
                Stop::Incomplete => "length of a control term",
                Stop::Malformed(what) => what,
            })?;
            rest = &rest[element.len()..];
        }
        // OTP sends small integers in this form only.
        let [97, code] = *elements[0] else { return Err("operation") };
        let (operation, expected, has_payload) = operation(code);
        if expected.is_some_and(|expected| expected != arity) {
            return Err("arity of a control term");
        }
        let payload = match (has_payload, rest.is_empty() && complete) {
            (Some(true), true) => return Err("missing payload"),
            (Some(false), false) => return Err("unexpected payload"),
            (Some(false), true) => None,
            (Some(true) | None, _) => Some(rest),
        };
        let trace_token = trace_token(code).map(|at| elements[at]);
        Ok(Self { operation, elements, trace_token, payload, size: message.len() })
    }

    /// Whether it has a token of `seq_trace`. The VM takes any term for one, and reads it as a tuple.
    pub fn is_traced(&self) -> bool {
        self.trace_token
            .is_some_and(|token| !matches!(item(token).map(|it| it.token), Ok(Token::Nil)))
    }

    /// Whether the options of a spawn request have this one: `[Name | {Name, Value}, …]`.
    pub fn has_option(&self, name: &str) -> bool {
        let mut options = self.element(5);
        let Ok(Item { token: Token::List(count), size, .. }) = item(options) else { return false };
        options = &options[size..];
        (0..count).any(|_| {
            let Ok(option) = term(options) else { return false };
            options = &options[option.len()..];
            let inner = match item(option) {
                Ok(Item { token: Token::Tuple(2), size, .. }) => &option[size..],
                _ => option,
            };
            matches!(item(inner), Ok(Item { token: Token::Atom(atom), .. }) if atom.is(name))
        })
    }

    /// An element as it is encoded; empty if there is none.
    pub fn element(&self, at: usize) -> &'a [u8] {
        self.elements.get(at).copied().unwrap_or_default()
    }

    /// What an element is.
    pub fn token(&self, at: usize) -> Option<Token<'a>> {
        item(self.element(at)).ok().map(|item| item.token)
    }
}

/// Where an operation has its token.
fn trace_token(code: u8) -> Option<usize> {
    match code {
        12 | 13 | 18 | 23 | 25 | 27 | 34 => Some(3),
        16 => Some(4),
        30 => Some(6),
        32 => Some(5),
        _ => None,
    }
}

/// What it does, the size of the tuple, and whether a payload follows.
fn operation(code: u8) -> (Operation, Option<usize>, Option<bool>) {
    use Operation as O;
    let (operation, arity, payload) = match code {
        1 => (O::Link, 3, false),
        2 | 22 => (O::Send, 3, true),
        12 | 23 => (O::Send, 4, true),
        3 => (O::Exit, 4, false),
        13 => (O::Exit, 5, false),
        24 => (O::Exit, 3, true),
        25 => (O::Exit, 4, true),
        6 => (O::SendToName, 4, true),
        16 => (O::SendToName, 5, true),
        7 => (O::GroupLeader, 3, false),
        8 => (O::ExitSignal, 4, false),
        18 => (O::ExitSignal, 5, false),
        26 => (O::ExitSignal, 3, true),
        27 => (O::ExitSignal, 4, true),
        19 => (O::Monitor, 4, false),
        20 => (O::Demonitor, 4, false),
        21 => (O::MonitorExit, 5, false),
        28 => (O::MonitorExit, 4, true),
        29 => (O::SpawnRequest, 6, true),
        30 => (O::SpawnRequest, 7, true),
        31 => (O::SpawnReply, 5, false),
        32 => (O::SpawnReply, 6, false),
        33 => (O::AliasSend, 3, true),
        34 => (O::AliasSend, 4, true),
        35 | 36 => (O::Unlink, 4, false),
        _ => return (O::Other(code), None, None),
    };
    (operation, Some(arity), Some(payload))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_send_has_its_elements_and_its_payload() {
        let message = b"p\x83h\x03a\x02w\0j\x83h\x01w\x01x";
        let control = Control::read(message, true).unwrap();
        assert_eq!(control.operation, Operation::Send);
        assert_eq!((control.element(1), control.element(2)), (&b"w\0"[..], &b"j"[..]));
        assert_eq!((control.token(2), control.token(7)), (Some(Token::Nil), None));
        assert_eq!(control.payload, Some(&b"\x83h\x01w\x01x"[..]));
        // The rest has not arrived.
        assert_eq!(Control::read(&message[..9], false).unwrap().payload, Some(&b""[..]));
    }

    #[test]
    fn a_trace_token_changes_no_position() {
        let message = b"p\x83h\x05a\x10w\x04fromw\0w\x04namej\x83j";
        let control = Control::read(message, true).unwrap();
        assert_eq!(control.operation, Operation::SendToName);
        assert_eq!(control.element(3), b"w\x04name");
    }

    #[test]
    fn an_unknown_operation_is_no_error() {
        let control = Control::read(b"p\x83h\x02a\xc8j", true).unwrap();
        assert_eq!(control.operation, Operation::Other(200));
    }

    #[test]
    fn what_no_otp_sends_is_malformed() {
        for (message, what) in [
            (&b"\x83h\x01a\x05"[..], "form of a message"),
            (b"\x83D\x00h\x01a\x05", "form of a message"),
            (b"p\x83D\x00", "control term"),
            (b"p\x83m\0\0\0\0", "control term"),
            (b"p\x83h\x00", "arity of a control term"),
            (b"p\x83i\xff\xff\xff\xff", "arity of a control term"),
            (b"p\x83h\x04a\x02jjj\x83j", "arity of a control term"),
            (b"p\x83h\x03a\x02j", "length of a control term"),
            (b"p\x83h\x03n\x01\0\x1djj", "operation"),
            (b"p\x83h\x03b\0\0\0\x02jj", "operation"),
            (b"p\x83h\x03w\x01\x02jj", "operation"),
            (b"p\x83h\x03a\x02jj", "missing payload"),
            (b"p\x83h\x03a\x01jj\x83j", "unexpected payload"),
            (b"p\x83h\x03a\x02j\xff", "unknown tag"),
        ] {
            assert_eq!(Control::read(message, true).err(), Some(what), "{message:?}");
        }
    }
}
