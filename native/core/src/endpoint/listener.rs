//! The local end of the kernel route. Connections of this user's programs to the pod's address are redirected
//! to two ports on the loopback: one stands for the pod's epmd and answers from the names found before, one
//! stands for the node and forwards to the pod.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
};

use super::{
    handshake::cookies::Cookies,
    owner::Owner,
    pump::{Filtering, Guarding, pump},
};
use crate::{
    node::epmd,
    port_forward::{Connector, PortForward},
};

/// Concurrent connections to each of the two ports. Others wait until one of them ends.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send a request to epmd.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The requests of clients of epmd are far shorter.
const MAX_REQUEST: u16 = 512;
/// The first port that every user may open.
const UNPRIVILEGED: u16 = 1024;
/// The pause after a failed accept: the first and the longest.
const BACKOFF: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(1)];

/// What a listener stands for, and how it reaches it.
pub struct Route {
    /// The connection to the pod. The first program uses it, and keeps it open.
    pub connection: PortForward,
    /// Opens a connection for each further program: one that reads slowly must not delay the others.
    /// With `None` they share the first.
    pub connector: Option<Connector>,
    /// The pod's address.
    pub ip: IpAddr,
    /// The node's port, the same at that address and on the pod's loopback.
    pub port: u16,
    /// The names in the pod's epmd.
    pub names: Vec<epmd::Entry>,
    /// Whether programs may be visible nodes. Otherwise all are made hidden.
    pub visible: bool,
    /// What the connections share that do not trust the pod; `None` if the pod is trusted.
    pub guarding: Option<Guarding>,
    /// See [`guard::Connection::new`](super::guard::Connection::new). Only if this VM alone is meant to connect.
    pub printer: Option<&'static str>,
    /// Only if this VM alone is meant to connect.
    pub cookies: Option<Cookies>,
}

/// Two ports on the loopback, for this process's user only. Dropping it closes them and all their
/// connections.
pub struct Listener {
    redirects: Vec<(SocketAddr, u16)>,
    refused: Arc<AtomicU64>,
    tasks: [AbortHandle; 2],
}

impl Listener {
    /// Opens the ports, on `127.0.0.1` or `::1`, the family of the pod's address. Must be called on a runtime.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn new(route: Route) -> io::Result<Self> {
        let owners = [Owner::open()?, Owner::open()?];
        let checks = owners.map(|mut owner| move |connection: &TcpStream| owner.owns(connection));
        Self::with(route, checks)
    }

    /// `checks`: whether a connection to the port is of this user.
    fn with<C>(route: Route, checks: [C; 2]) -> io::Result<Self>
    where
        C: FnMut(&TcpStream) -> bool + Send + 'static,
    {
        let Route { connection, connector, ip, port, names, visible, guarding, printer, cookies } =
            route;
        let ((epmd, epmd_port), (node, node_port)) = (bind(ip)?, bind(ip)?);
        let names: Arc<[epmd::Entry]> = names.into();
        let serve_epmd = move |client| serve_epmd(client, names.clone());
        let upstream = Upstream { connection, connector, first: Arc::new(Semaphore::new(1)), port };
        let filtering =
            move || Filtering::new(guarding.as_ref(), visible, printer, cookies.as_ref());
        let forward = move |client| forward(client, upstream.clone(), filtering());

        let refused = Arc::new(AtomicU64::new(0));
        let [epmd_check, node_check] = checks;
        let tasks = [
            tokio::spawn(serve(epmd, epmd_check, refused.clone(), serve_epmd)).abort_handle(),
            tokio::spawn(serve(node, node_check, refused.clone(), forward)).abort_handle(),
        ];
        let redirects = vec![
            (SocketAddr::new(ip, epmd::PORT), epmd_port),
            (SocketAddr::new(ip, port), node_port),
        ];
        Ok(Self { redirects, refused, tasks })
    }

    /// The needed redirects: an address and port of the pod, and the local port in its place.
    #[must_use]
    pub fn redirects(&self) -> Vec<(SocketAddr, u16)> {
        self.redirects.clone()
    }

    /// The number of connections that were closed because they were not of this user.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Closes the ports and all their connections.
    pub fn close(&self) {
        // The connections belong to these tasks and end with them.
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}

fn bind(pod: IpAddr) -> io::Result<(TcpListener, u16)> {
    let loopback: IpAddr = match pod {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let listener = std::net::TcpListener::bind((loopback, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    if port < UNPRIVILEGED {
        return Err(io::Error::other(format!("the free port {port} is a privileged one")));
    }
    Ok((TcpListener::from_std(listener)?, port))
}

/// Accepts the connections of this user, for ever. The failure of a connection affects no other.
async fn serve<T>(
    listener: TcpListener,
    mut is_ours: impl FnMut(&TcpStream) -> bool,
    refused: Arc<AtomicU64>,
    handle: impl Fn(TcpStream) -> T,
) where
    T: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            client = retry(|| listener.accept()), if connections.len() < MAX_CONNECTIONS => {
                let (client, _) = client;
                if is_ours(&client) {
                    // Small messages must not wait. If this fails, they do.
                    let _ = client.set_nodelay(true);
                    connections.spawn(handle(client));
                } else {
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

/// Retries until success: a process without free descriptors may have some a moment later.
async fn retry<T, F>(mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = io::Result<T>>,
{
    let [mut pause, longest] = BACKOFF;
    loop {
        match attempt().await {
            Ok(result) => return result,
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = longest.min(pause * 2);
    }
}

/// How to connect to the node.
#[derive(Clone)]
struct Upstream {
    connection: PortForward,
    connector: Option<Connector>,
    /// A permit for the program that uses `connection`.
    first: Arc<Semaphore>,
    port: u16,
}

/// The port that stands for the node.
async fn forward(client: TcpStream, upstream: Upstream, filtering: Filtering) {
    let Upstream { connection: shared, connector, first, port } = upstream;
    let first = first.try_acquire();
    let own = match connector {
        Some(connector) if first.is_err() => match connector.connect(port).await {
            Ok(connection) => Some(connection),
            // The program sees its connection closed.
            Err(_) => return,
        },
        _ => None,
    };
    let is_shared = own.is_none();
    let Ok(stream) = own.as_ref().unwrap_or(&shared).open_node(port, Bytes::new()).await else {
        return;
    };
    // The stream keeps the connection open; so would this handle.
    drop(own);
    let (reader, writer) = client.into_split();
    let refused = pump(reader, writer, stream, filtering).await;
    // The program has sent its part of the handshake.
    if refused && is_shared {
        shared.note_refused_data();
    }
}

/// The port that stands for epmd: one request and its answer.
async fn serve_epmd(mut client: TcpStream, names: Arc<[epmd::Entry]>) {
    // A client that disconnects or sends nothing does not matter.
    let _ = tokio::time::timeout(REQUEST_TIMEOUT, answer(&mut client, &names)).await;
}

async fn answer(client: &mut TcpStream, names: &[epmd::Entry]) -> io::Result<()> {
    let length = client.read_u16().await?;
    if length > MAX_REQUEST {
        return Ok(());
    }
    let mut request = vec![0; length.into()];
    client.read_exact(&mut request).await?;
    if let Some(answer) = epmd::answer(&request, names) {
        client.write_all(&answer).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
