//! The core's values as Elixir terms: structs, and failures as `{stage, {kind, details}}`.

use std::collections::HashMap;

use k8s_connect_core::{Error, cluster, config, pod};
use rustler::{Atom, Encoder, Env, NifStruct, Term};

#[derive(NifStruct)]
#[module = "K8sConnect.Pod"]
pub struct Pod {
    name: String,
    namespace: String,
    uid: String,
    phase: String,
    ip: Option<String>,
    containers: Vec<Container>,
}

#[derive(NifStruct)]
#[module = "K8sConnect.Pod.Container"]
pub struct Container {
    name: String,
    image: String,
    ready: bool,
}

impl From<pod::Pod> for Pod {
    fn from(pod: pod::Pod) -> Self {
        Self {
            name: pod.name,
            namespace: pod.namespace,
            uid: pod.uid,
            phase: pod.phase,
            ip: pod.ip,
            containers: pod.containers.into_iter().map(Container::from).collect(),
        }
    }
}

impl From<pod::Container> for Container {
    fn from(container: pod::Container) -> Self {
        Self { name: container.name, image: container.image, ready: container.ready }
    }
}

mod atoms {
    rustler::atoms! {
        // stages
        config, cluster, native,
        // kinds of failure
        not_found, unreadable, malformed, no_context, unknown_context, unknown_cluster,
        unknown_user, bad_cluster, bad_user, unsupported_login, bad_namespace,
        unreachable, timed_out, unknown_authority, tls, client_certificate_expired,
        unauthorized, forbidden, refused, not_kubernetes, task_died,
        // details
        tried, path, problem, known, context, user, method, namespace, server, timeout_ms,
        not_after, verb, resource, message, code,
    }
}

/// `{kind, %{detail: value}}`, each detail named like the variable that holds it.
macro_rules! reason {
    ($env:ident, $kind:ident { $($detail:ident),* }) => {{
        let details = [$((atoms::$detail(), $detail.encode($env))),*];
        (atoms::$kind(), details.into_iter().collect::<HashMap<Atom, Term>>()).encode($env)
    }};
}

/// `{stage, {kind, details}}`, as `K8sConnect.Error` takes it.
pub fn failure<'a>(env: Env<'a>, error: &Error) -> Term<'a> {
    match error {
        Error::Config(error) => (atoms::config(), config_reason(env, error)).encode(env),
        Error::Cluster(error) => (atoms::cluster(), cluster_reason(env, error)).encode(env),
    }
}

/// The failure of a task that ended without a result.
pub fn task_died(env: Env) -> Term {
    (atoms::native(), reason!(env, task_died {})).encode(env)
}

fn config_reason<'a>(env: Env<'a>, error: &config::Error) -> Term<'a> {
    use config::Error as E;
    match error {
        E::NotFound { tried } => {
            let tried: Vec<_> =
                tried.iter().map(|path| path.to_string_lossy().into_owned()).collect();
            reason!(env, not_found { tried })
        }
        E::Unreadable { path, problem } => {
            let path = path.to_string_lossy();
            reason!(env, unreadable { path, problem })
        }
        E::Malformed { path, problem } => {
            let path = path.to_string_lossy();
            reason!(env, malformed { path, problem })
        }
        E::NoContext { known } => reason!(env, no_context { known }),
        E::UnknownContext { context, known } => reason!(env, unknown_context { context, known }),
        E::UnknownCluster { context, cluster } => {
            reason!(env, unknown_cluster { context, cluster })
        }
        E::UnknownUser { context, user } => reason!(env, unknown_user { context, user }),
        E::BadCluster { context, problem } => reason!(env, bad_cluster { context, problem }),
        E::BadUser { context, problem } => reason!(env, bad_user { context, problem }),
        E::UnsupportedLogin { context, method } => {
            reason!(env, unsupported_login { context, method })
        }
        E::BadNamespace { namespace } => reason!(env, bad_namespace { namespace }),
    }
}

fn cluster_reason<'a>(env: Env<'a>, error: &cluster::Error) -> Term<'a> {
    use cluster::Error as E;
    match error {
        E::Unreachable { server, problem } => reason!(env, unreachable { server, problem }),
        E::TimedOut { server, timeout } => {
            let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            reason!(env, timed_out { server, timeout_ms })
        }
        E::UnknownAuthority { server } => reason!(env, unknown_authority { server }),
        E::Tls { server, problem } => reason!(env, tls { server, problem }),
        E::ClientCertificateExpired { context, not_after } => {
            reason!(env, client_certificate_expired { context, not_after })
        }
        E::Unauthorized { context, server } => reason!(env, unauthorized { context, server }),
        E::Forbidden { verb, resource, namespace, message } => {
            reason!(env, forbidden { verb, resource, namespace, message })
        }
        E::Refused { server, code, message } => reason!(env, refused { server, code, message }),
        E::NotKubernetes { server, problem } => reason!(env, not_kubernetes { server, problem }),
    }
}
