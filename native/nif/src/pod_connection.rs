//! Attached pods as resources of the BEAM. A port-forward connection closes with its owner process.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use k8s_connect_core::{
    Error,
    access::{cluster::Cluster, kubeconfig::ClientConfig},
    attach::{self, AttachRequest, AttachedPod, Progress, Rediscovery},
    endpoint::{audit::Subject, handshake::cookies::Cookies, one_shot::OneShot, pump::Filtering},
    node::{self, Node},
    pod::cookie::Cookie,
    port_forward::{Connector, PortForward},
    streaming::Protocol,
};
use rustler::{Env, LocalPid, Monitor, NifMap, Resource, ResourceArc};

use crate::guard::Guard;

/// A port-forward connection to a pod, the node behind it, and its cookie.
pub struct PodConnection {
    pub connection: PortForward,
    /// The pod's address.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only listeners need it"))]
    pub ip: Option<IpAddr>,
    /// As it was discovered last.
    node: Mutex<Node>,
    rediscovery: Rediscovery,
    context: String,
    pod: String,
    namespace: String,
    cookie: Option<Cookie>,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only listeners need it"))]
    protocol: Protocol,
    /// Kept for its idle connections, which another session may use, until the port-forward connection closes.
    cluster: Mutex<Option<Arc<Cluster>>>,
}

/// The clusters of all sessions.
static CLUSTERS: Mutex<Vec<Weak<Cluster>>> = Mutex::new(Vec::new());

/// The cluster of the configuration: that of another session, or one with its open connections, if there is one. A
/// client has buffers and a task.
pub fn cluster(config: ClientConfig, timeout: Duration) -> Result<Arc<Cluster>, Error> {
    let mut clusters = CLUSTERS.lock().unwrap_or_else(PoisonError::into_inner);
    clusters.retain(|cluster| cluster.strong_count() > 0);
    let others: Vec<_> = clusters.iter().filter_map(Weak::upgrade).collect();
    if let Some(same) = others.iter().find(|cluster| cluster.is_same(&config, timeout)) {
        return Ok(same.clone());
    }
    let similar = others.iter().find(|cluster| cluster.is_for(&config));
    let cluster =
        Arc::new(Cluster::sharing_connections(similar.map(Arc::as_ref), config, timeout)?);
    clusters.push(Arc::downgrade(&cluster));
    Ok(cluster)
}

#[rustler::resource_impl]
impl Resource for PodConnection {
    const IMPLEMENTS_DOWN: bool = true;

    fn down<'a>(&'a self, _env: Env<'a>, _owner: LocalPid, _monitor: Monitor) {
        self.close();
    }
}

impl Drop for PodConnection {
    fn drop(&mut self) {
        self.close();
    }
}

/// The pod connection and its pod, for Elixir.
#[derive(NifMap)]
pub struct Attached {
    pod_connection: ResourceArc<PodConnection>,
    context: String,
    namespace: String,
    pod: String,
    uid: String,
    ip: Option<String>,
    others: Vec<String>,
    node: String,
    probed: bool,
    cookie_source: Option<String>,
    controller: Option<(String, String)>,
}

/// Attaches. The port-forward connection closes with the process `owner`.
pub async fn attach(
    cluster: Arc<Cluster>,
    request: AttachRequest,
    owner: LocalPid,
    progress: Progress,
) -> Result<Attached, Error> {
    let attached = attach::attach(&cluster, &request, &progress).await?;
    let AttachedPod { connection, pod, uid, ip, others, node, cookie, controller, rediscovery } =
        attached;
    let cookie_source = cookie.as_ref().map(|cookie| cookie.source().to_owned());
    let kept = Mutex::new(Some(cluster.clone()));
    let (name, probed) = (node.name.clone(), node.probed);
    let pod_connection = ResourceArc::new(PodConnection {
        connection,
        ip,
        node: Mutex::new(node),
        rediscovery,
        context: cluster.context().into(),
        pod: pod.clone(),
        namespace: cluster.namespace().into(),
        cookie,
        protocol: request.protocol,
        cluster: kept,
    });
    if pod_connection.monitor(None, &owner).is_none() {
        pod_connection.close(); // the owner has exited
    }
    // After this connect, for the next one.
    let warmed = cluster.clone();
    tokio::spawn(async move { warmed.warm_up().await });
    Ok(Attached {
        pod_connection,
        context: cluster.context().into(),
        namespace: cluster.namespace().into(),
        pod,
        uid,
        ip: ip.map(|ip| ip.to_string()),
        others,
        node: name,
        probed,
        cookie_source,
        controller,
    })
}

