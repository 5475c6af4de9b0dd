//! The checks of the doctor, one function each. Resources keep their subjects between the calls.

use std::{sync::Arc, time::Duration};

use k8s_connect_core::{
    access::{cluster::Cluster, kubeconfig},
    attach::AttachRequest,
    diagnosis::{self, Permission, PodFacts},
    pod::target,
    port_forward::PortForward,
};
use rustler::{Atom, Env, NifMap, NifResult, Reference, Resource, ResourceArc};

use crate::{
    error::Failure,
    options::{ApiOptions, AttachOptions},
    pod_connection, reply,
};

/// A cluster as one user.
pub struct ClusterResource {
    cluster: Arc<Cluster>,
}

/// A pod of the cluster.
pub struct PodResource {
    cluster: Arc<Cluster>,
    facts: PodFacts,
}

/// A port-forward connection to the pod. It closes with the resource.
pub struct ConnectionResource {
    pod: ResourceArc<PodResource>,
    connection: PortForward,
}

#[rustler::resource_impl]
impl Resource for ClusterResource {}

#[rustler::resource_impl]
impl Resource for PodResource {}

#[rustler::resource_impl]
impl Resource for ConnectionResource {}

impl Drop for ConnectionResource {
    fn drop(&mut self) {
        self.connection.close();
    }
}

#[derive(NifMap)]
struct Access {
    diagnosis: ResourceArc<ClusterResource>,
    files: Vec<String>,
    context: String,
    namespace: String,
    server: String,
    login: String,
    /// Its host and port, and where it is configured.
    proxy: Option<(String, String)>,
}

#[derive(NifMap)]
struct Server {
    version: String,
    /// How long the last run of the plugin took.
    login_us: Option<u64>,
    first_us: u64,
    warm_us: Vec<u64>,
    ahead_ms: Option<i64>,
}

#[derive(NifMap)]
struct Pod {
    diagnosis: ResourceArc<PodResource>,
    name: String,
    uid: String,
    ip: Option<String>,
    /// Why it cannot be attached to.
    problem: Option<Failure>,
    leaving: bool,
    named: bool,
    others: Vec<String>,
    container: String,
    why: String,
    image: String,
    ready: bool,
    restarts: i32,
    ended: Option<(i64, String)>,
    refers_to: Vec<(String, String)>,
    tls_objects: Vec<(String, String)>,
}

#[derive(NifMap)]
struct Connected {
    port_forward: ResourceArc<ConnectionResource>,
    protocol: String,
    took_us: u64,
}

#[derive(NifMap)]
struct Found {
    name: String,
    port: u16,
    source: String,
    expected: Option<String>,
    tls: Option<String>,
}

/// `{reference, {:ok, access}}`
#[rustler::nif]
fn diagnose(env: Env, reference: Reference, options: ApiOptions) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let (source, selection, timeout) = options.into_parts();
        let config = kubeconfig::resolve(&source, selection).await?;
        let cluster = pod_connection::cluster(config, timeout)?;
        let files = kubeconfig::existing_files(&source).await;
        Ok(Access {
            files: files.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
            context: cluster.context().into(),
            namespace: cluster.namespace().into(),
            server: cluster.server(),
            login: diagnosis::login(&cluster),
            proxy: cluster.proxy().map(|(proxy, from)| (proxy, from.into())),
            diagnosis: ResourceArc::new(ClusterResource { cluster }),
        })
    })
}

/// `{reference, {:ok, server}}`
#[rustler::nif]
fn diagnose_server(
    env: Env,
    reference: Reference,
    diagnosis: ResourceArc<ClusterResource>,
) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let server = diagnosis::server(&diagnosis.cluster).await?;
        Ok(Server {
            version: server.version,
            login_us: diagnosis.cluster.login().took.map(micros),
            first_us: micros(server.first),
            warm_us: server.warm.into_iter().map(micros).collect(),
            ahead_ms: server.ahead_ms,
        })
    })
}

