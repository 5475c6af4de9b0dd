//! The whole way, from what a user types to an Erlang node that can be dialled. Round trips are
//! the currency: the link is upgraded while the pod and its Secret are read on another connection.

use std::{net::IpAddr, pin::pin, sync::OnceLock, time::Instant};

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{
    Error,
    cluster::Cluster,
    container,
    cookie::{self, Cookie},
    link::{self, Link, Protocol},
    node::{self, Node},
    rediscovery::{Rediscovery, is_starting},
    target::{self, Target},
    watch,
};

/// What to attach to.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// A pod, or what leads to one; see [`Target::parse`].
    pub target: Option<String>,
    /// A label selector, instead of a target.
    pub labels: Option<String>,
    /// The container whose environment holds the cookie.
    pub container: Option<String>,
    /// The node's name, where a pod has several; its host does not matter.
    pub node: Option<String>,
    /// The node's port, where there is no epmd that knows it.
    pub port: Option<u16>,
    /// Where to look for the cookie.
    pub cookie: CookieFrom,
    /// Whether to take the node's name from the pod's spec where that tells it: it saves a round
    /// trip, and may be wrong.
    pub trust: bool,
    /// What is spoken on the way to the pod.
    pub protocol: Protocol,
    /// Whether to wait for a running pod, and for its node.
    pub wait: bool,
    /// The pod that it must be, if another one of its name will not do.
    pub uid: Option<String>,
    /// The kind and the name of what owned the pod before.
    pub controller: Option<(String, String)>,
}

/// Where to look for the cookie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CookieFrom {
    /// Nowhere: the caller has it.
    #[default]
    Nowhere,
    /// In what the pod's spec leads to.
    Spec,
    /// In the pod, where the node runs.
    Process,
}

/// A node that can be dialled.
pub struct Attached {
    /// The link to its pod.
    pub link: Link,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub uid: String,
    /// The pod's address, where it has one that can be read.
    pub ip: Option<IpAddr>,
    /// Other ready pods that the target would have fitted.
    pub others: Vec<String>,
    /// The node.
    pub node: Node,
    /// Its cookie, if it was looked for and found.
    pub cookie: Option<Cookie>,
    /// The kind and the name of what owns the pod.
    pub controller: Option<(String, String)>,
    /// What is needed to discover the node again.
    pub rediscovery: Rediscovery,
}

/// A step that is done, and when.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// What came out of it, for people.
    pub detail: String,
    /// Milliseconds since the beginning.
    pub ms: u64,
}

/// Tells the caller of steps as they are done.
pub struct Steps {
    start: Instant,
    tell: Box<dyn Fn(Step) + Send + Sync>,
}

impl Steps {
    /// Time runs from here. `tell` must not block.
    #[must_use]
    pub fn new(tell: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self { start: Instant::now(), tell: Box::new(tell) }
    }

    /// The first step: where all requests go.
    pub fn cluster(&self, cluster: &Cluster) {
        self.done("server", cluster.server());
    }

    fn done(&self, name: &'static str, detail: String) {
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        (self.tell)(Step { name, detail, ms });
    }
}

/// Attaches to the node.
///
/// # Errors
/// Every variant of [`Error`]. Of several failures the one that explains more is given: a pod
/// that is not running says more than a link that could not be opened.
pub async fn attach(cluster: &Cluster, wish: &Wish, steps: &Steps) -> Result<Attached, Error> {
    let (target, shown) = target_of(wish)?;
    // The pod's own side writes it, the network's side reads it.
    let told = &OnceLock::new();
    if wish.wait {
        return Box::pin(attach_when_running(cluster, wish, steps, told, &target, &shown)).await;
    }
    if let Target::Pod(name) = &target {
        // The name is known: both connections start at once.
        let look =
            async { look(cluster, target::get(cluster, name).await?, wish, steps, told).await };
        let sides = both(look, reach(cluster, name, wish, steps, told));
        let sides = Box::pin(sides).await?;
        return Box::pin(attached(cluster, wish, steps, sides, vec![])).await;
    }
    let choice = target::choose(cluster, &target, &shown).await?;
    let name = target::name_of(&choice.pod);
    let look = look(cluster, choice.pod, wish, steps, told);
    let sides = both(look, reach(cluster, &name, wish, steps, told));
    let sides = Box::pin(sides).await?;
    Box::pin(attached(cluster, wish, steps, sides, choice.others)).await
}