/// Waits for the node on the same port-forward connection, and returns its name.
pub async fn reattach(pod_connection: ResourceArc<PodConnection>) -> Result<String, Error> {
    let closed = || Error::PortForwardClosed { reason: "closed".into() };
    let cluster = pod_connection.cluster().ok_or_else(closed)?;
    let node = pod_connection.rediscovery.run(&cluster, &pod_connection.connection).await?;
    let name = node.name.clone();
    *pod_connection.node.lock().unwrap_or_else(PoisonError::into_inner) = node;
    Ok(name)
}

impl PodConnection {
    /// Opens more port-forward connections to the pod; `None` after closing.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only listeners need it"))]
    pub fn connector(&self) -> Option<Connector> {
        Some(Connector::new(self.cluster()?, &self.pod, self.protocol, self.connection.tls()))
    }

    /// The node, as it was discovered last.
    pub fn node(&self) -> Node {
        self.node.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What an audit log tells of it.
    pub fn subject(&self) -> Subject {
        Subject {
            context: self.context.clone(),
            namespace: self.namespace.clone(),
            pod: self.pod.clone(),
            node: self.node().name,
        }
    }

    /// The cluster; `None` after closing.
    pub fn cluster(&self) -> Option<Arc<Cluster>> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The module of this BEAM that removes escape sequences from what the pod prints.
pub const PRINTER: &str = "Elixir.K8sConnect.EscapeSequences";

/// Opens a stream to the node, and returns the path of a local socket for it.
pub async fn dial(
    pod_connection: ResourceArc<PodConnection>,
    directory: String,
    linux: bool,
    guard: Option<ResourceArc<Guard>>,
    cookies: Cookies,
) -> Result<String, Error> {
    let socket = OneShot::new(&PathBuf::from(&directory), linux)
        .map_err(|error| Error::NoSocket { directory, problem: error.to_string() })?;
    let stream = pod_connection
        .connection
        .open_node(pod_connection.node().port, bytes::Bytes::new())
        .await
        .map_err(|reason| Error::PortForwardClosed { reason })?;
    let path = socket.path().to_string_lossy().into_owned();
    // The distribution module of this BEAM makes the connection hidden by itself.
    let visible = guard.is_none();
    let guarding = guard.map(|guard| guard.guarding(pod_connection.subject()));
    let filtering = Filtering::new(guarding.as_ref(), visible, Some(PRINTER), Some(&cookies));
    tokio::spawn(socket.serve(stream, filtering));
    Ok(path)
}

/// Why the node rejects a node of this name, unless it is a cookie mismatch. Otherwise the node's distribution flags.
pub async fn rejection(
    pod_connection: ResourceArc<PodConnection>,
    name: String,
) -> Result<Option<u64>, Error> {
    let PodConnection { connection, pod, namespace, .. } = &*pod_connection;
    let node = pod_connection.node();
    let flags = node::rejection(connection, &node.name, node.port, &name).await;
    flags.map_err(|error| Error::at_node(pod, namespace, error))
}

/// Waits until the port-forward connection is closed, and returns the reason.
pub async fn closed(pod_connection: ResourceArc<PodConnection>) -> Result<String, Error> {
    let connection = pod_connection.connection.clone();
    // Waiting must not keep the resource alive: dropping it closes the connection.
    drop(pod_connection);
    Ok(connection.closed().await)
}

impl PodConnection {
    pub fn close(&self) {
        self.connection.close();
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub fn cookie(&self) -> Option<&[u8]> {
        self.cookie.as_ref().map(Cookie::reveal)
    }
}
