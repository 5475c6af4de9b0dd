//! What a connection asks of the node in the pod, as entries of an audit log, and how each request ended.

use std::collections::HashMap;

use serde::Serialize;

use super::{
    capabilities::Alias,
    control::{Control, Operation},
    io_request::Cursor,
    payload::reply_to,
    read_only,
    request::{Request, described},
    term::{Atom, Token, VERSION, item},
    text::{escaped, text},
};

/// Requests that wait for their end. Of more, the oldest has no entry for its end.
pub(super) const MAX_WAITING: usize = 4096;
/// The result of a request that starts a process.
const STARTED: &str = "started";
/// Bytes of arguments in an entry.
pub(super) const MAX_ARGUMENTS: usize = 1000;

/// What an entry tells of the arguments of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arguments {
    /// Nothing.
    Hidden,
    /// Their beginning.
    Shown,
}

/// An entry of the audit log.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Entry {
    /// A connection to the node begins.
    Connected,
    /// The local node asks for something.
    Request {
        /// The number of the request in its connection.
        id: u64,
        /// The request.
        #[serde(flatten)]
        asked: Asked,
        /// The arguments or the message, as Elixir writes them.
        #[serde(skip_serializing_if = "Option::is_none")]
        arguments: Option<String>,
        /// Whether it was not sent, as the connection is read-only.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        refused: bool,
    },
    /// How a request ended, as the pod says.
    Result {
        /// The number of the request.
        id: u64,
        /// `return`, `throw`, `exit` or `error` of a function; `reply` or `down` of a process; `started` or
        /// `not_started` of a new one; `abandoned` if the local node waits no longer.
        result: &'static str,
    },
    /// The connection has ended.
    Disconnected,
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Asked {
    /// A call of a function, or a process that runs it.
    Call {
        /// Its module.
        module: String,
        /// Its name.
        function: String,
        /// The number of arguments.
        arity: usize,
    },
    /// A message to a process or a name.
    Message {
        /// The receiver.
        to: String,
        /// Its first element, if that is an atom.
        tag: String,
    },
    /// A signal to a process.
    Signal {
        /// `link`, `exit` or `group_leader`.
        signal: &'static str,
        /// The receiver.
        to: String,
    },
    /// Input from the terminal, for a process of the pod that asked for it.
    Input,
    /// A message of no known form.
    Unknown,
}

/// A request whose end is awaited.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    id: u64,
    /// Whether it ends with a process, as with `erpc`, and not when the process has started.
    monitors: bool,
}

/// The entries of a connection that were not taken yet.
#[derive(Debug)]
pub(super) struct Trail {
    arguments: Arguments,
    /// Requests so far.
    count: u64,
    /// By the reference that the end of the request names.
    waiting: HashMap<Alias, Waiting>,
    entries: Vec<Entry>,
}

impl Trail {
    pub fn new(arguments: Arguments) -> Self {
        Self { arguments, count: 0, waiting: HashMap::new(), entries: vec![] }
    }

    pub fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    /// Notes a message to the pod, unless it asks for nothing. `control` is `None` for one that cannot be read.
    pub fn request(&mut self, control: Option<&Control>, request: &Request, leaves: bool) {
        if let Some(control) = control.filter(|control| control.operation == Operation::Demonitor)
            && let Some(reference) = alias(control.element(3))
        {
            self.end(&reference, "abandoned");
        }
        let Some(asked) = asked(control, request) else { return };
        self.count += 1;
        let id = self.count;
        let arguments = match (self.arguments, control) {
            (Arguments::Shown, Some(control)) => shown(control, request),
            _ => None,
        };
        if let Some(reference) = control.filter(|_| leaves).and_then(awaited) {
            let monitors = control.is_some_and(|control| control.has_option("monitor"));
            self.wait(reference, Waiting { id, monitors });
        }
        self.entries.push(Entry::Request { id, asked, arguments, refused: !leaves });
    }

    /// Notes the end of a request, if a message of the pod is one.
    pub fn result(&mut self, control: &Control) {
        if self.waiting.is_empty() {
            return;
        }
        if let Some((reference, result)) = ended(control) {
            let monitors = self.waiting.get(&reference).is_some_and(|request| request.monitors);
            if !(monitors && result == STARTED) {
                self.end(&reference, result);
            }
        }
    }

    fn wait(&mut self, reference: Alias, request: Waiting) {
        if self.waiting.len() >= MAX_WAITING {
            let oldest = self.waiting.iter().min_by_key(|(_reference, request)| request.id);
            if let Some(oldest) = oldest.map(|(reference, _request)| *reference) {
                self.waiting.remove(&oldest);
            }
        }
        self.waiting.insert(reference, request);
    }

