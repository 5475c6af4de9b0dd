//! What the connections to one target share, across reconnects: limits, atoms, counts, and what was refused first.

use std::{
    collections::{HashSet, VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use thiserror::Error;
use tokio::sync::Notify;

use super::{
    audit::Arguments,
    capabilities::Process,
    read_only::Calls,
    refusal::{Kind, Refusal},
    term::{Atom, Item, Token, VERSION, item},
};

/// Different atoms of all sessions in this process, which have one table.
const MAX_ATOMS: usize = 600_000;
/// Hashes of these atoms.
static ATOMS: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);
/// Its key is secret.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// What a pod may use of the local VM.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Different atoms. The table of a VM has room for 1,048,576, and never forgets one.
    pub atoms: usize,
    /// Bytes of one message.
    pub message: usize,
}

/// Why the guard has ended a connection.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// The pod has sent more different atoms than a session may create.
    #[error("more than {limit} atoms")]
    TooManyAtoms {
        /// The limit.
        limit: usize,
    },
    /// A message is larger than allowed.
    #[error("a message of {size} bytes, more than {limit}")]
    MessageTooLarge {
        /// Its length.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A message that no OTP sends.
    #[error("a malformed message: {problem}")]
    MalformedMessage {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A request would leave without a line in the audit log.
    #[error("cannot write the audit log {file}: {problem}")]
    AuditNotWritten {
        /// Its path.
        file: String,
        /// The error of the operating system.
        problem: String,
    },
}

impl From<&'static str> for Error {
    fn from(problem: &'static str) -> Self {
        Self::MalformedMessage { problem }
    }
}

/// An event of a session.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The first refusal of its kind.
    Refused(Refusal),
    /// The guard has ended a connection.
    Failed(Error),
}

/// The state of a session.
#[derive(Debug)]
pub struct Session {
    pub(super) limits: Limits,
    /// The functions that the local node may call; `None` if it may do everything.
    pub(super) calls: Option<Calls>,
    /// What the audit log tells of arguments, if there is one.
    pub(super) audit: Option<Arguments>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Hashes of the atoms that the pod has sent.
    atoms: HashSet<u64>,
    counts: [u64; Kind::ALL.len()],
    events: VecDeque<Event>,
    failure: Option<Error>,
    /// Processes that judge I/O requests themselves.
    judges: HashSet<Process>,
    /// Processes of OTP and Elixir, by id and serial: the creation changes when the VM becomes a node.
    servers: HashSet<(u32, u32)>,
}

