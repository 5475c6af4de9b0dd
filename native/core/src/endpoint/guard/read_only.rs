//! `--read-only`: the local node can only call certain functions of the node in the pod.

use std::collections::HashSet;

use bytes::Bytes;

use super::{
    control::{Control, Operation},
    encode::{atom, integer, signal},
    io_request::Cursor,
    request::Request,
    term::{Token, VERSION, item},
};

/// Why a call ends that was not sent: as the reason of an exit, or as the error of `erpc`.
const REASON: &str = "read_only";

/// The functions that may be called, each as `module:function/arity`, or as `module:function/*`.
#[derive(Debug)]
pub struct Calls(HashSet<String>);

impl FromIterator<String> for Calls {
    fn from_iter<I: IntoIterator<Item = String>>(calls: I) -> Self {
        Self(calls.into_iter().collect())
    }
}

impl Calls {
    /// Whether the message of this request may leave.
    pub(super) fn allow(&self, request: &Request) -> bool {
        match request {
            Request::Nothing => true,
            Request::Call { module, function, arity, .. } => {
                self.0.contains(&format!("{module}:{function}/{arity}"))
                    || self.0.contains(&format!("{module}:{function}/*"))
            }
            Request::Message { .. } | Request::Signal { .. } | Request::Unknown => false,
        }
    }
}

/// What both nodes are told instead of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Instead {
    pub to_local: Option<Bytes>,
    pub to_pod: Option<Bytes>,
}

/// The answers to a message that does not leave, so that nothing here waits for it.
pub(super) fn instead(control: &Control) -> Instead {
    let element = |at| control.element(at).to_vec();
    match control.operation {
        Operation::SpawnRequest => {
            let reply = [integer(31), element(1), element(2), integer(0), atom(REASON)];
            Instead { to_local: Some(signal(&reply)), to_pod: None }
        }
        Operation::Link => {
            let exit = [integer(3), element(2), element(1), atom(REASON)];
            Instead { to_local: Some(signal(&exit)), to_pod: None }
        }
        Operation::Send => call_ended(&element(2), control.payload),
        Operation::SendToName => call_ended(&element(3), control.payload),
        _ => Instead::default(),
    }
}

/// A caller has monitored the process before. The monitor ends on both sides.
fn call_ended(to: &[u8], payload: Option<&[u8]>) -> Instead {
    let Some((caller, monitor)) = payload.and_then(caller) else { return Instead::default() };
    let ended = [integer(21), to.to_vec(), caller.to_vec(), monitor.to_vec(), atom(REASON)];
    let forgotten = [integer(20), caller.to_vec(), to.to_vec(), monitor.to_vec()];
    Instead { to_local: Some(signal(&ended)), to_pod: Some(signal(&forgotten)) }
}

/// `{'$gen_call' | system, {Pid, Reference | [alias | Reference]}, Request}`
pub(super) fn caller(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut cursor = Cursor::new(payload.strip_prefix(&[VERSION])?);
    if cursor.item()? != Token::Tuple(3) {
        return None;
    }
    let tag = cursor.atom()?;
    if !(tag.is("$gen_call") || tag.is("system")) || cursor.item()? != Token::Tuple(2) {
        return None;
    }
    let caller = cursor.term()?;
    if matches!(item(cursor.rest()).ok()?.token, Token::List(1)) {
        cursor.item()?;
        cursor.term()?;
    }
    let monitor = cursor.term()?;
    let is_reference = matches!(item(monitor).ok()?.token, Token::Reference(_));
    is_reference.then_some((caller, monitor))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{
        super::encode::{LAPTOP, POD, message, packed, pid, reference, tuple},
        *,
    };

    fn instead_of(control: &[Vec<u8>], payload: Option<&[u8]>) -> Instead {
        let message = message(control, payload);
        instead(&Control::read(&message, true).unwrap())
    }

    #[test]
    fn a_function_is_allowed_with_one_arity_or_with_each() {
        let calls = Calls::from_iter(["erlang:memory/1".into(), "recon:info/*".into()]);
        let call = |module: &str, function: &str, arity| {
            let (module, function) = (module.into(), function.into());
            calls.allow(&Request::Call { module, function, arity, arguments: &[] })
        };
        assert!(call("erlang", "memory", 1) && !call("erlang", "memory", 0));
        assert!(call("recon", "info", 1) && call("recon", "info", 7) && !call("recon", "infos", 1));
        assert!(calls.allow(&Request::Nothing) && !calls.allow(&Request::Unknown));
        assert!(!calls.allow(&Request::Message { to: "a".into(), tag: "b".into() }));
        assert!(!calls.allow(&Request::Signal { name: "exit", to: "a".into() }));
    }

    #[test]
    fn a_process_that_is_not_started_is_an_error_of_the_caller() {
        let control = [
            integer(29),
            reference(LAPTOP, 1),
            pid(LAPTOP, 1),
            pid(LAPTOP, 2),
            tuple(&[atom("a"), atom("b"), integer(0)]),
            b"j".to_vec(),
        ];
        let reply =
            [integer(31), reference(LAPTOP, 1), pid(LAPTOP, 1), integer(0), atom("read_only")];
        let told = instead_of(&control, Some(b"j"));
        assert_eq!((told.to_local.unwrap().to_vec(), told.to_pod), (packed(&reply, None), None));
    }

    #[test]
    fn a_call_that_is_not_sent_ends_and_its_monitor_with_it() {
        let alias = [&b"l\0\0\0\x01"[..], &atom("alias"), &reference(LAPTOP, 5)].concat();
        for tag in [reference(LAPTOP, 5), alias] {
            let from = tuple(&[pid(LAPTOP, 1), tag]);
            let call = tuple(&[atom("$gen_call"), from, atom("x")]);
            for (control, to) in [
                (vec![integer(22), pid(LAPTOP, 1), pid(POD, 9)], pid(POD, 9)),
                (vec![integer(6), pid(LAPTOP, 1), atom(""), atom("name")], atom("name")),
            ] {
                let told = instead_of(&control, Some(&call));
                let reason = atom("read_only");
                let down = [integer(21), to.clone(), pid(LAPTOP, 1), reference(LAPTOP, 5), reason];
                assert_eq!(told.to_local.unwrap().to_vec(), packed(&down, None));
                let demonitor = [integer(20), pid(LAPTOP, 1), to, reference(LAPTOP, 5)];
                assert_eq!(told.to_pod.unwrap().to_vec(), packed(&demonitor, None));
            }
        }
        let cast = tuple(&[atom("$gen_cast"), atom("x")]);
        let control = [integer(22), pid(LAPTOP, 1), pid(POD, 9)];
        assert_eq!(instead_of(&control, Some(&cast)), Instead::default());
    }

    #[test]
    fn a_link_that_is_not_made_ends() {
        let told = instead_of(&[integer(1), pid(LAPTOP, 1), pid(POD, 9)], None);
        let exit = [integer(3), pid(POD, 9), pid(LAPTOP, 1), atom("read_only")];
        assert_eq!(told.to_local.unwrap().to_vec(), packed(&exit, None));
    }
}