/// `{reference, {:ok, {name, groups} | nil}}`
#[rustler::nif]
fn diagnose_user(
    env: Env,
    reference: Reference,
    diagnosis: ResourceArc<ClusterResource>,
) -> NifResult<Atom> {
    reply::spawn(env, reference, async move { Ok(diagnosis::user(&diagnosis.cluster).await?) })
}

/// `{reference, {:ok, [boolean]}}`, one for each `{verb, resource, name | nil}`.
#[rustler::nif]
fn diagnose_permissions(
    env: Env,
    reference: Reference,
    diagnosis: ResourceArc<ClusterResource>,
    permissions: Vec<(String, String, Option<String>)>,
) -> NifResult<Atom> {
    let permission = |(verb, resource, name)| Permission { verb, resource, name };
    let permissions = permissions.into_iter().map(permission).collect();
    reply::spawn(env, reference, async move {
        Ok(diagnosis::permissions(&diagnosis.cluster, permissions).await?)
    })
}

/// `{reference, {:ok, pod}}`
#[rustler::nif]
fn diagnose_pod(
    env: Env,
    reference: Reference,
    diagnosis: ResourceArc<ClusterResource>,
    target: AttachOptions,
) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let cluster = diagnosis.cluster.clone();
        let facts = diagnosis::pod(&cluster, &AttachRequest::from(target)).await?;
        Ok(pod(cluster, facts))
    })
}

fn pod(cluster: Arc<Cluster>, facts: PodFacts) -> Pod {
    let metadata = &facts.pod.metadata;
    let objects = |objects: &[(&str, String)]| {
        objects.iter().map(|(kind, name)| ((*kind).to_owned(), name.clone())).collect()
    };
    Pod {
        name: target::name_of(&facts.pod),
        uid: metadata.uid.clone().unwrap_or_default(),
        ip: target::ip_of(&facts.pod).map(|ip| ip.to_string()),
        problem: target::check_running(&facts.pod).err().map(|error| Failure(error.into())),
        leaving: metadata.deletion_timestamp.is_some(),
        named: facts.named,
        others: facts.others.clone(),
        container: facts.container.clone(),
        why: facts.selection_reason.into(),
        image: facts.image.clone(),
        ready: facts.ready,
        restarts: facts.restarts,
        ended: facts.ended.clone(),
        refers_to: objects(&facts.cookie_objects),
        tls_objects: objects(&facts.tls_objects),
        diagnosis: ResourceArc::new(PodResource { cluster, facts }),
    }
}

/// `{reference, {:ok, connected}}`
#[rustler::nif]
fn diagnose_port_forward(
    env: Env,
    reference: Reference,
    pod: ResourceArc<PodResource>,
    target: AttachOptions,
) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let start = std::time::Instant::now();
        let request = AttachRequest::from(target);
        let (connection, protocol) = diagnosis::connect(&pod.cluster, &pod.facts, &request).await?;
        let took_us = micros(start.elapsed());
        let port_forward = ResourceArc::new(ConnectionResource { pod, connection });
        Ok(Connected { port_forward, protocol, took_us })
    })
}

/// `{reference, {:ok, [{name, port}]}}`
#[rustler::nif]
fn diagnose_epmd(
    env: Env,
    reference: Reference,
    port_forward: ResourceArc<ConnectionResource>,
) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let names = diagnosis::epmd(
            &port_forward.pod.cluster,
            &port_forward.pod.facts,
            &port_forward.connection,
        )
        .await?;
        Ok(names.into_iter().map(|entry| (entry.name, entry.port)).collect::<Vec<_>>())
    })
}

/// `{reference, {:ok, found}}`
#[rustler::nif]
fn diagnose_node(
    env: Env,
    reference: Reference,
    port_forward: ResourceArc<ConnectionResource>,
    target: AttachOptions,
) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let (cluster, facts) = (&port_forward.pod.cluster, &port_forward.pod.facts);
        let request = AttachRequest::from(target);
        let found = diagnosis::find(cluster, facts, &port_forward.connection, &request).await?;
        Ok(Found {
            name: found.name,
            port: found.port,
            source: found.source,
            expected: found.expected,
            tls: found.tls,
        })
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