impl Session {
    /// Of a session that begins.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (state, changed) = (Mutex::default(), Notify::new());
        Self { limits, calls: None, audit: None, state, changed }
    }

    /// A session that only reads: the local node can call these functions and do nothing else.
    #[must_use]
    pub fn read_only(limits: Limits, calls: Calls) -> Self {
        Self { calls: Some(calls), ..Self::new(limits) }
    }

    /// With entries for an audit log: see [`ToPod::entries`](super::ToPod::entries).
    #[must_use]
    pub fn audited(self, arguments: Arguments) -> Self {
        Self { audit: Some(arguments), ..self }
    }

    /// How often something of this kind was refused.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.lock().counts[kind as usize]
    }

    /// Why the guard has ended a connection, if it has.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.lock().failure.clone()
    }

    /// The next event.
    pub async fn event(&self) -> Event {
        loop {
            if let Some(event) = self.lock().events.pop_front() {
                return event;
            }
            self.changed.notified().await;
        }
    }

    /// The identifier of a local process that judges I/O requests itself, in the external format.
    pub fn add_judge(&self, pid: &[u8]) -> bool {
        process(pid).is_some_and(|process| self.lock().judges.insert(process))
    }

    /// The identifier of a local process of OTP or Elixir, in the external format: the pod may only answer it, also if it
    /// was told of it.
    pub fn add_server(&self, pid: &[u8]) -> bool {
        process(pid)
            .is_some_and(|Process { id, serial, .. }| self.lock().servers.insert((id, serial)))
    }

    pub(super) fn is_server(&self, process: &Process) -> bool {
        self.lock().servers.contains(&(process.id, process.serial))
    }

    pub(super) fn is_judge(&self, process: &Process) -> bool {
        self.lock().judges.contains(process)
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        let mut state = self.lock();
        let count = &mut state.counts[refusal.kind as usize];
        *count += 1;
        // Each thing that the user asked for and did not get is told, because nothing else may tell it.
        if *count == 1 || refusal.kind == Kind::ReadOnly {
            state.events.push_back(Event::Refused(refusal));
            self.changed.notify_one();
        }
    }

    /// Ends the session.
    pub fn fail(&self, error: Error) {
        let mut state = self.lock();
        if state.failure.is_none() {
            state.failure = Some(error.clone());
            state.events.push_back(Event::Failed(error));
            self.changed.notify_one();
        }
    }

    /// Counts an atom that the VM will create.
    ///
    /// # Errors
    /// [`Error::TooManyAtoms`]
    pub(super) fn see_atom(&self, atom: &Atom) -> Result<(), Error> {
        let hash = match atom {
            Atom::Utf8(text) => HASHER.hash_one(text),
            Atom::Latin1(bytes) if bytes.is_ascii() => {
                HASHER.hash_one(str::from_utf8(bytes).unwrap_or_default())
            }
            Atom::Latin1(_) => HASHER.hash_one(atom.text().as_str()),
        };
        let mut state = self.lock();
        if state.atoms.contains(&hash) {
            return Ok(());
        }
        if state.atoms.len() >= self.limits.atoms {
            return Err(Error::TooManyAtoms { limit: self.limits.atoms });
        }
        let mut all = ATOMS.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_ATOMS && !all.contains(&hash) {
            return Err(Error::TooManyAtoms { limit: MAX_ATOMS });
        }
        all.insert(hash);
        state.atoms.insert(hash);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pid in the external format.
fn process(pid: &[u8]) -> Option<Process> {
    match item(pid.strip_prefix(&[VERSION])?).ok()? {
        Item { token: Token::Pid(pid), .. } => Some(pid.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used)]

    use super::*;

    fn session(atoms: usize) -> Session {
        Session::new(Limits { atoms, message: 1000 })
    }

    #[test]
    fn an_atom_counts_once_in_both_encodings() {
        let session = session(2);
        for atom in [Atom::Utf8("a"), Atom::Latin1(b"a"), Atom::Utf8("ü"), Atom::Latin1(b"\xfc")] {
            assert_eq!(session.see_atom(&atom), Ok(()));
        }
        let full = Err(Error::TooManyAtoms { limit: 2 });
        assert_eq!(session.see_atom(&Atom::Utf8("b")), full);
        assert_eq!(session.see_atom(&Atom::Utf8("a")), Ok(()));
    }

    #[tokio::test]
    async fn each_refusal_is_counted_and_the_first_of_a_kind_is_an_event() {
        let session = session(0);
        for (kind, detail) in
            [(Kind::Spawn, "os:cmd/1"), (Kind::Spawn, "a:b/1"), (Kind::Link, "\x1b]x")]
        {
            session.refuse(Refusal::new(kind, detail));
        }
        assert_eq!((session.count(Kind::Spawn), session.count(Kind::Link)), (2, 1));
        assert_eq!(session.count(Kind::Send), 0);
        let first = session.event().await;
        assert_eq!(first, Event::Refused(Refusal { kind: Kind::Spawn, detail: "os:cmd/1".into() }));
        let Event::Refused(second) = session.event().await else { panic!("no refusal") };
        assert!(!second.detail.contains('\x1b'));
        session.fail(Error::from("a"));
        session.fail(Error::from("b"));
        assert_eq!(session.event().await, Event::Failed(Error::from("a")));
        assert_eq!(session.failure(), Some(Error::from("a")));
    }

    #[test]
    fn a_judge_is_given_as_an_encoded_pid() {
        let session = session(0);
        let pid = b"\x83Xw\x03a@b\0\0\0\x01\0\0\0\x02\0\0\0\x03";
        assert!(session.add_judge(pid));
        assert!(session.is_judge(&Process { id: 1, serial: 2, creation: 3 }));
        assert!(!session.is_judge(&Process { id: 2, serial: 2, creation: 3 }));
        assert!(!session.add_judge(b"\x83j") && !session.add_judge(b""));
    }
}
