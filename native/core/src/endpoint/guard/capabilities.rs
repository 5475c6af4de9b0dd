//! The processes and aliases of the local node that were given out to the pod. It can send to no others.
//!
//! Each call gives out a reference, so what was not seen for a long time is forgotten: an entry is moved from the old to
//! the young generation when it is seen or used; a full or aged young generation becomes the old one. So at least the
//! [`GENERATION`] entries seen last are known, and what is not seen for one to two times [`MAX_AGE`] is not. A
//! message to what was forgotten does not pass: the caller of a late answer sees a timeout. Monitors, of which the alias
//! of a pending call is one, and requests for a process are known until they end, however old they are: see [`PENDING`].
//!
//! The local node repeats some pids and references that the pod has sent: in the answer to an I/O request, in the reason of
//! an exit, also after a reconnect. Repeating does not give them out: see [`Session::name`](super::session::Session).

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

use super::term::{Item, Pid, Reference, Token, VERSION, item};

/// Entries of a generation.
pub(super) const GENERATION: usize = 32 * 1024;
/// Monitors, and requests for a process, that can be pending at the same time. The local node remembers each, too.
pub(super) const PENDING: usize = 1024 * 1024;
/// How long a generation is young.
pub(super) const MAX_AGE: Duration = Duration::from_hours(24);

/// A process of the local node. Its name is that of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Process {
    pub(super) id: u32,
    pub(super) serial: u32,
    pub(super) creation: u32,
}

impl Process {
    /// A pid in the external format.
    pub(super) fn parse(pid: &[u8]) -> Option<Self> {
        match item(pid.strip_prefix(&[VERSION])?).ok()? {
            Item { token: Token::Pid(pid), .. } => Some(pid.into()),
            _ => None,
        }
    }
}

impl From<Pid<'_>> for Process {
    fn from(pid: Pid) -> Self {
        Self { id: pid.id, serial: pid.serial, creation: pid.creation }
    }
}

/// An alias of the local node, or another reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Alias {
    creation: u32,
    words: [u32; 5],
}

impl From<Reference<'_>> for Alias {
    fn from(reference: Reference) -> Self {
        Self { creation: reference.creation, words: reference.words }
    }
}

/// What a process is to the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It sent a message or monitors something, but no message named it. It may get answers.
    Caller,
    /// A process of OTP or Elixir. It may get answers, too.
    Server,
    /// A message named it.
    Process,
    /// The group leader of a process in the pod.
    GroupLeader,
    /// It was given out, and has ended.
    Ended,
}

/// A monitor of a process in the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Monitor {
    pub owner: Process,
    /// Whether the answer to a call can have its reference. `false` for the monitor of `spawn_monitor`.
    pub call: bool,
}

/// A request for a process in the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spawn {
    pub parent: Process,
    /// Whether the process is to be linked to its parent.
    pub link: bool,
}

/// The processes and references that were given out on one connection.
#[derive(Debug)]
pub(super) struct Capabilities {
    processes: Generations<Process, Role>,
    aliases: Generations<Alias, Role>,
    monitors: Generations<Alias, Monitor>,
    /// Requests for a process in the pod, by whom.
    spawns: Generations<Alias, Spawn>,
    /// References that were given out, and are not any more.
    ended: Generations<Alias, ()>,
}

/// A process or reference of the local node that the pod named before it was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Named {
    Process(Process),
    Alias(Alias),
}

impl Named {
    /// As OTP writes it when it comes back: of a reference that is no alias, only three words are written, whatever the
    /// pod has added to them.
    pub fn as_it_returns(self) -> Self {
        match self {
            Self::Alias(Alias { creation, words: [first, second, third, ..] }) => {
                Self::Alias(Alias { creation, words: [first, second, third, 0, 0] })
            }
            process @ Self::Process(_) => process,
        }
    }
}

impl Capabilities {
    pub fn new(now: Instant) -> Self {
        Self {
            processes: Generations::new(now),
            aliases: Generations::new(now),
            monitors: Generations::pending(now),
            spawns: Generations::pending(now),
            ended: Generations::new(now),
        }
    }

    /// A process that sends something itself.
    pub fn give_caller(&mut self, process: Process, now: Instant) {
        if self.processes.get(&process, now).is_none() {
            self.processes.put(process, Role::Caller, now);
        }
    }

    /// A process that a message names; `named`: whether the pod has named it first.
    pub fn give_process(&mut self, process: Process, named: bool, now: Instant) {
        match self.processes.get(&process, now) {
            None if named => {}
            None | Some(Role::Caller) => self.processes.put(process, Role::Process, now),
            // A group leader stays one, and what has ended stays ended.
            Some(_) => {}
        }
    }

