//! The core's values as Elixir terms: structs, and failures as `{stage, {kind, details}}`.

use std::{collections::HashMap, time::Duration};

use k8s_connect_core::{Error, attach::Step, auth, cluster, config, node, pod, proxy, target};
use rustler::{Atom, Encoder, Env, NifStruct, Term};

use crate::trace::Trace;

#[derive(NifStruct)]
#[module = "K8sConnect.Pod"]
pub struct Pod {
    name: String,
    namespace: String,
    uid: String,
    phase: String,
    ip: Option<String>,
    beam: bool,
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
            beam: pod.beam,
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
        config, cluster, target, node, cookie, outlet, exec, native, step, trace, pods,
        // kinds of failure
        not_found, unreadable, malformed, no_context, unknown_context, unknown_cluster,
        unknown_user, bad_cluster, bad_user, bad_namespace,
        old_auth_provider, bad_proxy, bad_service_account,
        plugin_not_found, plugin_not_started, plugin_failed, plugin_too_slow, plugin_rubbish,
        plugin_version, plugin_needs_terminal, plugin_empty, token_file, oidc,
        proxy_unreachable, proxy_login, proxy_refused, proxy_cannot_reach, not_a_proxy,
        timed_out_by_proxy, server_certificate_not_yet_valid, server_certificate_expired, hung_up,
        too_many_requests,
        unreachable, timed_out, unknown_authority, tls, client_certificate_expired,
        unauthorized, forbidden, forbidden_both_ways, no_upgrade, refused, not_kubernetes, task_died,
        bad_target, no_such_pod, replaced, workload_deleted, no_pods, not_running, no_container,
        no_epmd, nothing_at, epmd_silent, epmd_junk, no_nodes, unknown_node, several_nodes, port_refused,
        handshake_silent, handshake_closed, junk, tls_only, rejected, too_old, bad_name, link_closed, no_socket, no_listener, target_is_server, no_runner, not_there,
        // details
        tried, path, problem, known, context, user, namespace, provider, replacement, from, folder,
        program, hint, words, issuer, proxy, given, answer, not_before, now, server, timeout_ms,
        not_after, verb, resource, message, code, answers,
        address, pod, phase, container, seen, wanted, port, expected, status, name, reason, directory,
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
        Error::Target(error) => (atoms::target(), target_reason(env, error)).encode(env),
        Error::NoContainer { container, known } => {
            (atoms::target(), reason!(env, no_container { container, known })).encode(env)
        }
        Error::NoCookieThere { pod, problem } => {
            (atoms::cookie(), reason!(env, not_there { pod, problem })).encode(env)
        }
        Error::Node { pod, namespace, error } => {
            (atoms::node(), node_reason(env, error, pod, namespace)).encode(env)
        }
        Error::LinkClosed { reason } => {
            (atoms::node(), reason!(env, link_closed { reason })).encode(env)
        }
        Error::Outlet { directory, problem } => {
            (atoms::outlet(), reason!(env, no_socket { directory, problem })).encode(env)
        }
        Error::TargetIsServer { address } => {
            let address = address.to_string();
            (atoms::outlet(), reason!(env, target_is_server { address })).encode(env)
        }
        Error::NoListener { address, problem } => {
            (atoms::outlet(), reason!(env, no_listener { address, problem })).encode(env)
        }
        Error::NoRunner { program, problem } => {
            (atoms::exec(), reason!(env, no_runner { program, problem })).encode(env)
        }
    }
}

/// `{:step, name, detail, ms}`
pub fn step<'a>(env: Env<'a>, step: &Step) -> Term<'a> {
    (atoms::step(), step.name, &step.detail, step.ms).encode(env)
}

/// `{:trace, name, detail, us, took_us | nil}`
pub fn pods<'a>(env: Env<'a>, pods: &[(String, String)]) -> Term<'a> {
    (atoms::pods(), pods).encode(env)
}

pub fn trace<'a>(env: Env<'a>, trace: &Trace) -> Term<'a> {
    let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    (atoms::trace(), trace.name, &trace.detail, us(trace.at), trace.took.map(us)).encode(env)
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
        E::BadNamespace { namespace } => reason!(env, bad_namespace { namespace }),
        E::OldAuthProvider { context, provider, replacement } => {
            reason!(env, old_auth_provider { context, provider, replacement })
        }
        E::BadProxy { context, from, problem } => {
            reason!(env, bad_proxy { context, from, problem })
        }
        E::BadServiceAccount { folder, problem } => {
            let folder = folder.to_string_lossy();
            reason!(env, bad_service_account { folder, problem })
        }
    }
}

