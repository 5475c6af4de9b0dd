//! Listeners as resources of the BEAM. A listener closes with its owner process.

use std::sync::{Mutex, PoisonError};

use k8s_connect_core::{
    Error,
    endpoint::{
        handshake::cookies::Cookies,
        listener::{Listener, Route},
    },
};
use rustler::{
    Atom, Binary, Env, LocalPid, Monitor, NifMap, NifResult, Reference, Resource, ResourceArc,
    types::atom,
};

use crate::{
    guard::Guard,
    pod_connection::{PRINTER, PodConnection},
    reply,
};

/// `None` after closing.
struct ListenerResource(Mutex<Option<Listener>>);

#[rustler::resource_impl]
impl Resource for ListenerResource {
    const IMPLEMENTS_DOWN: bool = true;

    fn down<'a>(&'a self, _env: Env<'a>, _owner: LocalPid, _monitor: Monitor) {
        self.close();
    }
}

impl ListenerResource {
    fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// A listener, and the redirects to it: an address and port, and a port on the loopback.
#[derive(NifMap)]
struct Listening {
    listener: ResourceArc<ListenerResource>,
    redirects: Vec<(String, u16)>,
}

/// `{reference, {:ok, %{listener: _, redirects: _}}}`: two ports on the loopback that stand for the pod's epmd
/// and node. They close with the process `owner`. Without a guard the pod is trusted. `cookies`: that of the node, and that
/// which this VM has for it, if only this VM is meant to connect to them.
#[rustler::nif]
fn listen(
    env: Env,
    reference: Reference,
    pod_connection: ResourceArc<PodConnection>,
    owner: LocalPid,
    guard: Option<ResourceArc<Guard>>,
    visible: bool,
    cookies: Option<(Binary, String)>,
) -> NifResult<Atom> {
    let printer = cookies.is_some().then_some(PRINTER);
    let cookies = cookies.map(|(node, local)| Cookies::new(&node, &local));
    let work = async move { open(&pod_connection, owner, guard, visible, printer, cookies).await };
    reply::spawn(env, reference, work)
}

/// Closes the ports and all their connections.
#[rustler::nif]
fn unlisten(listener: ResourceArc<ListenerResource>) -> Atom {
    listener.close();
    atom::ok()
}

/// How many connections of other users were refused.
#[rustler::nif]
fn refused(listener: ResourceArc<ListenerResource>) -> u64 {
    let listener = listener.0.lock().unwrap_or_else(PoisonError::into_inner);
    listener.as_ref().map_or(0, Listener::refused)
}

async fn open(
    pod_connection: &PodConnection,
    owner: LocalPid,
    guard: Option<ResourceArc<Guard>>,
    visible: bool,
    printer: Option<&'static str>,
    cookies: Option<Cookies>,
) -> Result<Listening, Error> {
    let no_listener = |problem: String| {
        let address =
            if pod_connection.ip.is_some_and(|ip| ip.is_ipv6()) { "::1" } else { "127.0.0.1" };
        Error::NoListener { address, problem }
    };
    let ip = pod_connection.ip.ok_or_else(|| no_listener("the pod has no address".into()))?;
    let node = pod_connection.node();
    let route = Route {
        connection: pod_connection.connection.clone(),
        connector: pod_connection.connector(),
        ip,
        port: node.port,
        names: node.names,
        visible,
        guarding: guard.map(|guard| guard.guarding(pod_connection.subject())),
        printer,
        cookies,
    };
    let listener = Listener::new(route).map_err(|error| no_listener(error.to_string()))?;
    let redirects = listener.redirects();
    // The redirects apply to our connections to the API server, too.
    if let Some(cluster) = pod_connection.cluster() {
        let servers = cluster.addresses().await;
        if let Some((address, _)) = redirects.iter().find(|(to, _)| servers.contains(to)) {
            return Err(Error::TargetIsServer { address: *address });
        }
    }
    let listener = ResourceArc::new(ListenerResource(Mutex::new(Some(listener))));
    if listener.monitor(None, &owner).is_none() {
        listener.close(); // the owner has exited
    }
    let redirects = redirects.into_iter().map(|(to, via)| (to.to_string(), via)).collect();
    Ok(Listening { listener, redirects })
}
