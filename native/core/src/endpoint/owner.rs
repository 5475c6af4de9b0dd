//! Checks the user of an accepted connection. Every user of the machine can connect to a port on the loopback;
//! ours are only for the user of this process.

use std::io;

use k8s_connect_sock_diag::{SockDiag, TcpSocket};
use nix::unistd::geteuid;
use tokio::net::TcpStream;

/// Recognizes the connections of this process's user.
pub struct Owner {
    kernel: SockDiag,
    uid: u32,
}

impl Owner {
    /// Opens a socket for queries to the kernel.
    ///
    /// # Errors
    /// The error of the kernel.
    pub fn open() -> io::Result<Self> {
        Ok(Self { kernel: SockDiag::open()?, uid: geteuid().as_raw() })
    }

    /// Whether this user has made the connection, and it is still open. `false` in doubt.
    pub fn owns(&mut self, connection: &TcpStream) -> bool {
        self.uid_of(connection).is_ok_and(|uid| uid == Some(self.uid))
    }

    /// The client's end is a socket of this machine, found by its two addresses.
    fn uid_of(&mut self, connection: &TcpStream) -> io::Result<Option<u32>> {
        let socket = self.kernel.connection(connection.peer_addr()?, connection.local_addr()?)?;
        // The kernel may also return a listener or a closed socket, whose uid has no meaning here.
        Ok(socket.filter(TcpSocket::is_established).map(|socket| socket.uid))
    }
}

#[cfg(test)]
pub(super) mod tests;
