//! The BEAM's door to [`k8s_connect_core`]: each function takes a reference, returns `:ok` at
//! once, and sends `{reference, result}` to the caller when the work is done.

// A NIF takes its arguments by value; that is the shape that rustler decodes them into.
#![allow(clippy::needless_pass_by_value)]

mod encode;
#[cfg(target_os = "linux")]
mod exec;
mod frames;
#[cfg(target_os = "linux")]
mod listener;
mod options;
mod reply;
mod runtime;
mod session;
mod survey;
mod trace;
mod watch;

use std::sync::Arc;

use k8s_connect_core::{Error, attach::Steps, cluster::Cluster, config, pod};
use rustler::{Atom, Env, NewBinary, NifResult, Reference, ResourceArc, Term, types::atom};

use tracing::{Dispatch, instrument::WithSubscriber};

use crate::{
    options::{ApiOptions, AttachOptions},
    reply::Caller,
    session::Session,
};

/// `{reference, {:ok, [%K8sConnect.Pod{}]}}`
#[rustler::nif]
fn list_pods(env: Env, reference: Reference, options: ApiOptions) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let pods = pod::list(&*connect(options).await?).await.map_err(Error::from)?;
        Ok(pods.into_iter().map(encode::Pod::from).collect::<Vec<_>>())
    })
}

/// `{reference, {:ok, %{context: context, namespace: namespace}}}`: what the options lead to. Nothing is
/// sent to the API server.
#[rustler::nif]
fn resolve(env: Env, reference: Reference, options: ApiOptions) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let (source, selection, _timeout) = options.into_parts();
        let access = config::resolve(&source, selection).await?;
        Ok(options::Place { context: access.context, namespace: access.namespace })
    })
}

/// `{reference, {:ok, found}}`, and before that `{reference, {:step, name, detail, ms}}` each time
/// that one is done; with `verbose` also `{reference, {:trace, name, detail, us, took_us | nil}}`. The link
/// ends with the calling process.
#[rustler::nif]
fn attach(
    env: Env,
    reference: Reference,
    options: ApiOptions,
    target: AttachOptions,
) -> NifResult<Atom> {
    let caller = Arc::new(Caller::new(env, reference));
    let told = caller.clone();
    let steps = Steps::new(move |step| told.tell(&step));
    let owner = caller.pid();
    let seen = if target.verbose { trace::to(caller.clone()) } else { Dispatch::none() };
    let work = async move {
        let cluster = connect(options).await?;
        steps.cluster(&cluster);
        session::attach(cluster, target.into(), owner, steps).await
    };
    reply::spawn_with(&caller, work.with_subscriber(seen))
}

/// `{reference, {:ok, name}}` when the node answers again, on the connection to the pod that there is. An error
/// tells that there is none any more, or no such pod.
#[rustler::nif]
fn reattach(env: Env, reference: Reference, session: ResourceArc<Session>) -> NifResult<Atom> {
    reply::spawn(env, reference, session::reattach(session))
}

/// `{reference, {:pods, [{name, uid}]}}`: the pods of the target that run and are not being deleted, each time
/// that these have changed. It ends with `{reference, {:error, error}}`, or with the calling process.
#[rustler::nif]
fn watch(
    env: Env,
    reference: Reference,
    options: ApiOptions,
    target: AttachOptions,
) -> NifResult<Atom> {
    let caller = Arc::new(Caller::new(env, reference));
    let listener = caller.clone();
    let work = async move {
        let cluster = connect(options).await?;
        watch::run(&cluster, &target.into(), &listener).await
    };
    reply::spawn_with(&caller, work)
}

/// `{reference, {:ok, path}}`: an `AF_UNIX` socket that takes one connection, to the node.
#[rustler::nif]
fn dial(
    env: Env,
    reference: Reference,
    session: ResourceArc<Session>,
    directory: String,
) -> NifResult<Atom> {
    reply::spawn(env, reference, session::dial(session, directory))
}

/// `{reference, {:ok, {}}}`, or the error that says why the node lets nobody of this name in; that the cookie
/// is wrong is not seen here.
#[rustler::nif]
fn refusal(
    env: Env,
    reference: Reference,
    session: ResourceArc<Session>,
    name: String,
) -> NifResult<Atom> {
    reply::spawn(env, reference, session::refusal(session, name))
}

/// `{reference, {:ok, reason}}` when the link has ended.
#[rustler::nif]
fn closed(env: Env, reference: Reference, session: ResourceArc<Session>) -> NifResult<Atom> {
    reply::spawn(env, reference, session::closed(session))
}

/// Ends the link and all that runs over it.
#[rustler::nif]
fn close(session: ResourceArc<Session>) -> Atom {
    session.close();
    atom::ok()
}

/// The cookie that was found, byte for byte, or `nil`.
#[rustler::nif]
fn cookie(env: Env, session: ResourceArc<Session>) -> Term {
    match session.cookie() {
        Some(cookie) => {
            let mut binary = NewBinary::new(env, cookie.len());
            binary.as_mut_slice().copy_from_slice(cookie);
            binary.into()
        }
        None => atom::nil().to_term(env),
    }
}

async fn connect(options: ApiOptions) -> Result<Arc<Cluster>, Error> {
    let (source, selection, timeout) = options.into_parts();
    session::cluster(config::resolve(&source, selection).await?, timeout)
}

/// A library that cannot have its threads is not loaded.
fn load(_env: Env, _info: Term) -> bool {
    runtime::start().is_ok()
}

rustler::init!("Elixir.K8sConnect.Native", load = load);
