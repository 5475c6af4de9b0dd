//! The policy. The pod's node may answer, and send to processes and aliases that were given out. All its requests to the
//! local node are answered as if there were no such process, so that no process of the pod waits.

use std::time::Instant;

use super::{
    capabilities::{Alias, Capabilities, Monitor, Role},
    control::{Control, Operation, PASS_THROUGH},
    encode::{atom, integer, signal, tuple},
    io_request::{Rewritten, Server, refusal},
    packets::packet,
    payload::{Late, Payload, Tag, payload},
    refusal::{Kind, Refusal},
    session::Session,
    term::{Atom, Pid, Reference, Token, VERSION, item},
};
use bytes::Bytes;

mod alias;
mod io;
mod ping;

use ping::send_to_name;

/// Of a message to a process that gets answers only.
const NO_ANSWER: &str = "to a process that waits for an answer";

/// What happens to a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    /// Passes, and a command in the rest of it is changed.
    Watch(Late),
    /// Passes with another I/O request at its end.
    Rewrite(Rewritten),
    /// Dropped, without a word.
    Ignore,
    Refuse(Refusal),
    /// The sender gets this instead of the receiver's answer.
    Answer(Bytes, Option<Refusal>),
}

/// The local node, as the pod knows it.
pub(super) struct Local<'a> {
    pub name: Option<&'a str>,
    /// The node in the pod.
    pub pod: Option<&'a str>,
    /// The Elixir module that prints text.
    pub printer: Option<&'a str>,
    pub given: &'a mut Capabilities,
    pub session: &'a Session,
    pub now: Instant,
}

