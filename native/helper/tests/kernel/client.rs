//! Starts probes and reads their results.

use std::path::PathBuf;

use crate::{
    environment::{Environment, POD4, RunAs, SESSION},
    process::{Process, output},
};

/// A probe. By default an ordinary program of the user, in the session, that connects to the pod
/// over IPv4.
pub struct Client<'environment> {
    environment: &'environment Environment,
    run_as: RunAs,
    program: PathBuf,
    /// The namespaces that it enters after switching to the user.
    inner: Vec<String>,
    options: Vec<String>,
    to: String,
}

impl<'environment> Client<'environment> {
    /// The default probe.
    pub fn new(environment: &'environment Environment) -> Self {
        Self {
            environment,
            run_as: RunAs::user().within(SESSION),
            program: environment.plain(),
            inner: vec![],
            options: vec![],
            to: POD4.to_owned(),
        }
    }

    /// The environment of the test.
    pub fn environment(&self) -> &'environment Environment {
        self.environment
    }

    /// Runs as another user, in the session.
    pub fn run_as(mut self, run_as: &RunAs) -> Self {
        self.run_as = run_as.within(SESSION);
        self
    }

    /// Runs as another user, in any cgroup.
    pub fn exactly(mut self, run_as: &RunAs) -> Self {
        self.run_as = run_as.clone();
        self
    }

    /// Runs one of the privileged copies.
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// Adds launcher options, applied after switching to the user.
    pub fn inner(mut self, options: &[&str]) -> Self {
        self.inner.extend(options.iter().map(ToString::to_string));
        self
    }

    /// Adds options of the probe.
    pub fn options(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(ToString::to_string));
        self
    }

    /// Connects to another address.
    pub fn to(mut self, to: &str) -> Self {
        to.clone_into(&mut self.to);
        self
    }

    /// Starts the probe without waiting for it.
    pub fn spawn(&self) -> Process {
        let plain = self.environment.plain();
        let mut stages = self.inner.iter();
        let mut words: Vec<String> = vec![];
        let program = if self.inner.is_empty() { &self.program } else { &plain };
        while let Some(option) = stages.next() {
            let next = if stages.len() == 0 { &self.program } else { &plain };
            let next = next.to_str().expect("text").to_owned();
            words.extend(["as".to_owned(), option.clone(), "--".to_owned(), next]);
        }
        let mut command = self.environment.command(&self.run_as, program);
        command.args(words).arg("probe").args(&self.options).arg(&self.to);
        Process::start(&mut command)
    }

    /// Starts the probe and waits until it is ready.
    pub fn start(&self) -> Process {
        let mut probe = self.spawn();
        assert_eq!(probe.line(), "ready");
        probe
    }

    /// The result of its connection.
    pub fn connect(&self) -> String {
        connect(&mut self.start())
    }

    /// The results of several connections of one process.
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

/// The result of a connection of the user.
pub fn connect_as_user(environment: &Environment, to: &str) -> String {
    Client::new(environment).to(to).connect()
}

/// The result of a connection of another user in the user's session.
pub fn connect_as_other(environment: &Environment, to: &str) -> String {
    Client::new(environment).run_as(&RunAs::other()).to(to).connect()
}

/// Whether the connection reached the user's listener.
pub fn is_redirected(said: &str) -> bool {
    said.starts_with("LISTENER saw ")
}

/// Whether the connection reached the pod.
pub fn reached_pod(said: &str) -> bool {
    said.starts_with("POD saw ")
}

/// Whether an ordinary process of the user may trace this process.
pub fn user_may_trace(environment: &Environment, pid: i32) -> bool {
    let mut command = environment.command(&RunAs::user(), &environment.plain());
    let said = output(command.arg("seize").arg(pid.to_string()));
    match said.trim() {
        "yes" => true,
        "no" => false,
        other => panic!("the trace ended with {other}"),
    }
}
