//! The listeners of the redirects. After a listener has closed, another program can listen on its
//! port, so a connection is only redirected to the original listener.

use std::{io, net::SocketAddr};

use k8s_connect_sock_diag::{SockDiag, TcpSocket};

use nix::unistd::geteuid;

use crate::redirect::Redirect;

pub struct Endpoints {
    diag: SockDiag,
    all: Vec<(Redirect, TcpSocket)>,
    /// The library has closed the connection, or the command was asked to end.
    closed: bool,
}

impl Endpoints {
    /// Fails if a redirect has no listener, or a listener of another user.
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

    /// The address to which a connection to `address` is redirected.
    pub fn destination(&self, address: SocketAddr) -> Option<SocketAddr> {
        self.all.iter().find_map(|(redirect, _listener)| redirect.destination(address))
    }

    /// Whether the original listener still listens on `destination`.
    pub fn accepts(&mut self, destination: SocketAddr) -> bool {
        let address = SocketAddr::new(destination.ip().to_canonical(), destination.port());
        let first = self.all.iter().find(|(redirect, _listener)| redirect.endpoint() == address);
        let Some((_redirect, first)) = first.filter(|_found| !self.closed) else { return false };
        let current = self.diag.listener(address).ok().flatten();
        let same = |current: &TcpSocket| (current.uid, current.cookie) == (first.uid, first.cookie);
        // A full queue drops the SYN. Its retransmission could reach another listener.
        current.is_some_and(|current| same(&current) && !current.is_full())
    }

    /// Accepts no connections from now on.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Removes a redirect.
    pub fn remove(&mut self, redirect: Redirect) {
        self.all.retain(|(other, _listener)| *other != redirect);
    }
}