impl Local<'_> {
    /// What happens to a message from the pod.
    pub fn judge(&mut self, control: &Control) -> Verdict {
        if self.is_forged(control) {
            return refuse(Kind::Other, "a process of another node as the sender");
        }
        if control.is_traced() {
            return refuse(Kind::Other, "a trace token");
        }
        match control.operation {
            Operation::Send => self.send(control),
            Operation::AliasSend => self.alias_send(control),
            Operation::Monitor => self.monitor(control),
            Operation::MonitorExit => self.monitor_exit(control),
            // The VM ignores these unless it has asked for them.
            Operation::Exit => exit(control),
            Operation::Unlink => Verdict::Pass,
            Operation::SpawnReply => self.spawn_reply(control),
            // Only of what it may monitor; a name it may not.
            Operation::Demonitor => match control.token(2) {
                Some(Token::Pid(_)) if self.has_reference_of_pod(control) => Verdict::Pass,
                _ => Verdict::Ignore,
            },
            Operation::SpawnRequest => spawn_request(control),
            Operation::SendToName => send_to_name(control),
            Operation::Link => self.link(control),
            Operation::ExitSignal => refuse(Kind::Exit, ""),
            Operation::GroupLeader => refuse(Kind::SetGroupLeader, ""),
            Operation::Other(code) => refuse(Kind::Other, &format!("operation {code}")),
        }
    }

    fn send(&mut self, control: &Control) -> Verdict {
        let message = payload(control.payload.unwrap_or_default());
        match control.token(2) {
            Some(Token::Pid(pid)) => self.send_to(&pid, &message),
            // OTP 29 sends a message for several processes once.
            Some(Token::List(_)) if !matches!(message, Payload::IoRequest { .. }) => {
                let verdict = self.send_to_each(control.element(2), &message);
                verdict.unwrap_or_else(|| refuse(Kind::Send, "list"))
            }
            _ => refuse(Kind::Send, ""),
        }
    }

    fn send_to_each(&mut self, list: &[u8], message: &Payload) -> Option<Verdict> {
        let mut rest = &list[item(list).ok()?.size..];
        let mut passes = Verdict::Pass;
        loop {
            let next = item(rest).ok()?;
            match next.token {
                Token::Nil => return Some(passes),
                // A group leader gets its requests alone.
                Token::Pid(pid) => match self.send_to(&pid, message) {
                    verdict @ (Verdict::Pass | Verdict::Watch(_)) => passes = verdict,
                    other => return Some(other),
                },
                _ => return None,
            }
            rest = &rest[next.size..];
        }
    }

    fn send_to(&mut self, pid: &Pid, message: &Payload) -> Verdict {
        match self.role(pid) {
            None => refuse(Kind::Send, &format!("<{}.{}>", pid.id, pid.serial)),
            Some(Role::GroupLeader) => match message {
                // It also removes the escape sequences of what it prints.
                Payload::IoRequest { from, request, .. }
                    if self.session.is_judge(&(*pid).into())
                        && self.is_of_pod(from)
                        && refusal(request, Server::Judge).is_none() =>
                {
                    Verdict::Pass
                }
                Payload::IoRequest { .. } | Payload::Input => self.message(message),
                Payload::Command(tag) => refuse(Kind::GroupLeader, tag),
                _ => refuse(Kind::GroupLeader, ""),
            },
            Some(Role::Process) => match message {
                // `rpc` takes any term for the sender of a command.
                Payload::Reply { to, is_command: true, .. } if !self.is_of_call(pid, to) => {
                    refuse(Kind::Message, "a command")
                }
                other => self.message(other),
            },
            Some(role @ (Role::Caller | Role::Server)) => match message {
                Payload::Reply { to, tag, is_command }
                    if self.is_awaited(to)
                        && self.is_tag_of_pod(tag)
                        && !(role == Role::Server && *is_command) =>
                {
                    Verdict::Pass
                }
                // The answer to a call that has timed out, as a rule
                Payload::Reply { to, is_command: false, .. } if self.is_own(&to.node) => {
                    Verdict::Ignore
                }
                Payload::Message | Payload::Reply { .. } | Payload::Late(_) => {
                    refuse(Kind::Message, NO_ANSWER)
                }
                other if role == Role::Caller => self.to_caller(other),
                other => self.message(other),
            },
            Some(Role::Ended) => Verdict::Ignore,
        }
    }

    fn message(&self, message: &Payload) -> Verdict {
        match message {
            Payload::Command(tag) => refuse(Kind::Message, tag),
            Payload::Input => refuse(Kind::GroupLeader, "keys"),
            Payload::IoRequest { from, reply_as, .. } if !self.is_of_pod(from) => {
                self.refused_request(from, reply_as, "")
            }
            Payload::Message | Payload::Reply { .. } => Verdict::Pass,
            Payload::Late(late) => Verdict::Watch(*late),
            Payload::IoRequest { from, reply_as, request } => {
                match refusal(request, Server::GroupLeader) {
                    Some(what) => self.refused_request(from, reply_as, &what),
                    None => self.printed(request),
                }
            }
        }
    }

    /// The VM links the process that has asked if the lowest flag says so, and takes the answer of any node.
    fn spawn_reply(&mut self, control: &Control) -> Verdict {
        let (
            Some(Token::Reference(request)),
            Some(Token::Pid(parent)),
            Some(Token::Integer(flags)),
        ) = (control.token(1), control.token(2), control.token(3))
        else {
            return refuse(Kind::Other, "the answer to a request for a process");
        };
        let (is_ours, request) = (self.is_own(&request.node), Alias::from(request));
        let spawn = self.given.take_spawn(&request, self.now).filter(|_| is_ours);
        let Some(spawn) = spawn.filter(|spawn| spawn.parent == parent.into()) else {
            return refuse(Kind::Other, "the answer to another request for a process");
        };
        if flags & 1 != 0 && !spawn.link {
            return refuse(Kind::Link, "a link that was not asked for");
        }
        if let Some(Token::Atom(_error)) = control.token(4) {
            self.given.forget_alias(&request, self.now);
        }
        Verdict::Pass
    }

    /// The end of a process that the receiver monitors. The VM finds all monitors and aliases of a process by their
    /// references alone, whosever they are: it takes the end for that of a process in another pod or of a local one,
    /// and reads memory that is none if the reference is one with which the pod monitors the receiver (`erts`,
    /// `erl_proc_sig_queue.c`, OTP 25 to 29).
    fn monitor_exit(&mut self, control: &Control) -> Verdict {
        match (control.token(2), control.token(3)) {
            (Some(Token::Pid(pid)), Some(Token::Reference(reference)))
                if self.is_own(&pid.node)
                    && self.monitor_of(&reference).is_some_and(|it| it.owner == pid.into()) =>
            {
                self.given.forget_alias(&reference.into(), self.now);
                Verdict::Pass
            }
            // As a rule, of a monitor that was removed meanwhile
            _ => Verdict::Ignore,
        }
    }

    /// For the same reason, the pod can monitor with its own references only.
    fn has_reference_of_pod(&self, control: &Control) -> bool {
        matches!(control.token(3), Some(Token::Reference(reference)) if self.is_pod(&reference.node))
    }

    fn monitor(&mut self, control: &Control) -> Verdict {
        if !self.has_reference_of_pod(control) {
            return refuse(Kind::Monitor, "with a reference of another node");
        }
        let detail = match control.token(2) {
            Some(Token::Pid(pid)) => match self.role(&pid) {
                Some(Role::Caller | Role::Server | Role::Process | Role::GroupLeader) => {
                    return Verdict::Pass;
                }
                Some(Role::Ended) => return Verdict::Answer(no_process(control), None),
                None => format!("<{}.{}>", pid.id, pid.serial),
            },
            // `net_adm:ping` disconnects if this has no process, and its next message gets an answer.
            Some(Token::Atom(name)) if name.is("net_kernel") => return Verdict::Ignore,
            Some(Token::Atom(name)) => name.text(),
            _ => return refuse(Kind::Monitor, ""),
        };
        Verdict::Answer(no_process(control), Some(Refusal::new(Kind::Monitor, &detail)))
    }

    fn link(&mut self, control: &Control) -> Verdict {
        // IEx links its shell to the group leader, and ends if that has no process. Without the link the shell ends
        // later, with the connection.
        if let Some(Token::Pid(pid)) = control.token(2)
            && self.role(&pid) == Some(Role::GroupLeader)
        {
            let is_judge = self.session.is_judge(&pid.into());
            return if is_judge { Verdict::Pass } else { Verdict::Ignore };
        }
        let element = |at| control.element(at).to_vec();
        let exit = signal(&[integer(3), element(2), element(1), atom("noproc")]);
        Verdict::Answer(exit, Some(Refusal::new(Kind::Link, "")))
    }

    /// Whether a process is said to be one of the pod, and is of another node.
    fn is_forged(&self, control: &Control) -> bool {
        let sender = match control.operation {
            Operation::Exit
            | Operation::Monitor
            | Operation::Demonitor
            | Operation::MonitorExit
            | Operation::Link => 1,
            Operation::Unlink => 2,
            Operation::SpawnReply => 4,
            _ => return false,
        };
        matches!(control.token(sender), Some(Token::Pid(pid)) if !self.is_pod(&pid.node))
    }

    fn role(&mut self, pid: &Pid) -> Option<Role> {
        if !self.is_own(&pid.node) {
            return None;
        }
        let process = (*pid).into();
        match self.given.process(&process, self.now)? {
            // Only this VM's connections have a printer, and another VM has other processes of these numbers.
            Role::Process | Role::Caller
                if self.printer.is_some() && self.session.is_server(&process) =>
            {
                Some(Role::Server)
            }
            role => Some(role),
        }
    }

    /// Whether this process waits for the answer to its own call with this reference.
    fn is_of_call(&mut self, pid: &Pid, reference: &Reference) -> bool {
        let monitor = self.monitor_of(reference);
        monitor.is_some_and(|monitor| monitor.call && monitor.owner == (*pid).into())
    }

    /// The monitor of a process in the pod that has this reference.
    fn monitor_of(&mut self, reference: &Reference) -> Option<Monitor> {
        let is_own = self.is_own(&reference.node);
        self.given.monitor(&Alias::from(*reference), self.now).filter(|_| is_own)
    }

    /// Whether a reference is of a call of this node that has not ended, or was given out.
    fn is_awaited(&mut self, reference: &Reference) -> bool {
        self.is_own(&reference.node)
            && self.given.alias(&Alias::from(*reference), self.now).is_some()
    }

    /// Whether the pod may answer with this tag, whose reference other pods may have, too.
    fn is_tag_of_pod(&mut self, tag: &Tag) -> bool {
        match tag {
            Tag::Plain => true,
            Tag::Node(node) => self.is_pod(node),
            Tag::Monitor(monitor) => self.monitor_of(monitor).is_some(),
        }
    }

    fn is_of_pod(&self, pid: &[u8]) -> bool {
        matches!(item(pid).map(|item| item.token), Ok(Token::Pid(pid)) if self.is_pod(&pid.node))
    }

    fn is_pod(&self, node: &Atom) -> bool {
        self.pod.is_some_and(|pod| node.is(pod))
    }

    fn is_own(&self, node: &Atom) -> bool {
        self.name.is_some_and(|name| node.is(name))
    }
}

