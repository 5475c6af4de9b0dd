//! What the connections to one target share, across reconnects: limits, atoms, counts, and what was refused first.

use std::{
    collections::{HashSet, VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use thiserror::Error;
use tokio::sync::Notify;

use super::{
    audit::Arguments,
    capabilities::{Named, Process},
    read_only::Calls,
    refusal::{Kind, Refusal},
    servers::Servers,
    term::Atom,
};

/// Different atoms of all sessions in this process, which have one table.
const MAX_ATOMS: usize = 600_000;
/// Different functions of a session. The VM never forgets one.
pub(super) const MAX_FUNCTIONS: usize = 20_000;
/// Of all sessions. The table of a VM has room for 524,288.
const MAX_ALL_FUNCTIONS: usize = 200_000;
/// Processes and aliases that a pod may name before they are given out.
const MAX_NAMED: usize = 100_000;
/// Hashes of these atoms.
static ATOMS: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);
/// And functions.
static FUNCTIONS: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);
/// Its key is secret.
pub(super) static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

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
    /// The pod has sent more different functions than a session may create.
    #[error("more than {limit} functions")]
    TooManyFunctions {
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
    /// How the audit log shows arguments, if there is one.
    pub(super) audit: Option<Arguments>,
    /// Of the VM.
    servers: Arc<Servers>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Hashes of the atoms that the pod has sent.
    atoms: HashSet<u64>,
    /// And of the functions.
    functions: HashSet<u64>,
    /// The processes and references that the pod has named before they were given out, on any connection.
    named: HashSet<Named>,
    counts: [u64; Kind::ALL.len()],
    events: VecDeque<Event>,
    failure: Option<Error>,
    /// Processes that judge I/O requests themselves.
    judges: HashSet<Process>,
}

impl Session {
    /// Of a session that begins.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (state, changed) = (Mutex::default(), Notify::new());
        Self { limits, calls: None, audit: None, servers: Arc::default(), state, changed }
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

    /// With the processes of OTP and Elixir, which the pod may only answer, even if they were given out.
    #[must_use]
    pub fn with_servers(self, servers: Arc<Servers>) -> Self {
        Self { servers, ..self }
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
        Process::parse(pid).is_some_and(|process| self.lock().judges.insert(process))
    }

    pub(super) fn is_server(&self, process: &Process) -> bool {
        self.servers.contains(process)
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
        let own = self.limits.atoms;
        add(hash, &mut self.lock().atoms, own, &ATOMS, MAX_ATOMS)
            .map_err(|limit| Error::TooManyAtoms { limit })
    }

    /// Counts a function of a module, or a closure, that the VM will create.
    ///
    /// # Errors
    /// [`Error::TooManyFunctions`]
    pub(super) fn see_function(&self, hash: u64) -> Result<(), Error> {
        add(hash, &mut self.lock().functions, MAX_FUNCTIONS, &FUNCTIONS, MAX_ALL_FUNCTIONS)
            .map_err(|limit| Error::TooManyFunctions { limit })
    }

    /// Notes a process or reference that the pod names before it is given out.
    ///
    /// # Errors
    /// If it has named too much.
    pub(super) fn name(&self, named: Named) -> Result<(), Error> {
        let (named, all) = (named.as_it_returns(), &mut self.lock().named);
        if all.contains(&named) || all.len() < MAX_NAMED && all.insert(named) {
            Ok(())
        } else {
            Err("too many processes and aliases that it was not told of".into())
        }
    }

    /// Whether the pod has named it first.
    pub(super) fn is_named(&self, named: &Named) -> bool {
        self.lock().named.contains(&named.as_it_returns())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds a hash to what a session has sent, and to what all have. The error is the limit that it exceeds.
fn add(
    hash: u64,
    own: &mut HashSet<u64>,
    own_limit: usize,
    all: &Mutex<HashSet<u64>>,
    all_limit: usize,
) -> Result<(), usize> {
    if own.contains(&hash) {
        return Ok(());
    }
    if own.len() >= own_limit {
        return Err(own_limit);
    }
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= all_limit && !all.contains(&hash) {
        return Err(all_limit);
    }
    all.insert(hash);
    own.insert(hash);
    Ok(())
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

    #[test]
    fn a_pod_can_name_and_create_a_limited_number() {
        let session = session(0);
        let process = |id| Named::Process(Process { id, serial: 0, creation: 1 });
        let limit = u32::try_from(MAX_NAMED).unwrap();
        assert!((0..limit).all(|id| session.name(process(id)).is_ok()));
        assert!(session.name(process(limit)).is_err() && session.name(process(0)).is_ok());
        assert!(session.is_named(&process(0)) && !session.is_named(&process(limit)));
        let limit = MAX_FUNCTIONS as u64;
        assert!((0..limit).all(|hash| session.see_function(hash).is_ok()));
        let full = Err(Error::TooManyFunctions { limit: MAX_FUNCTIONS });
        assert_eq!(session.see_function(limit), full);
        assert_eq!(session.see_function(0), Ok(()));
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