    /// Whether it was given out.
    pub fn knows(&mut self, named: Named, now: Instant) -> bool {
        match named {
            Named::Process(process) => self.processes.get(&process, now).is_some(),
            Named::Alias(alias) => {
                self.alias(&alias, now).is_some() || self.ended.get(&alias, now).is_some()
            }
        }
    }

    pub fn give_group_leader(&mut self, process: Process, now: Instant) {
        self.processes.put(process, Role::GroupLeader, now);
    }

    /// An alias that a message names; `named`: whether the pod has named it first.
    pub fn give_alias(&mut self, alias: Alias, named: bool, now: Instant) {
        if !named {
            self.aliases.put(alias, Role::Process, now);
        }
    }

    /// An alias for the answer to a call.
    pub fn give_tag(&mut self, alias: Alias, now: Instant) {
        if self.aliases.get(&alias, now).is_none() {
            self.aliases.put(alias, Role::Caller, now);
        }
    }

    /// A request for a process, until its answer.
    pub fn await_spawn(&mut self, request: Alias, spawn: Spawn, now: Instant) {
        self.spawns.put(request, spawn, now);
    }

    /// The request that this is the first answer to.
    pub fn take_spawn(&mut self, request: &Alias, now: Instant) -> Option<Spawn> {
        let spawn = self.spawns.get(request, now);
        self.spawns.remove(request);
        spawn
    }

    /// Until it fires or is removed.
    pub fn give_monitor(&mut self, alias: Alias, monitor: Monitor, now: Instant) {
        self.monitors.put(alias, monitor, now);
    }

    /// The monitor with this reference.
    pub fn monitor(&mut self, reference: &Alias, now: Instant) -> Option<Monitor> {
        self.monitors.get(reference, now)
    }

    pub fn process(&mut self, process: &Process, now: Instant) -> Option<Role> {
        self.processes.get(process, now)
    }

    /// The role of an alias. The alias of a monitor gets only an answer, as a [`Role::Caller`] does.
    pub fn alias(&mut self, alias: &Alias, now: Instant) -> Option<Role> {
        if let Some(role) = self.aliases.get(alias, now) {
            return Some(role);
        }
        self.monitors.get(alias, now).map(|_monitor| Role::Caller)
    }

    /// The process has ended. Messages to it are dropped, and not counted as refused.
    pub fn end_process(&mut self, process: Process, now: Instant) {
        self.processes.put(process, Role::Ended, now);
    }

    /// The alias or monitor has ended. Late messages may still name it.
    pub fn forget_alias(&mut self, alias: &Alias, now: Instant) {
        if self.alias(alias, now).is_some() {
            self.ended.put(*alias, (), now);
        }
        self.monitors.remove(alias);
        self.aliases.remove(alias);
    }
}

#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    since: Instant,
    /// The most entries of a generation.
    size: usize,
    /// How long a generation is young.
    age: Duration,
}

impl<K: Copy + Eq + Hash, V: Copy> Generations<K, V> {
    fn new(since: Instant) -> Self {
        Self::with(since, GENERATION, MAX_AGE)
    }

    /// For what is removed when it ends.
    fn pending(since: Instant) -> Self {
        Self::with(since, PENDING, Duration::MAX)
    }

