//! The near end of a route that a kernel rule makes: what this user's programs connect to at the
//! pod's address arrives at two ports of the loopback, one in place of the pod's epmd and one in
//! place of the node. The epmd answers with what is known already; the node is at the other end of
//! the link.

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

use super::{hidden::Filters, owner::Owner, pump::pump};
use crate::{
    link::{Link, Links},
    node::epmd,
};

/// Connections at once, at each of the two ports. Others wait until one of them ends.
const CONNECTIONS: usize = 64;
/// How long a client may take to ask the epmd.
const PATIENCE: Duration = Duration::from_secs(5);
/// epmd's own requests are far shorter; this one is none.
const MAX_REQUEST: u16 = 512;
/// Ports from here on are free to every user, and so is what we choose.
const UNPRIVILEGED: u16 = 1024;
/// What is waited after a failed accept, at first and at most.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(1)];

/// What a listener stands for.
pub struct Route {
    /// The link to the pod. The first program has it, and it stays open as long as that has it.
    pub link: Link,
    /// Makes a link for each program beside the first: one that reads slowly must not hold up the others.
    /// `None` has them share the first.
    pub links: Option<Links>,
    /// The pod's address.
    pub ip: IpAddr,
    /// The node's port, at that address as on the pod's loopback.
    pub port: u16,
    /// What the epmd in the pod knows.
    pub names: Vec<epmd::Entry>,
    /// Whether programs may be visible nodes; otherwise all are made hidden ones.
    pub visible: bool,
}

/// Two ports of the loopback, for this process's user only. Dropping it ends everything that goes
/// over it.
pub struct Listener {
    redirects: Vec<(SocketAddr, u16)>,
    refused: Arc<AtomicU64>,
    tasks: [AbortHandle; 2],
}

impl Listener {
    /// Opens the ports, on `127.0.0.1` or `::1` as the pod's address is. Must be called on a
    /// runtime.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn new(route: Route) -> io::Result<Self> {
        let owners = [Owner::open()?, Owner::open()?];
        let checks = owners.map(|mut owner| move |connection: &TcpStream| owner.owns(connection));
        Self::with(route, checks)
    }

    /// `checks` say of a connection whether it is ours, one at each port.
    fn with<C>(route: Route, checks: [C; 2]) -> io::Result<Self>
    where
        C: FnMut(&TcpStream) -> bool + Send + 'static,
    {
        let Route { link, links, ip, port, names, visible } = route;
        let ((epmd, epmd_port), (node, node_port)) = (bind(ip)?, bind(ip)?);
        let names: Arc<[epmd::Entry]> = names.into();
        let tell = move |client| tell(client, names.clone());
        let shared = Arc::new(Semaphore::new(1));
        let carry =
            move |client| carry(client, link.clone(), links.clone(), shared.clone(), port, visible);

        let refused = Arc::new(AtomicU64::new(0));
        let [epmd_check, node_check] = checks;
        let tasks = [
            tokio::spawn(serve(epmd, epmd_check, refused.clone(), tell)).abort_handle(),
            tokio::spawn(serve(node, node_check, refused.clone(), carry)).abort_handle(),
        ];
        let redirects = vec![
            (SocketAddr::new(ip, epmd::PORT), epmd_port),
            (SocketAddr::new(ip, port), node_port),
        ];
        Ok(Self { redirects, refused, tasks })
    }

    /// What has to be led here: an address and port of the pod, and ours on the loopback.
    #[must_use]
    pub fn redirects(&self) -> Vec<(SocketAddr, u16)> {
        self.redirects.clone()
    }

    /// How many connections were closed at once, as they were not this user's.
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

/// Accepts what is ours, for ever. A connection's failure is its own.
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
            client = insist(|| listener.accept()), if connections.len() < CONNECTIONS => {
                let (client, _) = client;
                if is_ours(&client) {
                    // Small messages must not wait; where that fails they only do.
                    let _ = client.set_nodelay(true);
                    connections.spawn(handle(client));
                } else {
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

/// Tries until it succeeds: a process that has no descriptors left may have some in a moment.
async fn insist<T, F>(mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = io::Result<T>>,
{
    let [mut pause, longest] = BACK_OFF;
    loop {
        match attempt().await {
            Ok(result) => return result,
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = longest.min(pause * 2);
    }
}

/// The node's side.
async fn carry(
    client: TcpStream,
    link: Link,
    links: Option<Links>,
    shared: Arc<Semaphore>,
    port: u16,
    visible: bool,
) {
    let first = shared.try_acquire();
    let link = match links {
        Some(links) if first.is_err() => match links.link(port).await {
            Ok(link) => link,
            // The program sees its connection closed.
            Err(_) => return,
        },
        _ => link,
    };
    let Ok(stream) = link.open(port, Bytes::new()).await else { return };
    // The stream keeps the link; this handle would too.
    drop(link);
    let filters = if visible { Filters::none() } else { Filters::hidden() };
    let (reader, writer) = client.into_split();
    pump(reader, writer, stream, filters).await;
}

/// The epmd's side: one request and its answer.
async fn tell(mut client: TcpStream, names: Arc<[epmd::Entry]>) {
    // A client that breaks off, or says nothing, is of no interest.
    let _ = tokio::time::timeout(PATIENCE, answer(&mut client, &names)).await;
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
