//! Attaches to a node: finds the pod of a target and its node, so that the BEAM can connect to the node. The
//! number of round trips decides how long this takes. So one connection to the API server reads the pod and its
//! Secret, while another opens the port-forward connection.

use std::{net::IpAddr, pin::pin};

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{
    Error,
    access::cluster::Cluster,
    node::{
        self, Hints, Node,
        hints::{self, HintReceiver, HintSender},
    },
    pod::{
        container,
        cookie::{self, Cookie, process},
        target::{self, Target},
        tls_files, watch,
    },
    port_forward::{NodeTls, PortForward},
};

mod known;
mod progress;
mod rediscovery;
mod request;
pub(crate) mod tls;

pub use progress::{Progress, Step};
pub use rediscovery::Rediscovery;
pub use request::{AttachRequest, CookieFrom, TlsFiles};

/// A pod with a port-forward connection, and the node in it.
pub struct AttachedPod {
    /// The port-forward connection.
    pub connection: PortForward,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub uid: String,
    /// The pod's address, if it has a valid one.
    pub ip: Option<IpAddr>,
    /// Other ready pods of the target.
    pub others: Vec<String>,
    /// The node.
    pub node: Node,
    /// The cookie, if it was requested and found.
    pub cookie: Option<Cookie>,
    /// The kind and the name of the pod's controller.
    pub controller: Option<(String, String)>,
    /// Discovers the node again.
    pub rediscovery: Rediscovery,
}

/// The pod, and the cookie from its spec.
type InspectedPod = (Pod, Option<Cookie>);

/// The port-forward connection, and the discovered node or the error of the discovery.
type DiscoveredNode = (PortForward, Result<Node, node::Error>);

/// Attaches to the node.
///
/// # Errors
/// Every variant of [`Error`]. If several steps fail, the most specific error is returned: a pod that is not
/// running explains more than a failed port-forward.
pub async fn attach(
    cluster: &Cluster,
    request: &AttachRequest,
    progress: &Progress,
) -> Result<AttachedPod, Error> {
    let tls = NodeTls::new(request.tls().await?);
    let (sender, receiver) = hints::channel();
    let attach = Attach { cluster, request, progress, tls, sender, receiver };
    let (target, given) = request.parse_target()?;
    if request.wait {
        return Box::pin(attach.when_running(&target, &given)).await;
    }
    if let Target::Pod(name) = &target {
        // The pod's name is known, so inspection and discovery can start at once.
        let inspect = async { attach.inspect_pod(target::get(cluster, name).await?).await };
        let joined = Box::pin(join(inspect, attach.discover_node(name))).await?;
        return Box::pin(attach.finish(joined, vec![])).await;
    }
    let choice = target::choose(cluster, &target, &given).await?;
    let name = target::name_of(&choice.pod);
    let joined = join(attach.inspect_pod(choice.pod), attach.discover_node(&name));
    let joined = Box::pin(joined).await?;
    Box::pin(attach.finish(joined, choice.others)).await
}

/// Waits for inspection and discovery. If the inspection fails, its error is returned at once.
async fn join(
    inspect: impl Future<Output = Result<InspectedPod, Error>>,
    discover: impl Future<Output = Result<DiscoveredNode, Error>>,
) -> Result<(InspectedPod, Result<DiscoveredNode, Error>), Error> {
    let (mut inspect, mut discover) = (pin!(inspect), pin!(discover));
    tokio::select! {
        // The future that is polled first takes the idle connection to the API server. Discovery is polled first,
        // because it needs more round trips. The inspection opens a new connection meanwhile.
        biased;
        discovered = &mut discover => Ok((inspect.await?, discovered)),
        inspected = &mut inspect => Ok((inspected?, discover.await)),
    }
}

struct Attach<'a> {
    cluster: &'a Cluster,
    request: &'a AttachRequest,
    progress: &'a Progress,
    tls: NodeTls,
    /// What is known about the node. `inspect_pod` sends it to `discover_node`.
    sender: HintSender,
    receiver: HintReceiver,
}

