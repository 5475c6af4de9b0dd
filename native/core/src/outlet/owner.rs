//! Whose an accepted connection is. A port on the loopback is open to every user of the machine;
//! what is behind ours is for this process's user alone.

use std::{io, net::SocketAddr};

use k8s_connect_netlink::sock_diag::{SockDiag, TcpSocket};
use nix::{
    sys::socket::{SockaddrIn, SockaddrIn6, getsockopt, sockopt},
    unistd::geteuid,
};
use tokio::net::TcpStream;

/// Knows the connections of this process's user.
pub struct Owner {
    kernel: SockDiag,
    uid: u32,
}

impl Owner {
    /// Opens a way to ask the kernel.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open() -> io::Result<Self> {
        Ok(Self { kernel: SockDiag::open()?, uid: geteuid().as_raw() })
    }

    /// Whether this user has made the connection, and has it still. A doubt is a no.
    pub fn owns(&mut self, connection: &TcpStream) -> bool {
        self.uid_of(connection).is_ok_and(|uid| uid == Some(self.uid))
    }

    /// The client's end is a socket of this machine, and is asked for by its own two addresses. It
    /// knows nothing of a redirect, so it is connected to where it wanted to; that first.
    fn uid_of(&mut self, connection: &TcpStream) -> io::Result<Option<u32>> {
        let (client, here) = (connection.peer_addr()?, connection.local_addr()?);
        let wanted = original_destination(connection, here).filter(|wanted| *wanted != here);
        for destination in wanted.into_iter().chain([here]) {
            let socket = self.kernel.connection(client, destination)?;
            // The kernel also tells of one that listens there, or is closed: with a uid that means
            // something else.
            if let Some(socket) = socket.filter(TcpSocket::is_established) {
                return Ok(Some(socket.uid));
            }
        }
        Ok(None)
    }
}

/// Where the client wanted to; `None` where the kernel does not keep track of connections.
fn original_destination(connection: &TcpStream, here: SocketAddr) -> Option<SocketAddr> {
    match here {
        SocketAddr::V4(_) => {
            let raw = getsockopt(connection, sockopt::OriginalDst).ok()?;
            let wanted = SockaddrIn::from(raw);
            Some(SocketAddr::new(wanted.ip().into(), wanted.port()))
        }
        SocketAddr::V6(_) => {
            let raw = getsockopt(connection, sockopt::Ip6tOriginalDst).ok()?;
            let wanted = SockaddrIn6::from(raw);
            Some(SocketAddr::new(wanted.ip().into(), wanted.port()))
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
