//! The NIFs for [`k8s_connect_core`]. Each function takes a reference, returns `:ok` at once, and sends
//! `{reference, result}` to the caller when the work is done.

// rustler decodes the arguments of a NIF to values.
#![allow(clippy::needless_pass_by_value)]

mod caller;
#[cfg(target_os = "linux")]
mod command;
mod diagnosis;
mod error;
mod frames;
mod guard;
#[cfg(target_os = "linux")]
mod listener;
mod options;
mod pod_connection;
mod pods;
mod progress;
mod reply;
mod runtime;
mod trace;
mod watch;

use std::sync::Arc;

use k8s_connect_core::{
    Error,
    access::{cluster::Cluster, kubeconfig},
    endpoint::handshake::cookies::{self, Cookies},
    listing,
};
use rustler::{Atom, Binary, Env, NewBinary, NifResult, Reference, ResourceArc, Term, types::atom};
use tracing::{Dispatch, instrument::WithSubscriber};

use crate::{
    caller::Caller,
    guard::Guard,
    options::{ApiOptions, AttachOptions},
    pod_connection::PodConnection,
    pods::{Pod, Query},
};

/// `{reference, {:ok, [%K8sConnect.Pod{}]}}`
#[rustler::nif]
fn list_pods(env: Env, reference: Reference, options: ApiOptions, query: Query) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let pods = listing::list(&*connect(options).await?, &query.into()).await?;
        Ok(pods.into_iter().map(Pod::from).collect::<Vec<_>>())
    })
}

/// `{reference, {:ok, %{context: context, namespace: namespace}}}`: what the options select. Sends nothing to
/// the API server.
#[rustler::nif]
fn resolve(env: Env, reference: Reference, options: ApiOptions) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let (source, selection, _timeout) = options.into_parts();
        let config = kubeconfig::resolve(&source, selection).await?;
        Ok(options::Resolved { context: config.context, namespace: config.namespace })
    })
}

/// `{reference, {:ok, attached}}`, and before that `{reference, {:step, name, detail, ms}}` for each finished
/// step. With `verbose` also `{reference, {:trace, name, detail, us, took_us | nil}}`. The port-forward
/// connection closes with the calling process.
#[rustler::nif]
fn attach(
    env: Env,
    reference: Reference,
    options: ApiOptions,
    target: AttachOptions,
) -> NifResult<Atom> {
    let caller = Arc::new(Caller::new(env, reference));
    let owner = caller.pid();
    let progress = progress::to_caller(&caller);
    let verbose = target.verbose;
    let trace = if verbose { progress::trace_to_caller(&caller) } else { Dispatch::none() };
    let work = async move {
        let cluster = connect(options).await?;
        progress.server(&cluster);
        pod_connection::attach(cluster, target.into(), owner, progress).await
    };
    reply::spawn_with(&caller, work.with_subscriber(trace))
}

/// `{reference, {:ok, name}}` when the node answers again, on the same port-forward connection.
#[rustler::nif]
fn reattach(
    env: Env,
    reference: Reference,
    pod_connection: ResourceArc<PodConnection>,
) -> NifResult<Atom> {
    reply::spawn(env, reference, pod_connection::reattach(pod_connection))
}

/// `{reference, {:pods, [{name, uid}]}}`: the running pods of the target, those that are being deleted left out.
/// Sent again each time that they change, until `{reference, {:error, error}}`, or the end of the calling process.
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

/// `{reference, {:ok, path}}`: an `AF_UNIX` socket that accepts one connection, to the node. `linux`: whether its file is
/// unlinked before. Without a guard the pod is trusted. `cookies`: that of the node, and that which this VM has for it.
#[rustler::nif]
fn dial(
    env: Env,
    reference: Reference,
    pod_connection: ResourceArc<PodConnection>,
    directory: String,
    linux: bool,
    guard: Option<ResourceArc<Guard>>,
    cookies: (Binary, String),
) -> NifResult<Atom> {
    let cookies = Cookies::new(&cookies.0, &cookies.1);
    reply::spawn(
        env,
        reference,
        pod_connection::dial(pod_connection, directory, linux, guard, cookies),
    )
}

/// The cookie that this VM has for the name of a node in a pod.
#[rustler::nif]
fn local_cookie(node: &str) -> NifResult<String> {
    cookies::local(node).ok_or_else(no_random_numbers)
}

/// A text that nobody can guess.
#[rustler::nif]
fn secret() -> NifResult<String> {
    cookies::secret().ok_or_else(no_random_numbers)
}

fn no_random_numbers() -> rustler::Error {
    rustler::Error::RaiseTerm(Box::new("the operating system has no random numbers"))
}

/// `{reference, {:ok, flags | nil}}`, or why the node rejects a node of this name. A cookie mismatch does not show here.
#[rustler::nif]
fn rejection(
    env: Env,
    reference: Reference,
    pod_connection: ResourceArc<PodConnection>,
    name: String,
) -> NifResult<Atom> {
    reply::spawn(env, reference, pod_connection::rejection(pod_connection, name))
}

/// `{reference, {:ok, reason}}` when the port-forward connection is closed.
#[rustler::nif]
fn closed(
    env: Env,
    reference: Reference,
    pod_connection: ResourceArc<PodConnection>,
) -> NifResult<Atom> {
    reply::spawn(env, reference, pod_connection::closed(pod_connection))
}

/// Closes the port-forward connection and its streams.
#[rustler::nif]
fn close(pod_connection: ResourceArc<PodConnection>) -> Atom {
    pod_connection.close();
    atom::ok()
}

/// The cookie that was found, byte for byte, or `nil`.
#[rustler::nif]
fn cookie(env: Env, pod_connection: ResourceArc<PodConnection>) -> Term {
    match pod_connection.cookie() {
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
    pod_connection::cluster(kubeconfig::resolve(&source, selection).await?, timeout)
}

/// Without its threads the library is not loaded.
fn load(_env: Env, _info: Term) -> bool {
    runtime::start().is_ok()
}

rustler::init!("Elixir.K8sConnect.Native", load = load);
