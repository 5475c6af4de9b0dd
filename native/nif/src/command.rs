//! Local commands as resources of the BEAM. A command ends with its owner process.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use ::exec::Report;
use k8s_connect_core::{
    Error,
    command::{Command, RunningCommand},
};
use rustler::{
    Atom, Binary, Encoder, Env, LocalPid, Monitor, NifMap, NifResult, Reference, Resource,
    ResourceArc, Term, types::atom,
};

use crate::{caller::Caller, reply};

struct CommandResource(RunningCommand);

#[rustler::resource_impl]
impl Resource for CommandResource {
    const IMPLEMENTS_DOWN: bool = true;

    fn down<'a>(&'a self, _env: Env<'a>, _owner: LocalPid, _monitor: Monitor) {
        self.0.stop();
    }
}

#[derive(NifMap)]
struct CommandOptions {
    runner: String,
    redirects: Vec<(String, u16)>,
    command: Vec<String>,
    environment: HashMap<String, String>,
}

#[derive(NifMap)]
struct Started {
    command: ResourceArc<CommandResource>,
    /// Whether it reads the bytes of `exec_write`.
    input: bool,
}

mod atoms {
    rustler::atoms! { exited, signaled, failed, lost }
}

/// How a command has ended; `None` if the runner was killed.
struct Ended(Option<Report>);

/// Not by rustler's `NifTaggedEnum`: it generates its atoms in a random order, so no two builds would have the same bytes.
impl Encoder for Ended {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        match &self.0 {
            Some(Report::Exited(code)) => (atoms::exited(), code).encode(env),
            Some(Report::Signaled(signal)) => (atoms::signaled(), signal).encode(env),
            Some(Report::Failed(failure, problem)) => {
                (atoms::failed(), failure.word(), problem).encode(env)
            }
            None => atoms::lost().encode(env),
        }
    }
}

/// `{reference, {:ok, %{command: _, input: boolean}}}`: the command runs, on this BEAM's terminal if
/// there is one. It ends with the calling process.
#[rustler::nif]
fn exec(env: Env, reference: Reference, options: CommandOptions) -> NifResult<Atom> {
    let caller = Arc::new(Caller::new(env, reference));
    let owner = caller.pid();
    reply::spawn_with(&caller, async move { start(options, owner).await })
}

/// `{reference, {:ok, {:exited, code} | {:signaled, number} | {:failed, word, problem} | :lost}}` when
/// the command has ended.
#[rustler::nif]
fn exec_ended(
    env: Env,
    reference: Reference,
    command: ResourceArc<CommandResource>,
) -> NifResult<Atom> {
    reply::spawn(env, reference, async move { Ok(Ended(command.0.wait().await)) })
}

/// `{reference, {:ok, boolean}}`: whether the command reads on.
#[rustler::nif]
fn exec_write(
    env: Env,
    reference: Reference,
    command: ResourceArc<CommandResource>,
    bytes: Binary,
) -> NifResult<Atom> {
    let bytes = bytes.as_slice().to_vec();
    reply::spawn(env, reference, async move { Ok(command.0.write(&bytes).await) })
}

/// `{reference, {:ok, {}}}`: closes the standard input of the command.
#[rustler::nif]
fn exec_close_input(
    env: Env,
    reference: Reference,
    command: ResourceArc<CommandResource>,
) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        command.0.close_input().await;
        Ok(())
    })
}

/// Asks the command to end.
#[rustler::nif]
fn exec_end(command: ResourceArc<CommandResource>) -> Atom {
    command.0.stop();
    atom::ok()
}

async fn start(options: CommandOptions, owner: LocalPid) -> Result<Started, Error> {
    let CommandOptions { runner, redirects, command, environment } = options;
    let no_runner = |problem: String| Error::NoRunner { program: runner.clone(), problem };
    let redirects: Result<Vec<(SocketAddr, u16)>, _> =
        redirects.into_iter().map(|(to, via)| to.parse().map(|to| (to, via))).collect();
    let redirects = redirects.map_err(|error| no_runner(error.to_string()))?;
    let environment = environment.into_iter().collect();
    let command = Command { runner: runner.clone().into(), redirects, command, environment };
    let running =
        RunningCommand::start(&command).await.map_err(|error| no_runner(error.to_string()))?;
    let input = running.has_input().await;
    let command = ResourceArc::new(CommandResource(running));
    if command.monitor(None, &owner).is_none() {
        command.0.stop(); // the owner has exited
    }
    Ok(Started { command, input })
}