fn refuse(kind: Kind, detail: &str) -> Verdict {
    Verdict::Refuse(Refusal::new(kind, detail))
}

/// The answer to a monitor of a process that there is not.
fn no_process(control: &Control) -> Bytes {
    let element = |at| control.element(at).to_vec();
    signal(&[integer(21), element(2), element(1), element(3), atom("noproc")])
}

/// The end of a linked process, with its reason in the control term. The VM decodes a payload only after it has removed
/// the link. If the reason is no term, the local process would never get an exit signal, not even when the connection
/// ends (`erts`, `erl_proc_sig_queue.c`, OTP 25 to 29).
fn exit(control: &Control) -> Verdict {
    // Two pids leave room for the rest in the part of a message that is judged.
    let (Some(Token::Pid(_)), Some(Token::Pid(_))) = (control.token(1), control.token(2)) else {
        return refuse(Kind::Exit, "of what is no process");
    };
    let Some(reason) = control.payload else { return Verdict::Pass };
    let [_operation, from, to, token] = [0, 1, 2, 3].map(|at| control.element(at));
    let (arity, code) = if token.is_empty() { (4, 3) } else { (5, 13) };
    let before = &[PASS_THROUGH, VERSION, 104, arity, 97, code][..];
    let head = [before, from, to, token].concat();
    let replaced = control.size - reason.len() + 1;
    Verdict::Rewrite(Rewritten { head, replaced, length: control.size, ends_list: false })
}

/// `erpc` in the pod gets `notsup`.
fn spawn_request(control: &Control) -> Verdict {
    let element = |at| control.element(at).to_vec();
    let reply = signal(&[integer(31), element(1), element(2), integer(0), atom("notsup")]);
    Verdict::Answer(reply, Some(Refusal::new(Kind::Spawn, &function(control.element(4)))))
}

/// A function as `module:name/arity`.
fn function(mfa: &[u8]) -> String {
    let mut rest = mfa.get(2..).unwrap_or_default();
    let mut parts = Vec::new();
    while let Ok(part) = item(rest) {
        match part.token {
            Token::Atom(atom) => parts.push(atom.text()),
            Token::Integer(arity) => parts.push(arity.to_string()),
            _ => break,
        }
        rest = &rest[part.size..];
    }
    match &parts[..] {
        [module, name, arity] => format!("{module}:{name}/{arity}"),
        _ => String::new(),
    }
}

/// A packet with a message to an encoded pid.
fn message_to(pid: &[u8], message: &[u8]) -> Bytes {
    let control = tuple(&[integer(2), atom(""), pid.to_vec()]);
    packet(&[&[PASS_THROUGH, VERSION], &control, &[VERSION], message])
}