/// One after the other: first there must be a pod.
async fn attach_when_running(
    cluster: &Cluster,
    wish: &Wish,
    steps: &Steps,
    told: &OnceLock<String>,
    target: &Target,
    shown: &str,
) -> Result<Attached, Error> {
    let choice = watch::running(cluster, target, shown, wish.controller.as_ref()).await?;
    let name = target::name_of(&choice.pod);
    if wish.uid.is_some() && wish.uid != choice.pod.metadata.uid {
        return Err(target::Error::Replaced { pod: name, namespace: cluster.namespace().into() }.into());
    }
    let look = look(cluster, choice.pod, wish, steps, told);
    let sides = both(look, reach(cluster, &name, wish, steps, told));
    let sides = Box::pin(sides).await?;
    attached(cluster, wish, steps, sides, choice.others).await
}

/// What the pod's own side has found, and what the network's: a node, or why epmd led to none.
type Sides = ((Pod, Option<Cookie>), Result<(Link, Result<Node, node::Error>), Error>);

/// Waits for both sides; a failure of the pod's own side counts first, and at once.
async fn both(
    look: impl Future<Output = Result<(Pod, Option<Cookie>), Error>>,
    reach: impl Future<Output = Result<(Link, Result<Node, node::Error>), Error>>,
) -> Result<Sides, Error> {
    let (mut look, mut reach) = (pin!(look), pin!(reach));
    tokio::select! {
        // An idle connection goes to the one that is polled first, and the upgrade is on the longer
        // way; the pod can be read while that one's next round trips are on theirs.
        biased;
        node = &mut reach => Ok((look.await?, node)),
        pod = &mut look => Ok((pod?, reach.await)),
    }
}

/// What only both sides together can tell.
async fn attached(
    cluster: &Cluster,
    wish: &Wish,
    steps: &Steps,
    ((pod, cookie), reached): Sides,
    others: Vec<String>,
) -> Result<Attached, Error> {
    let name = target::name_of(&pod);
    let (link, node) = match reached {
        Ok(reached) => reached,
        Err(error) => return Err(unless_replaced(cluster, &pod, wish.wait, error).await),
    };
    let container = container::choose(&pod, wish.container.as_deref());
    let rediscovery = Rediscovery::new(&pod, wish);
    let node = match node {
        Err(error) => rediscovery.without_epmd(&link, error).await,
        node => node,
    };
    let node = match node {
        Err(error) if wish.wait && is_starting(&error) => rediscovery.run(cluster, &link).await,
        node => node.map_err(|error| explain(cluster, &name, error)),
    };
    let node = match node {
        Ok(node) => node,
        Err(error) => return Err(unless_replaced(cluster, &pod, wish.wait, error).await),
    };
    steps.done("node", format!("{}, port {}", node.name, node.port));
    let cookie = match (wish.cookie, container) {
        (CookieFrom::Process, Some(container)) => {
            let read =
                cookie::process::read(cluster, &name, &container.name, &node.name, wish.protocol);
            Some(told_of(Box::pin(read).await?, steps))
        }
        _ => cookie,
    };
    Ok(Attached {
        link,
        controller: target::controller_of(&pod),
        rediscovery,
        pod: name,
        ip: target::ip_of(&pod),
        uid: pod.metadata.uid.unwrap_or_default(),
        others,
        node,
        cookie,
    })
}

