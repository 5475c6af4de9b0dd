//! The listeners of the redirects. When a listener is closed, another program may listen on its port.
//! A connection is made only to the listener that was there at the start.

use std::{io, net::SocketAddr};

use k8s_connect_sock_diag::{SockDiag, TcpSocket};

use nix::unistd::geteuid;

use crate::redirect::Redirect;

pub struct Endpoints {
    diag: SockDiag,
    all: Vec<(Redirect, TcpSocket)>,
    /// The library is gone, or the command has been asked to end.
    closed: bool,
}

impl Endpoints {
    /// Fails where a redirect has no listener.
    pub fn new(redirects: &[Redirect]) -> io::Result<Self> {
        let mut diag = SockDiag::open()?;
        let mut find = |redirect: &Redirect| {
            let address = redirect.endpoint();
            let listener = diag.listener(address)?.ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, format!("no listener on {address}"))
            });
            let listener = listener?;
            if listener.uid != geteuid().as_raw() {
                let problem = format!("another user listens on {address}");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
            }
            Ok((*redirect, listener))
        };
        let all = redirects.iter().map(&mut find).collect::<io::Result<_>>()?;
        Ok(Self { diag, all, closed: false })
    }

    /// Where a connection to `address` is made instead.
    pub fn destination(&self, address: SocketAddr) -> Option<SocketAddr> {
        self.all.iter().find_map(|(redirect, _listener)| redirect.destination(address))
    }

    /// Whether the listener on `destination` is the one from the start.
    pub fn accepts(&mut self, destination: SocketAddr) -> bool {
        let address = SocketAddr::new(destination.ip().to_canonical(), destination.port());
        let first = self.all.iter().find(|(redirect, _listener)| redirect.endpoint() == address);
        let Some((_redirect, first)) = first.filter(|_found| !self.closed) else { return false };
        let current = self.diag.listener(address).ok().flatten();
        let same = |current: &TcpSocket| (current.uid, current.cookie) == (first.uid, first.cookie);
        // A SYN that a full queue drops is repeated later, to whoever listens then.
        current.is_some_and(|current| same(&current) && !current.is_full())
    }

    /// From now on no destination accepts a connection.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Takes this one out.
    pub fn remove(&mut self, redirect: Redirect) {
        self.all.retain(|(other, _listener)| *other != redirect);
    }
}