    fn end(&mut self, reference: &Alias, result: &'static str) {
        if let Some(Waiting { id, .. }) = self.waiting.remove(reference) {
            self.entries.push(Entry::Result { id, result });
        }
    }
}

fn asked(control: Option<&Control>, request: &Request) -> Option<Asked> {
    Some(match request {
        Request::Nothing => {
            let control = control?;
            let reply = reply(control)?;
            if is_input(reply) {
                Asked::Input
            } else if is_status(reply) {
                return None;
            } else {
                Asked::Message { to: described(control.element(2)), tag: "io_reply".into() }
            }
        }
        Request::Call { module, function, arity, .. } => {
            Asked::Call { module: escaped(module), function: escaped(function), arity: *arity }
        }
        Request::Message { to, tag } => Asked::Message { to: escaped(to), tag: escaped(tag) },
        Request::Signal { name, to } => Asked::Signal { signal: name, to: escaped(to) },
        Request::Unknown => Asked::Unknown,
    })
}

/// `Reply` of `{io_reply, ReplyAs, Reply}`
fn reply<'a>(control: &Control<'a>) -> Option<Cursor<'a>> {
    let mut message = message(control);
    if control.operation != Operation::Send
        || message.item()? != Token::Tuple(3)
        || !message.atom()?.is("io_reply")
    {
        return None;
    }
    message.term()?;
    Some(message)
}

/// What was typed: text, or `{ok, Terms, …}`.
fn is_input(mut reply: Cursor) -> bool {
    match reply.item() {
        Some(Token::Binary | Token::String) => true,
        Some(Token::List(_)) => matches!(reply.item(), Some(Token::Integer(_))),
        Some(Token::Tuple(2..)) => reply.atom().is_some_and(|name| name.is("ok")),
        _ => false,
    }
}

/// The reply to what was printed, or asked of the terminal: a number, or a list of its options.
fn is_status(mut reply: Cursor) -> bool {
    let is = |name: &Atom, names: [&str; 3]| names.iter().any(|text| name.is(text));
    match reply.item() {
        Some(Token::Atom(name)) => is(&name, ["ok", "eof", "error"]),
        Some(Token::Tuple(2)) => reply.atom().is_some_and(|name| name.is("error")),
        Some(Token::List(_)) => matches!(reply.item(), Some(Token::Tuple(2))),
        Some(Token::Integer(_) | Token::Nil) => true,
        _ => false,
    }
}

fn shown(control: &Control, request: &Request) -> Option<String> {
    let bytes = match request {
        Request::Call { arguments, .. } => arguments,
        Request::Nothing => reply(control).map(|reply| reply.rest()).unwrap_or_default(),
        _ => message(control).rest(),
    };
    (!bytes.is_empty()).then(|| text(bytes, MAX_ARGUMENTS))
}

/// The payload.
fn message<'a>(control: &Control<'a>) -> Cursor<'a> {
    let payload = control.payload.and_then(|payload| payload.strip_prefix(&[VERSION]));
    Cursor::new(payload.unwrap_or_default())
}

/// The reference by which the local node waits for the end of what it asks for.
fn awaited(control: &Control) -> Option<Alias> {
    let reference = match control.operation {
        Operation::SpawnRequest => control.element(1),
        Operation::Send | Operation::SendToName | Operation::AliasSend => {
            read_only::caller(control.payload?)?.1
        }
        _ => return None,
    };
    alias(reference)
}

fn alias(reference: &[u8]) -> Option<Alias> {
    match item(reference).ok()?.token {
        Token::Reference(reference) => Some(Alias::from(reference)),
        _ => None,
    }
}

/// The reference of a request, and how it ended.
fn ended(control: &Control) -> Option<(Alias, &'static str)> {
    match control.operation {
        Operation::SpawnReply => {
            let started = matches!(control.token(4), Some(Token::Pid(_)));
            let result = if started { STARTED } else { "not_started" };
            Some((alias(control.element(1))?, result))
        }
        Operation::MonitorExit => {
            let reason = match control.payload {
                Some(_) => message(control),
                None => Cursor::new(control.element(4)),
            };
            Some((alias(control.element(3))?, of_erpc(reason).unwrap_or("down")))
        }
        Operation::Send | Operation::AliasSend => {
            Some((reply_to(control.payload?)?.into(), "reply"))
        }
        _ => None,
    }
}

/// The process that `erpc` has started exits with `{Reference, return | throw | exit, Value}` or `{Reference, error,
/// Reason, Stacktrace}`.
fn of_erpc(mut reason: Cursor) -> Option<&'static str> {
    let Token::Tuple(3 | 4) = reason.item()? else { return None };
    let Token::Reference(_) = reason.item()? else { return None };
    let class = reason.atom()?;
    ["return", "throw", "exit", "error"].into_iter().find(|name| class.is(name))
}
