//! Requests of the local node to the pod's node.

use std::fmt;

use super::{
    control::{Control, Operation},
    io_request::Cursor,
    term::{Token, VERSION, item},
};

/// What a message asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// An answer, a monitor, or another message that changes nothing.
    Nothing,
    /// A call of a function, or a process that runs it.
    Call {
        module: String,
        function: String,
        arity: usize,
        /// The encoded list of the arguments.
        arguments: &'a [u8],
    },
    /// A message to a process or to a name, by its first element.
    Message { to: String, tag: String },
    /// A link, an exit signal, or another group leader.
    Signal { name: &'static str, to: String },
    /// A message that is not understood.
    Unknown,
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Call { module, function, arity, .. } => write!(f, "{module}:{function}/{arity}"),
            Self::Message { to, tag } => write!(f, "{tag} to {to}"),
            Self::Signal { name, to } => write!(f, "{name} to {to}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl<'a> Request<'a> {
    /// The request in a message with this control term.
    pub fn read(control: &Control<'a>) -> Self {
        let payload = Cursor::new(
            control
                .payload
                .and_then(|payload| payload.strip_prefix(&[VERSION]))
                .unwrap_or_default(),
        );
        let signal = |name| Self::Signal { name, to: described(control.element(2)) };
        match control.operation {
            Operation::SpawnRequest => spawn(control.element(4), payload).unwrap_or(Self::Unknown),
            // An answer to an I/O request
            Operation::Send if is_reply(payload) => Self::Nothing,
            Operation::Send | Operation::AliasSend => message(control.element(2), payload),
            Operation::SendToName => message(control.element(3), payload),
            Operation::Link => signal("link"),
            Operation::ExitSignal => signal("exit"),
            Operation::GroupLeader => signal("group_leader"),
            // The VM sends these by itself, or they are about what it asked for before.
            Operation::Monitor
            | Operation::Demonitor
            | Operation::MonitorExit
            | Operation::Exit
            | Operation::SpawnReply
            | Operation::Unlink => Self::Nothing,
            Operation::Other(_) => Self::Unknown,
        }
    }
}

/// A process or name, for people.
pub(super) fn described(term: &[u8]) -> String {
    match item(term).map(|item| item.token) {
        Ok(Token::Pid(pid)) => format!("<{}.{}>", pid.id, pid.serial),
        Ok(Token::Atom(name)) => name.text(),
        Ok(Token::Reference(_)) => "an alias".into(),
        _ => "unknown".into(),
    }
}

/// `erpc` starts a process that runs `execute_call([Reference,] Module, Function, Arguments)`.
fn spawn<'a>(mfa: &[u8], mut arguments: Cursor<'a>) -> Option<Request<'a>> {
    let mut mfa = Cursor::new(mfa);
    if mfa.item()? != Token::Tuple(3) {
        return None;
    }
    let (module, function) = (mfa.atom()?, mfa.atom()?);
    if !(module.is("erpc") && (function.is("execute_call") || function.is("execute_cast"))) {
        return call(module.text(), function.text(), arguments);
    }
    match arguments.item()? {
        Token::List(3) => {}
        Token::List(4) => drop(arguments.term()?),
        _ => return None,
    }
    function_call(arguments)
}

/// A module, a function, and a list of arguments.
fn function_call(mut cursor: Cursor<'_>) -> Option<Request<'_>> {
    let (module, function) = (cursor.atom()?, cursor.atom()?);
    call(module.text(), function.text(), cursor)
}

fn call(module: String, function: String, cursor: Cursor<'_>) -> Option<Request<'_>> {
    let arity = length(cursor)?;
    Some(Request::Call { module, function, arity, arguments: cursor.rest() })
}

/// The length of a list. Its elements may not have arrived, and with an improper one the call fails.
fn length(cursor: Cursor<'_>) -> Option<usize> {
    let Ok(list) = item(cursor.rest()) else { return None };
    match list.token {
        Token::Nil => Some(0),
        // A list of small integers
        Token::String => usize::try_from(list.data).ok(),
        Token::List(count) => usize::try_from(count).ok(),
        _ => None,
    }
}

fn is_reply(mut message: Cursor) -> bool {
    message.item() == Some(Token::Tuple(3)) && message.atom().is_some_and(|tag| tag.is("io_reply"))
}

fn message<'a>(to: &[u8], mut message: Cursor<'a>) -> Request<'a> {
    let sent = |tag: &str| Request::Message { to: described(to), tag: tag.into() };
    let arity = match message.item() {
        Some(Token::Tuple(arity)) => arity,
        Some(Token::Atom(tag)) => return sent(&tag.text()),
        _ => return sent("a message"),
    };
    let Some(Token::Atom(tag)) = message.item() else { return sent("a tuple") };
    let tag = tag.text();
    match (tag.as_str(), arity) {
        ("$gen_call" | "system", 3) => {
            message.term().and_then(|_from| asked(to, &tag, message)).unwrap_or_else(|| sent(&tag))
        }
        _ => sent(&tag),
    }
}

/// What a call of a process asks for, if it is one of these:
///
/// - `rpc` by `rex`: `{call | block_call, Module, Function, Arguments, GroupLeader}`;
/// - `net_adm:ping` by `net_kernel`: `{is_auth, Node}`;
/// - `sys:get_state` and `sys:get_status`.
fn asked<'a>(to: &[u8], tag: &str, mut request: Cursor<'a>) -> Option<Request<'a>> {
    if tag == "system" {
        let name = request.atom()?.text();
        let reads = ["get_state", "get_status"].contains(&name.as_str());
        return reads.then(|| Request::Call {
            module: "sys".into(),
            function: name,
            arity: 1,
            arguments: &[],
        });
    }
    let name = match item(to).ok()?.token {
        Token::Atom(name) => name.text(),
        _ => return None,
    };
    match (name.as_str(), request.item()?) {
        ("rex", Token::Tuple(5)) => {
            let kind = request.atom()?;
            (kind.is("call") || kind.is("block_call")).then(|| function_call(request))?
        }
        ("net_kernel", Token::Tuple(2)) => {
            request.atom()?.is("is_auth").then_some(Request::Nothing)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
