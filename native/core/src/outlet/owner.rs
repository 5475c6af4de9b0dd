//! Whose an accepted connection is. A port on the loopback is open to every user of the machine;
//! what is behind ours is for this process's user alone.

use std::io;

use k8s_connect_sock_diag::{SockDiag, TcpSocket};
use nix::unistd::geteuid;
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

    /// The client's end is a socket of this machine, found by its own two addresses.
    fn uid_of(&mut self, connection: &TcpStream) -> io::Result<Option<u32>> {
        let socket = self.kernel.connection(connection.peer_addr()?, connection.local_addr()?)?;
        // The kernel may also answer with a listener or a closed socket, whose uid means nothing here.
        Ok(socket.filter(TcpSocket::is_established).map(|socket| socket.uid))
    }
}

#[cfg(test)]
pub(super) mod tests;