fn cluster_reason<'a>(env: Env<'a>, error: &cluster::Error) -> Term<'a> {
    use cluster::Error as E;
    match error {
        E::Unreachable { server, problem } => reason!(env, unreachable { server, problem }),
        E::TimedOut { server, timeout } => {
            let timeout_ms = milliseconds(*timeout);
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
        E::ForbiddenBothWays { resource, namespace, message } => {
            reason!(env, forbidden_both_ways { resource, namespace, message })
        }
        E::NoUpgrade { server, pod, namespace, answers } => {
            reason!(env, no_upgrade { server, pod, namespace, answers })
        }
        E::NotKubernetes { server, problem } => reason!(env, not_kubernetes { server, problem }),
        E::Login(error) => login_reason(env, error),
        E::Proxy(error) => proxy_reason(env, error),
        E::TimedOutByProxy { server, proxy, from, timeout } => {
            let timeout_ms = milliseconds(*timeout);
            reason!(env, timed_out_by_proxy { server, proxy, from, timeout_ms })
        }
        E::ServerCertificateNotYetValid { server, not_before, now } => {
            reason!(env, server_certificate_not_yet_valid { server, not_before, now })
        }
        E::ServerCertificateExpired { server, not_after, now } => {
            reason!(env, server_certificate_expired { server, not_after, now })
        }
        E::HungUp { server, problem } => reason!(env, hung_up { server, problem }),
        E::TooManyRequests { server, message } => {
            reason!(env, too_many_requests { server, message })
        }
    }
}

fn login_reason<'a>(env: Env<'a>, error: &auth::Error) -> Term<'a> {
    use auth::Error as E;
    match error {
        E::PluginNotFound { program, path, hint } => {
            reason!(env, plugin_not_found { program, path, hint })
        }
        E::PluginNotStarted { program, problem } => {
            reason!(env, plugin_not_started { program, problem })
        }
        E::PluginFailed { program, context, status, words } => {
            reason!(env, plugin_failed { program, context, status, words })
        }
        E::PluginTooSlow { program, context, waited } => {
            let timeout_ms = milliseconds(*waited);
            reason!(env, plugin_too_slow { program, context, timeout_ms })
        }
        E::PluginRubbish { program, context, problem } => {
            reason!(env, plugin_rubbish { program, context, problem })
        }
        E::PluginVersion { program, context, expected, seen } => {
            reason!(env, plugin_version { program, context, expected, seen })
        }
        E::PluginNeedsTerminal { program, context } => {
            reason!(env, plugin_needs_terminal { program, context })
        }
        E::PluginEmpty { program, context } => reason!(env, plugin_empty { program, context }),
        E::TokenFile { path, problem } => reason!(env, token_file { path, problem }),
        E::Oidc { context, issuer, problem } => reason!(env, oidc { context, issuer, problem }),
    }
}

fn proxy_reason<'a>(env: Env<'a>, error: &proxy::Error) -> Term<'a> {
    use proxy::Error as E;
    match error {
        E::Unreachable { proxy, from, problem } => {
            reason!(env, proxy_unreachable { proxy, from, problem })
        }
        E::Login { proxy, from, given } => reason!(env, proxy_login { proxy, from, given }),
        E::Refused { proxy, from, server, answer } => {
            reason!(env, proxy_refused { proxy, from, server, answer })
        }
        E::CannotReach { proxy, from, server, answer } => {
            reason!(env, proxy_cannot_reach { proxy, from, server, answer })
        }
        E::NotAProxy { proxy, from, seen } => reason!(env, not_a_proxy { proxy, from, seen }),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn target_reason<'a>(env: Env<'a>, error: &target::Error) -> Term<'a> {
    use target::Error as E;
    match error {
        E::BadTarget { target } => reason!(env, bad_target { target }),
        E::NoSuchPod { pod, namespace } => reason!(env, no_such_pod { pod, namespace }),
        E::Replaced { pod, namespace } => reason!(env, replaced { pod, namespace }),
        E::WorkloadDeleted { target, namespace } => {
            reason!(env, workload_deleted { target, namespace })
        }
        E::NoPods { target, namespace } => reason!(env, no_pods { target, namespace }),
        E::NotRunning { pod, namespace, phase } => {
            reason!(env, not_running { pod, namespace, phase })
        }
        E::Cluster(error) => cluster_reason(env, error),
    }
}

fn node_reason<'a>(env: Env<'a>, error: &node::Error, pod: &str, namespace: &str) -> Term<'a> {
    use node::Error as E;
    match error {
        E::NoEpmd { message, tried } => {
            reason!(env, no_epmd { pod, namespace, message, tried })
        }
        E::NothingAt { port, message } => {
            reason!(env, nothing_at { pod, namespace, port, message })
        }
        E::EpmdSilent => reason!(env, epmd_silent { pod, namespace }),
        E::EpmdJunk { seen } => reason!(env, epmd_junk { pod, namespace, seen }),
        E::NoNodes => reason!(env, no_nodes { pod, namespace }),
        E::UnknownNode { wanted, known } => {
            reason!(env, unknown_node { pod, namespace, wanted, known })
        }
        E::SeveralNodes { known } => reason!(env, several_nodes { pod, namespace, known }),
        E::PortRefused { node, port, message } => {
            reason!(env, port_refused { pod, namespace, node, port, message })
        }
        E::HandshakeClosed { node } => {
            reason!(env, handshake_closed { pod, namespace, node })
        }
        E::HandshakeSilent { node } => reason!(env, handshake_silent { pod, namespace, node }),
        E::Junk { expected, seen } => reason!(env, junk { pod, namespace, expected, seen }),
        E::TlsOnly { node, port } => reason!(env, tls_only { pod, namespace, node, port }),
        E::Rejected { status } => reason!(env, rejected { pod, namespace, status }),
        E::TooOld => reason!(env, too_old { pod, namespace }),
        E::BadName { name } => reason!(env, bad_name { pod, namespace, name }),
        E::LinkClosed { reason } => reason!(env, link_closed { reason }),
    }
}
