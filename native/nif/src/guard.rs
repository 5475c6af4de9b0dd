//! The state that the guarded connections of one session share, as a resource of the BEAM.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use k8s_connect_core::{
    Error,
    endpoint::{
        audit::{AuditFile, AuditLog, Subject},
        guard::{Arguments, Event, Kind, Limits, Refusal, Servers, Session},
        pump::Guarding,
    },
};
use rustler::{
    Atom, Binary, Encoder, Env, NifResult, Reference, Resource, ResourceArc, Term, types::atom::ok,
};

use crate::{caller::Caller, reply};

mod atoms {
    rustler::atoms! { refused }
}

/// The processes of OTP, Elixir and this library, for all guards.
static SERVERS: LazyLock<Arc<Servers>> = LazyLock::new(Arc::default);

/// The guard of a session.
pub struct Guard {
    session: Arc<Session>,
    audit: Option<Arc<AuditFile>>,
}

impl Guard {
    /// For the connections to this node.
    pub fn guarding(&self, subject: Subject) -> Guarding {
        let session = self.session.clone();
        let log = |file: &Arc<AuditFile>| AuditLog {
            file: file.clone(),
            subject,
            session: session.clone(),
        };
        Guarding { audit: self.audit.as_ref().map(log), session }
    }
}

#[rustler::resource_impl]
impl Resource for Guard {}

/// `{:ok, guard}` with these limits, for all connections of a session. `calls`: the functions that the local node may
/// call, each as `module:function/arity`; `None` if it may do everything. `audit`: the file of the audit log, and whether
/// arguments are shown there. `{:error, error}` if the file cannot be opened.
#[rustler::nif(schedule = "DirtyIo")]
fn guard(
    env: Env,
    atoms: usize,
    message: usize,
    calls: Option<Vec<String>>,
    audit: Option<(String, bool)>,
) -> Term {
    let limits = Limits { atoms, message };
    let session = match calls {
        Some(calls) => Session::read_only(limits, calls.into_iter().collect()),
        None => Session::new(limits),
    };
    match audited(session.with_servers(SERVERS.clone()), audit) {
        Ok(guard) => (ok(), ResourceArc::new(guard)).encode(env),
        Err(error) => (rustler::types::atom::error(), crate::error::Failure(error)).encode(env),
    }
}

/// The list of the processes of OTP, Elixir and this library in the external format, for all guards.
#[rustler::nif(schedule = "DirtyCpu")]
fn servers(pids: Binary) -> Atom {
    SERVERS.replace(&pids);
    ok()
}

/// Adds a process to the list, in the external format.
#[rustler::nif]
fn add_server(pid: Binary) -> Atom {
    SERVERS.add(&pid);
    ok()
}

fn audited(session: Session, audit: Option<(String, bool)>) -> Result<Guard, Error> {
    let Some((file, shown)) = audit else {
        return Ok(Guard { session: Arc::new(session), audit: None });
    };
    let opened = AuditFile::open(Path::new(&file))
        .map_err(|error| Error::NoAuditFile { file, problem: error.to_string() })?;
    let arguments = if shown { Arguments::Shown } else { Arguments::Hidden };
    let session = Arc::new(session.audited(arguments));
    Ok(Guard { session, audit: Some(Arc::new(opened)) })
}

/// Sends `{reference, {:refused, kind, detail}}` for the first refusal of each kind, until
/// `{reference, {:error, error}}` when the guard has ended a connection, or the end of the calling process.
#[rustler::nif]
fn guard_events(env: Env, reference: Reference, guard: ResourceArc<Guard>) -> NifResult<Atom> {
    let caller = Arc::new(Caller::new(env, reference));
    let (listener, session) = (caller.clone(), guard.session.clone());
    let work = async move {
        loop {
            match session.event().await {
                Event::Refused(refusal) => listener.send(&Refused(&refusal)),
                Event::Failed(error) => return Err::<(), _>(Error::from(error)),
            }
        }
    };
    reply::spawn_with(&caller, work)
}

/// `[{kind, count}]` of what was refused.
#[rustler::nif]
fn guard_counts(env: Env, guard: ResourceArc<Guard>) -> NifResult<Vec<(Atom, u64)>> {
    let counts = Kind::ALL.into_iter().map(|kind| (kind, guard.session.count(kind)));
    let counts = counts.filter(|(_kind, count)| *count > 0);
    counts.map(|(kind, count)| Ok((Atom::from_str(env, kind.name())?, count))).collect()
}

/// `:ok`, or `{:error, error}` if the guard has ended a connection.
#[rustler::nif]
fn guard_failure(env: Env, guard: ResourceArc<Guard>) -> Term {
    match guard.session.failure() {
        None => ok().encode(env),
        Some(error) => {
            (rustler::types::atom::error(), crate::error::Failure(error.into())).encode(env)
        }
    }
}

/// Lets all I/O requests pass to a local process, given in the external term format. It has to judge them itself.
#[rustler::nif]
fn guard_judge(guard: ResourceArc<Guard>, pid: Binary) -> bool {
    guard.session.add_judge(&pid)
}

struct Refused<'a>(&'a Refusal);

impl Encoder for Refused<'_> {
    fn encode<'b>(&self, env: Env<'b>) -> Term<'b> {
        let Refusal { kind, detail } = self.0;
        let kind = Atom::from_str(env, kind.name()).unwrap_or_else(|_| atoms::refused());
        (atoms::refused(), kind, detail).encode(env)
    }
}
