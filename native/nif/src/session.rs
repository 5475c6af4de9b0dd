//! Links as the BEAM holds them: a resource that ends with its owner, whatever ends the owner.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use k8s_connect_core::{
    Error,
    attach::{self, Attached, Steps, Wish},
    cluster::Cluster,
    config::Access,
    cookie::Cookie,
    link::{Link, Links, Protocol},
    node::{self, Node},
    outlet::one_shot::OneShot,
    rediscovery::Rediscovery,
};
use rustler::{Env, LocalPid, Monitor, NifMap, Resource, ResourceArc};

/// A link to a pod, the node behind it, and its cookie.
pub struct Session {
    pub link: Link,
    /// The pod's address.
    pub ip: Option<IpAddr>,
    /// As it was discovered last.
    node: Mutex<Node>,
    rediscovery: Rediscovery,
    pod: String,
    namespace: String,
    cookie: Option<Cookie>,
    protocol: Protocol,
    /// Kept for its idle connections, which another session may use, and dropped with the link.
    cluster: Mutex<Option<Arc<Cluster>>>,
}

/// The clusters of the sessions that there are.
static CLUSTERS: Mutex<Vec<Weak<Cluster>>> = Mutex::new(Vec::new());

/// The cluster that the access leads to, on connections that are open where there are some.
pub fn cluster(access: Access, timeout: Duration) -> Result<Arc<Cluster>, Error> {
    let mut clusters = CLUSTERS.lock().unwrap_or_else(PoisonError::into_inner);
    clusters.retain(|cluster| cluster.strong_count() > 0);
    let known = clusters.iter().filter_map(Weak::upgrade);
    let same = known.into_iter().find(|cluster| cluster.is_at(&access));
    let cluster = Arc::new(Cluster::beside(same.as_deref(), access, timeout)?);
    clusters.push(Arc::downgrade(&cluster));
    Ok(cluster)
}

#[rustler::resource_impl]
impl Resource for Session {
    const IMPLEMENTS_DOWN: bool = true;

    fn down<'a>(&'a self, _env: Env<'a>, _owner: LocalPid, _monitor: Monitor) {
        self.close();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}

/// What was attached to, for Elixir.
#[derive(NifMap)]
pub struct Found {
    session: ResourceArc<Session>,
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

/// Attaches, and makes `owner` the one whose death ends the link.
pub async fn attach(
    cluster: Arc<Cluster>,
    wish: Wish,
    owner: LocalPid,
    steps: Steps,
) -> Result<Found, Error> {
    let Attached { link, pod, uid, ip, others, node, cookie, controller, rediscovery } =
        attach::attach(&cluster, &wish, &steps).await?;
    let cookie_source = cookie.as_ref().map(|cookie| cookie.source().to_owned());
    let kept = Mutex::new(Some(cluster.clone()));
    let (name, probed) = (node.name.clone(), node.probed);
    let session = ResourceArc::new(Session {
        link,
        ip,
        node: Mutex::new(node),
        rediscovery,
        pod: pod.clone(),
        namespace: cluster.namespace().into(),
        cookie,
        protocol: wish.protocol,
        cluster: kept,
    });
    if session.monitor(None, &owner).is_none() {
        session.close(); // the owner is gone already
    }
    // Off the way of this connect, and for as long as there are sessions of the cluster.
    let warmed = cluster.clone();
    tokio::spawn(async move { warmed.warm_up().await });
    Ok(Found {
        session,
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

/// Waits for the node on the connection that there is, and answers its name.
pub async fn reattach(session: ResourceArc<Session>) -> Result<String, Error> {
    let cluster = session.cluster().ok_or_else(|| Error::LinkClosed { reason: "closed".into() })?;
    let node = session.rediscovery.run(&cluster, &session.link).await?;
    let name = node.name.clone();
    *session.node.lock().unwrap_or_else(PoisonError::into_inner) = node;
    Ok(name)
}

impl Session {
    /// Makes more links to the pod, as long as the session lasts.
    pub fn links(&self) -> Option<Links> {
        Some(Links::new(self.cluster()?, &self.pod, self.protocol))
    }

    /// The node, as it was discovered last.
    pub fn node(&self) -> Node {
        self.node.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The cluster, as long as the session lasts.
    pub fn cluster(&self) -> Option<Arc<Cluster>> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Opens a connection to the node and says where the BEAM finds it.
pub async fn dial(session: ResourceArc<Session>, directory: String) -> Result<String, Error> {
    let outlet = OneShot::new(&PathBuf::from(&directory))
        .map_err(|error| Error::Outlet { directory, problem: error.to_string() })?;
    let stream = session
        .link
        .open(session.node().port, bytes::Bytes::new())
        .await
        .map_err(|reason| Error::LinkClosed { reason })?;
    let path = outlet.path().to_string_lossy().into_owned();
    tokio::spawn(outlet.carry(stream));
    Ok(path)
}

/// Why the node lets nobody of this name in, where it is not for the cookie.
pub async fn refusal(session: ResourceArc<Session>, name: String) -> Result<(), Error> {
    match node::refusal(&session.link, &session.node(), &name).await {
        Some(error) => {
            let (pod, namespace) = (session.pod.clone(), session.namespace.clone());
            Err(Error::Node { pod, namespace, error })
        }
        None => Ok(()),
    }
}

/// Waits for the end of the link, and says why it came.
pub async fn closed(session: ResourceArc<Session>) -> Result<String, Error> {
    let link = session.link.clone();
    // The wait must not keep the resource alive that ends the link when it is dropped.
    drop(session);
    Ok(link.closed().await)
}

impl Session {
    pub fn close(&self) {
        self.link.close();
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub fn cookie(&self) -> Option<&[u8]> {
        self.cookie.as_ref().map(Cookie::reveal)
    }
}