impl Attach<'_> {
    /// Waits for a running pod, and attaches to its node.
    async fn when_running(&self, target: &Target, given: &str) -> Result<AttachedPod, Error> {
        let controller = self.request.controller.as_ref();
        let choice = watch::running(self.cluster, target, given, controller).await?;
        let name = target::name_of(&choice.pod);
        if self.request.uid.is_some() && self.request.uid != choice.pod.metadata.uid {
            let namespace = self.cluster.namespace().into();
            return Err(target::Error::Replaced { pod: name, namespace }.into());
        }
        let joined = join(self.inspect_pod(choice.pod), self.discover_node(&name));
        let joined = Box::pin(joined).await?;
        self.finish(joined, choice.others).await
    }

    /// Checks that the pod runs, and reads the cookie from the pod's spec.
    async fn inspect_pod(&self, pod: Pod) -> Result<InspectedPod, Error> {
        target::check_running(&pod)?;
        self.progress.report("pod", format!("{} is running", target::name_of(&pod)));
        let container = container_of(&pod, self.request.container.as_deref())?;
        if self.request.tls.is_none() && tls_files::is_expected(&pod, container) {
            self.tls.expect();
        }
        self.sender.send(self.hints(&pod, container));
        let cookie = async {
            match self.request.cookie {
                CookieFrom::Spec => cookie::find(self.cluster, &pod, container).await,
                CookieFrom::Nowhere | CookieFrom::Process => Ok(None),
            }
        };
        let (cookie, ()) = tokio::join!(cookie, self.read_tls(&pod, container));
        let cookie = cookie?.map(|cookie| self.report_cookie(cookie));
        Ok((pod, cookie))
    }

    /// Reads the certificates if the spec says that the distribution is over TLS, before the first connection to the
    /// node. A failure counts only if the node then accepts nothing but TLS: see `over_tls`.
    async fn read_tls(&self, pod: &Pod, container: &Container) {
        if self.request.tls.is_none() && tls_files::is_expected(pod, container) {
            let found = Box::pin(tls::of_spec(self.cluster, pod, container)).await.ok();
            self.tls.set(found.map(|(tls, source)| {
                self.report_tls(source);
                tls
            }));
        }
    }

    /// From an earlier connect, or from the spec. With `assume_name`, the name is used without a request to the node.
    fn hints(&self, pod: &Pod, container: &Container) -> Hints {
        let AttachRequest { assume_name, node, .. } = self.request;
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let known = known::get(uid, node.as_deref()).filter(|_| *assume_name);
        if let Some((name, port)) = known {
            return Hints { name: Some(name), ports: vec![port], without_epmd: false };
        }
        Hints {
            name: node::name::expected(pod, container).filter(|_| *assume_name),
            ports: node::port::candidates(pod, container),
            without_epmd: !node::port::may_have_epmd(pod, container),
        }
    }

    /// Opens a port-forward connection, and discovers the node through this connection.
    async fn discover_node(&self, pod: &str) -> Result<DiscoveredNode, Error> {
        let AttachRequest { node, port, protocol, .. } = self.request;
        let first_port = port.unwrap_or(node::epmd::PORT);
        let connect = PortForward::connect(self.cluster, pod, first_port, *protocol);
        let (connection, description) = connect.await?;
        let connection = connection.with_tls(self.tls.clone());
        self.progress.report("port-forward", description);
        if self.request.wait {
            // `Rediscovery` finds the node, and sends nothing to a port that refuses: see `probe_port`.
            return Ok((connection, Err(node::Error::NoNodes)));
        }
        let node = match port {
            Some(port) => node::at_port(&connection, *port).await,
            None => node::discover(&connection, node.as_deref(), &self.receiver).await,
        };
        Ok((connection, node))
    }

    async fn connect_again(&self, pod: &str) -> Result<PortForward, Error> {
        let AttachRequest { protocol, .. } = self.request;
        let connect = PortForward::connect(self.cluster, pod, node::epmd::PORT, *protocol).await?;
        Ok(connect.0.with_tls(self.tls.clone()))
    }

    /// Attaches with the results of `inspect_pod` and `discover_node`.
    async fn finish(
        &self,
        ((pod, cookie), discovered): (InspectedPod, Result<DiscoveredNode, Error>),
        others: Vec<String>,
    ) -> Result<AttachedPod, Error> {
        let name = target::name_of(&pod);
        let (connection, node) = match discovered {
            Ok(discovered) => discovered,
            Err(error) => return Err(self.unless_replaced(&pod, error).await),
        };
        let container = container::choose(&pod, self.request.container.as_deref());
        let rediscovery = Rediscovery::new(&pod, self.request);
        let elsewhere = |error: &node::Error| {
            matches!(error, node::Error::NoEpmd { .. } | node::Error::NoNodes)
                && rediscovery.has_other_ports()
        };
        let may_be_elsewhere = !self.request.wait && node.as_ref().is_err_and(elsewhere);
        // A port has refused data, so the kubelet has lost a worker of this connection.
        let connection = if connection.has_lost_worker() && (node.is_ok() || may_be_elsewhere) {
            connection.close();
            self.connect_again(&name).await?
        } else {
            connection
        };
        let node = if may_be_elsewhere { rediscovery.once(&connection).await } else { node };
        let node = match node {
            Err(_) if self.request.wait => rediscovery.run(self.cluster, &connection).await,
            node => node.map_err(|error| {
                let error = error.explain(target::runtime_class_of(&pod));
                Error::at_node(&name, self.cluster.namespace(), error)
            }),
        };
        let node = match node {
            Err(Error::Node { error: error @ node::Error::TlsOnly { .. }, .. }) => {
                Box::pin(self.over_tls(&pod, &connection, &rediscovery, error)).await
            }
            node => node,
        };
        let node = match node {
            Ok(node) => node,
            Err(error) => return Err(self.unless_replaced(&pod, error).await),
        };
        node::confirm(&connection, &node)
            .map_err(|error| Error::at_node(&name, self.cluster.namespace(), error))?;
        if node.probed {
            let uid = pod.metadata.uid.as_deref().unwrap_or_default();
            known::put(uid, self.request.node.as_deref(), &node);
        }
        self.progress.report("node", format!("{}, port {}", node.name, node.port));
        let cookie = match (self.request.cookie, container) {
            (CookieFrom::Process, Some(container)) => {
                let read = self.cookie_of_process(&name, &container.name, &node.name);
                Some(Box::pin(read).await?)
            }
            _ => cookie,
        };
        Ok(AttachedPod {
            connection,
            controller: target::controller_of(&pod),
            rediscovery,
            pod: name,
            ip: target::ip_in_name(&pod, &node.name),
            uid: pod.metadata.uid.unwrap_or_default(),
            others,
            node,
            cookie,
        })
    }

    /// Discovers a node again that has accepted only TLS.
    async fn over_tls(
        &self,
        pod: &Pod,
        connection: &PortForward,
        rediscovery: &Rediscovery,
        error: node::Error,
    ) -> Result<Node, Error> {
        let (name, namespace) = (target::name_of(pod), self.cluster.namespace());
        // Its certificates may have been read after the first connection to it.
        if connection.tls().is_none() {
            let container = container_of(pod, self.request.container.as_deref())?;
            let source = tls::set(self.cluster, pod, container, &self.tls, error).await;
            self.report_tls(source.map_err(|error| error.at(&name, namespace))?);
        }
        let node = rediscovery.once(connection).await;
        node.map_err(|error| Error::at_node(&name, namespace, error))
    }

    fn report_tls(&self, source: String) {
        self.progress.report("tls", source);
    }

    async fn cookie_of_process(
        &self,
        pod: &str,
        container: &str,
        node: &str,
    ) -> Result<Cookie, Error> {
        let cookie = process::read(self.cluster, pod, container, node, self.request.protocol).await;
        let cookie = cookie.map_err(|error| match error {
            process::Error::Cluster(error) => Error::Cluster(error),
            process::Error::NoCookie(problem) => Error::ExecFailed { pod: pod.into(), problem },
        })?;
        Ok(self.report_cookie(cookie))
    }

    fn report_cookie(&self, cookie: Cookie) -> Cookie {
        self.progress.report("cookie", cookie.source().into());
        cookie
    }

    /// Returns `error`, or the error for a deleted or replaced pod if that is the cause.
    async fn unless_replaced(&self, pod: &Pod, error: Error) -> Error {
        let (name, namespace) = (target::name_of(pod), self.cluster.namespace().into());
        match target::get(self.cluster, &name).await {
            Ok(now) if now.metadata.uid == pod.metadata.uid => {
                if now.metadata.deletion_timestamp.is_none() {
                    return error;
                }
                let phase = "Terminating".into();
                target::Error::NotRunning { pod: name, namespace, phase }.into()
            }
            Ok(_) => target::Error::Replaced { pod: name, namespace }.into(),
            // Not NoSuchPod: a new pod may get the same name soon.
            Err(target::Error::NoSuchPod { pod, namespace }) if self.request.wait => {
                target::Error::NotRunning { pod, namespace, phase: "Deleted".into() }.into()
            }
            Err(gone @ target::Error::NoSuchPod { .. }) => gone.into(),
            Err(_) => error,
        }
    }
}

/// The container that runs the node.
pub(crate) fn container_of<'a>(
    pod: &'a Pod,
    requested: Option<&str>,
) -> Result<&'a Container, Error> {
    container::choose(pod, requested).ok_or_else(|| Error::NoContainer {
        container: requested.unwrap_or_default().into(),
        available: container_names(pod),
    })
}

fn container_names(pod: &Pod) -> Vec<String> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.map(|container| container.name.clone()).collect()
}
