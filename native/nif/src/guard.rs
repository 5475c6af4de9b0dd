//! The state that the guarded connections of one session share, as a resource of the BEAM.

use std::sync::Arc;

use k8s_connect_core::{
    Error,
    endpoint::guard::{Event, Kind, Limits, Refusal, Session},
};
use rustler::{
    Atom, Binary, Encoder, Env, NifResult, Reference, Resource, ResourceArc, Term, types::atom::ok,
};

use crate::{caller::Caller, reply};

mod atoms {
    rustler::atoms! { refused }
}

/// The guard of a session.
pub struct Guard(pub Arc<Session>);

#[rustler::resource_impl]
impl Resource for Guard {}

/// A guard with these limits, for all connections of a session. `calls`: the functions that the local node may call,
/// each as `module:function/arity`; `None` if it may do everything.
#[rustler::nif]
fn guard(atoms: usize, message: usize, calls: Option<Vec<String>>) -> ResourceArc<Guard> {
    let limits = Limits { atoms, message };
    let session = match calls {
        Some(calls) => Session::read_only(limits, calls.into_iter().collect()),
        None => Session::new(limits),
    };
    ResourceArc::new(Guard(Arc::new(session)))
}

/// Sends `{reference, {:refused, kind, detail}}` for the first refusal of each kind, until
/// `{reference, {:error, error}}` when the guard has ended a connection, or the end of the calling process.
#[rustler::nif]
fn guard_events(env: Env, reference: Reference, guard: ResourceArc<Guard>) -> NifResult<Atom> {
    let caller = Arc::new(Caller::new(env, reference));
    let (listener, session) = (caller.clone(), guard.0.clone());
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
    let counts = Kind::ALL.into_iter().map(|kind| (kind, guard.0.count(kind)));
    let counts = counts.filter(|(_kind, count)| *count > 0);
    counts.map(|(kind, count)| Ok((Atom::from_str(env, kind.name())?, count))).collect()
}

/// `:ok`, or `{:error, error}` if the guard has ended a connection.
#[rustler::nif]
fn guard_failure(env: Env, guard: ResourceArc<Guard>) -> Term {
    match guard.0.failure() {
        None => ok().encode(env),
        Some(error) => {
            (rustler::types::atom::error(), crate::error::Failure(error.into())).encode(env)
        }
    }
}

/// Lets all I/O requests pass to a local process, given in the external term format. It has to judge them itself.
#[rustler::nif]
fn guard_judge(guard: ResourceArc<Guard>, pid: Binary) -> bool {
    guard.0.add_judge(&pid)
}

struct Refused<'a>(&'a Refusal);

impl Encoder for Refused<'_> {
    fn encode<'b>(&self, env: Env<'b>) -> Term<'b> {
        let Refusal { kind, detail } = self.0;
        let kind = Atom::from_str(env, kind.name()).unwrap_or_else(|_| atoms::refused());
        (atoms::refused(), kind, detail).encode(env)
    }
}