/// The failure, or that it is another pod's by now: one of the same name answers under it.
async fn unless_replaced(cluster: &Cluster, pod: &Pod, wait: bool, error: Error) -> Error {
    let name = target::name_of(pod);
    match target::get(cluster, &name).await {
        Ok(now) if now.metadata.uid == pod.metadata.uid => {
            if now.metadata.deletion_timestamp.is_none() {
                return error;
            }
            let namespace = cluster.namespace().into();
            target::Error::NotRunning { pod: name, namespace, phase: "Terminating".into() }.into()
        }
        Ok(_) => {
            let namespace = cluster.namespace().into();
            target::Error::Replaced { pod: name, namespace }.into()
        }
        Err(target::Error::NoSuchPod { pod, namespace }) if wait => {
            target::Error::NotRunning { pod, namespace, phase: "Deleted".into() }.into()
        }
        Err(gone @ target::Error::NoSuchPod { .. }) => gone.into(),
        Err(_) => error,
    }
}

fn told_of(cookie: Cookie, steps: &Steps) -> Cookie {
    steps.done("cookie", cookie.source().into());
    cookie
}

pub(crate) fn explain(cluster: &Cluster, pod: &str, error: node::Error) -> Error {
    match error {
        node::Error::LinkClosed { reason } => Error::LinkClosed { reason },
        error => Error::Node { pod: pod.into(), namespace: cluster.namespace().into(), error },
    }
}

/// The target, and how the user has given it.
///
/// # Errors
/// [`target::Error::BadTarget`]
pub fn target_of(wish: &Wish) -> Result<(Target, String), target::Error> {
    match (&wish.labels, &wish.target) {
        (Some(labels), _) => Ok((Target::Labels(labels.clone()), labels.clone())),
        (None, Some(target)) => Ok((Target::parse(target)?, target.clone())),
        (None, None) => Err(target::Error::BadTarget { target: String::new() }),
    }
}

/// The pod's own side: does it run, and what is its cookie.
async fn look(
    cluster: &Cluster,
    pod: Pod,
    wish: &Wish,
    steps: &Steps,
    told: &OnceLock<String>,
) -> Result<(Pod, Option<Cookie>), Error> {
    target::check_running(&pod)?;
    steps.done("pod", format!("{} is running", target::name_of(&pod)));
    let container = container_of(&pod, wish.container.as_deref())?;
    if wish.trust
        && let Some(name) = node::name::expected(&pod, container)
    {
        told.get_or_init(|| name);
    }
    let cookie = match wish.cookie {
        CookieFrom::Spec => cookie::find(cluster, &pod, container).await?,
        CookieFrom::Nowhere | CookieFrom::Process => None,
    };
    let cookie = cookie.map(|cookie| told_of(cookie, steps));
    Ok((pod, cookie))
}

/// The container that is held for the node's.
pub(crate) fn container_of<'a>(pod: &'a Pod, wanted: Option<&str>) -> Result<&'a Container, Error> {
    container::choose(pod, wanted).ok_or_else(|| Error::NoContainer {
        container: wanted.unwrap_or_default().into(),
        known: container_names(pod),
    })
}

fn container_names(pod: &Pod) -> Vec<String> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.map(|container| container.name.clone()).collect()
}

/// The network's side: a link, and the node behind it.
async fn reach(
    cluster: &Cluster,
    pod: &str,
    wish: &Wish,
    steps: &Steps,
    told: &OnceLock<String>,
) -> Result<(Link, Result<Node, node::Error>), Error> {
    let port = wish.port.unwrap_or(node::epmd::PORT);
    let (link, what) = link::to(cluster, pod, port, wish.protocol).await?;
    steps.done("link", what);
    let node = match wish.port {
        Some(port) => node::at(&link, port).await,
        None => node::probe(&link, wish.node.as_deref(), || told.get().cloned()).await,
    };
    Ok((link, node))
}