    fn with(since: Instant, size: usize, age: Duration) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), since, size, age }
    }

    fn put(&mut self, key: K, value: V, now: Instant) {
        let aged = now.saturating_duration_since(self.since) >= self.age;
        if aged || self.young.len() >= self.size {
            self.old = std::mem::take(&mut self.young);
            self.since = now;
        }
        self.young.insert(key, value);
    }

    fn get(&mut self, key: &K, now: Instant) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(*value);
        }
        let value = self.old.remove(key)?;
        self.put(*key, value, now);
        Some(value)
    }

    fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(id: u32) -> Process {
        Process { id, serial: 0, creation: 1 }
    }

    fn monitor(owner: u32) -> Monitor {
        Monitor { owner: process(owner), call: true }
    }

    #[test]
    fn a_group_leader_stays_one() {
        let now = Instant::now();
        let mut given = Capabilities::new(now);
        assert_eq!(given.process(&process(1), now), None);
        given.give_process(process(1), false, now);
        assert_eq!(given.process(&process(1), now), Some(Role::Process));
        given.give_group_leader(process(1), now);
        given.give_process(process(1), false, now);
        assert_eq!(given.process(&process(1), now), Some(Role::GroupLeader));
        given.end_process(process(1), now);
        assert_eq!(given.process(&process(1), now), Some(Role::Ended));
    }

    #[test]
    fn what_the_pod_names_first_is_not_given_out_by_its_return() {
        let now = Instant::now();
        let mut given = Capabilities::new(now);
        let alias = Alias { creation: 1, words: [1, 0, 0, 0, 0] };
        given.give_process(process(1), true, now);
        given.give_alias(alias, true, now);
        assert_eq!(given.process(&process(1), now), None);
        assert_eq!(given.alias(&alias, now), None);
        // The local VM itself says what these are.
        given.give_caller(process(1), now);
        given.give_monitor(alias, monitor(1), now);
        assert_eq!(given.process(&process(1), now), Some(Role::Caller));
        assert_eq!(given.alias(&alias, now), Some(Role::Caller));
        assert_eq!(given.monitor(&alias, now), Some(monitor(1)));
        given.give_process(process(1), true, now);
        assert_eq!(given.process(&process(1), now), Some(Role::Process));
    }

    #[test]
    fn a_request_for_a_process_has_one_answer() {
        let now = Instant::now();
        let mut given = Capabilities::new(now);
        let request = Alias { creation: 1, words: [1, 0, 0, 0, 0] };
        let spawn = Spawn { parent: process(1), link: true };
        assert_eq!(given.take_spawn(&request, now), None);
        given.await_spawn(request, spawn, now);
        assert_eq!(given.take_spawn(&request, now), Some(spawn));
        assert_eq!(given.take_spawn(&request, now), None);
    }

    #[test]
    fn a_monitor_is_known_until_it_ends() {
        let start = Instant::now();
        let mut given = Capabilities::new(start);
        let alias = |id| Alias { creation: 1, words: [id, 0, 0, 0, 0] };
        for id in 0..u32::try_from(3 * GENERATION).unwrap_or(0) {
            given.give_monitor(alias(id), monitor(id), start);
        }
        let late = start + 100 * MAX_AGE;
        given.give_monitor(alias(u32::MAX), monitor(0), late);
        assert_eq!(given.monitor(&alias(7), late), Some(monitor(7)));
        given.forget_alias(&alias(7), late);
        assert_eq!(given.monitor(&alias(7), late), None);
    }

    #[test]
    fn the_oldest_are_forgotten_and_what_is_used_stays() {
        let now = Instant::now();
        let mut given = Capabilities::new(now);
        given.give_process(process(0), false, now);
        given.give_process(process(1), false, now);
        let last = u32::try_from(3 * GENERATION).unwrap_or(0);
        for id in 2..last {
            given.give_process(process(id), false, now);
            assert!(given.process(&process(0), now).is_some(), "{id}");
            assert!(given.processes.young.len() + given.processes.old.len() <= 2 * GENERATION);
        }
        assert_eq!(given.process(&process(1), now), None);
        assert!(given.process(&process(last - 1), now).is_some());
    }

    #[test]
    fn the_alias_of_a_pending_call_stays_however_many_references_follow() {
        let now = Instant::now();
        let mut given = Capabilities::new(now);
        let alias = |id| Alias { creation: 1, words: [id, 0, 0, 0, 0] };
        given.give_alias(alias(0), false, now);
        given.give_monitor(alias(0), monitor(0), now);
        given.give_alias(alias(1), false, now);
        for id in 2..u32::try_from(3 * GENERATION).unwrap_or(0) {
            given.give_alias(alias(id), false, now);
        }
        assert!(given.alias(&alias(0), now).is_some() && given.alias(&alias(1), now).is_none());
        given.forget_alias(&alias(0), now);
        assert!(given.alias(&alias(0), now).is_none());
    }

    #[test]
    fn what_was_not_seen_for_two_days_is_forgotten() {
        let start = Instant::now();
        let mut given = Capabilities::new(start);
        let alias = |id| Alias { creation: 1, words: [id, 0, 0, 0, 0] };
        given.give_alias(alias(1), false, start);
        given.give_alias(alias(2), false, start + MAX_AGE);
        assert!(given.alias(&alias(2), start + MAX_AGE).is_some());
        given.give_alias(alias(3), false, start + 2 * MAX_AGE);
        assert!(given.alias(&alias(1), start + 2 * MAX_AGE).is_none());
        assert!(given.alias(&alias(2), start + 2 * MAX_AGE).is_some());
        given.forget_alias(&alias(2), start);
        assert!(given.alias(&alias(2), start + 2 * MAX_AGE).is_none());
    }
}
