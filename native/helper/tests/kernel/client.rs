//! The rows' side of a probe.

use std::path::PathBuf;

use crate::{
    ground::{Ground, POD4, SESSION, Who},
    process::{Process, output},
};

/// A probe to be: by default the user's own program, in the session, to the pod by IPv4.
pub struct Client<'ground> {
    ground: &'ground Ground,
    who: Who,
    program: PathBuf,
    /// The namespaces that it enters after it has become the user.
    inner: Vec<String>,
    options: Vec<String>,
    to: String,
}

impl<'ground> Client<'ground> {
    /// See the type.
    pub fn new(ground: &'ground Ground) -> Self {
        Self {
            ground,
            who: Who::user().within(SESSION),
            program: ground.plain(),
            inner: vec![],
            options: vec![],
            to: POD4.to_owned(),
        }
    }

    /// What it stands on.
    pub fn ground(&self) -> &'ground Ground {
        self.ground
    }

    /// Somebody else, in the session.
    pub fn who(mut self, who: &Who) -> Self {
        self.who = who.within(SESSION);
        self
    }

    /// Somebody else, or somewhere else.
    pub fn exactly(mut self, who: &Who) -> Self {
        self.who = who.clone();
        self
    }

    /// One of the privileged copies.
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// A launcher's option for somebody who is the user already.
    pub fn inner(mut self, options: &[&str]) -> Self {
        self.inner.extend(options.iter().map(ToString::to_string));
        self
    }

    /// The probe's own options.
    pub fn options(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(ToString::to_string));
        self
    }

    /// Another address.
    pub fn to(mut self, to: &str) -> Self {
        to.clone_into(&mut self.to);
        self
    }

    /// Starts it, and does not wait for it.
    pub fn spawn(&self) -> Process {
        let plain = self.ground.plain();
        let mut stages = self.inner.iter();
        let mut words: Vec<String> = vec![];
        let program = if self.inner.is_empty() { &self.program } else { &plain };
        while let Some(option) = stages.next() {
            let next = if stages.len() == 0 { &self.program } else { &plain };
            let next = next.to_str().expect("text").to_owned();
            words.extend(["as".to_owned(), option.clone(), "--".to_owned(), next]);
        }
        let mut command = self.ground.command(&self.who, program);
        command.args(words).arg("probe").args(&self.options).arg(&self.to);
        Process::start(&mut command)
    }

    /// Starts it, and waits until it has become what it is to be.
    pub fn start(&self) -> Process {
        let mut probe = self.spawn();
        assert_eq!(probe.line(), "ready");
        probe
    }

    /// What its connection comes to.
    pub fn connect(&self) -> String {
        connect(&mut self.start())
    }

    /// What so many connections of one process come to.
    pub fn connects(mut self, count: usize) -> Vec<String> {
        self.options.push(format!("times={count}"));
        let mut probe = self.start();
        (0..count).map(|_| connect(&mut probe)).collect()
    }
}

/// Lets a probe connect.
pub fn connect(probe: &mut Process) -> String {
    probe.send(b"\n");
    probe.line()
}

/// The user's program, to an address.
pub fn user_to(ground: &Ground, to: &str) -> String {
    Client::new(ground).to(to).connect()
}

/// Another user's program in the user's session, to an address.
pub fn other_to(ground: &Ground, to: &str) -> String {
    Client::new(ground).who(&Who::other()).to(to).connect()
}

/// Whether this arrived at the user's listener.
pub fn is_led(said: &str) -> bool {
    said.starts_with("LISTENER saw ")
}

/// Whether this arrived at the pod.
pub fn is_at_pod(said: &str) -> bool {
    said.starts_with("POD saw ")
}

/// Whether a plain process of the user may trace this one.
pub fn user_may_trace(ground: &Ground, pid: i32) -> bool {
    let mut command = ground.command(&Who::user(), &ground.plain());
    let said = output(command.arg("seize").arg(pid.to_string()));
    match said.trim() {
        "yes" => true,
        "no" => false,
        other => panic!("the trace ended with {other}"),
    }
}
