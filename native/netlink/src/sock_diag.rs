//! Whose a TCP connection is. The kernel answers that for every user and in microseconds, by the
//! exact addresses of both ends: <https://man7.org/linux/man-pages/man7/sock_diag.7.html>.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::{
    AF_INET, AF_INET6, Family, Messages, Socket, family_and_bytes,
    message::{self, DUMP, Reply},
};

/// The older request, which is about all families at once: the kernel walks its whole table of
/// connections for each list, and that is what a list costs.
const TCPDIAG_GETSOCK: u16 = 18;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const TCP: u8 = 6;
const ESTABLISHED: u8 = 1;
const TIME_WAIT: u8 = 6;
const CLOSE: u8 = 7;
const LISTEN: u8 = 10;
/// Any socket at these addresses will do.
const NO_COOKIE: [u8; 8] = [0xff; 8];

/// A TCP socket of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpSocket {
    /// Who made it.
    pub uid: u32,
    /// Its own address.
    pub local: SocketAddr,
    /// The other end's; without meaning for one that listens.
    pub remote: SocketAddr,
    state: u8,
    family: u8,
    cookie: [u8; 8],
}

impl TcpSocket {
    /// Whether both ends have agreed on the connection and none has closed it. Only then does
    /// `uid` say anything: what is closed says 0.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.state == ESTABLISHED
    }

    /// Whether it waits for connections.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.state == LISTEN
    }
}

/// Asks the kernel about sockets.
pub struct SockDiag {
    socket: Socket,
}

impl SockDiag {
    /// Opens a way to ask; needs no privilege.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(Family::SockDiag)? })
    }

    /// The socket with these two ends. Where there is none, the kernel may answer with the one that
    /// listens on `local`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn connection(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> io::Result<Option<TcpSocket>> {
        let (family, _) = family_and_bytes(local.ip());
        let sequence = self.socket.next_sequence();
        let mut request = Messages::default();
        request.begin(SOCK_DIAG_BY_FAMILY, 0, sequence);
        request.body(&query(family, u32::MAX, local, remote, NO_COOKIE)).end();
        match self.socket.ask(&request, read) {
            Ok(socket) => Ok(Some(socket)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The socket that listens on exactly `local`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn listener(&mut self, local: SocketAddr) -> io::Result<Option<TcpSocket>> {
        let anywhere = SocketAddr::new(unspecified(local.ip()), 0);
        let found = self.connection(local, anywhere)?;
        Ok(found.filter(|socket| socket.is_listening() && socket.local == local))
    }

    /// All connections that are open, or on their way to it or from it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn connections(&mut self) -> io::Result<Vec<TcpSocket>> {
        let states: u32 = !(1 << LISTEN | 1 << TIME_WAIT | 1 << CLOSE);
        // `struct inet_diag_req`: a family, which is not looked at, any ends, and the states.
        let mut body = vec![0; 4 + 48 + 4 + 4];
        body[0] = AF_INET;
        body[52..56].copy_from_slice(&states.to_ne_bytes());
        let sequence = self.socket.next_sequence();
        let mut request = Messages::default();
        request.begin(TCPDIAG_GETSOCK, DUMP, sequence).body(&body).end();
        let mut found = Vec::new();
        self.socket.dump(&request, |reply| found.extend(read(reply)))?;
        Ok(found)
    }

    /// Whether this kernel can end connections for us (`CONFIG_INET_DIAG_DESTROY`, and
    /// `CAP_NET_ADMIN`): it is asked to end one that there cannot be.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn check_destroy(&mut self) -> io::Result<()> {
        let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let (state, family, cookie) = (ESTABLISHED, AF_INET, NO_COOKIE);
        self.destroy(&TcpSocket { uid: 0, local: nowhere, remote: nowhere, state, family, cookie })
    }

    /// Ends a connection of this machine: its owner sees it aborted, the other end sees it reset.
    /// Needs `CAP_NET_ADMIN`. That it has ended already is no error.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn destroy(&mut self, socket: &TcpSocket) -> io::Result<()> {
        let sequence = self.socket.next_sequence();
        let (local, remote) =
            (as_family(socket.local, socket.family), as_family(socket.remote, socket.family));
        let mut request = Messages::default();
        request.begin(SOCK_DESTROY, message::ACK, sequence);
        request.body(&query(socket.family, u32::MAX, local, remote, socket.cookie)).end();
        match self.socket.transact(&request, sequence, sequence) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// `struct inet_diag_req_v2`
fn query(
    family: u8,
    states: u32,
    local: SocketAddr,
    remote: SocketAddr,
    cookie: [u8; 8],
) -> Vec<u8> {
    let mut out = vec![family, TCP, 0, 0];
    out.extend_from_slice(&states.to_ne_bytes());
    out.extend_from_slice(&local.port().to_be_bytes());
    out.extend_from_slice(&remote.port().to_be_bytes());
    for address in [local.ip(), remote.ip()] {
        let (_, mut bytes) = family_and_bytes(address);
        bytes.resize(16, 0);
        out.extend_from_slice(&bytes);
    }
    out.extend_from_slice(&[0; 4]); // any device
    out.extend_from_slice(&cookie);
    out
}

/// `struct inet_diag_msg`
fn read(reply: &Reply) -> Option<TcpSocket> {
    if !matches!(reply.kind, SOCK_DIAG_BY_FAMILY | TCPDIAG_GETSOCK) {
        return None;
    }
    let body = reply.body;
    let (family, state) = (*body.first()?, *body.get(1)?);
    let port = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let address = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = body.get(at..at + 16)?.try_into().ok()?;
        match family {
            AF_INET => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
            AF_INET6 => Some(IpAddr::from(Ipv6Addr::from(bytes)).to_canonical()),
            _ => None,
        }
    };
    Some(TcpSocket {
        uid: message::u32_at(body, 64)?,
        local: SocketAddr::new(address(8)?, port(4)?),
        remote: SocketAddr::new(address(24)?, port(6)?),
        state,
        family,
        cookie: body.get(44..52)?.try_into().ok()?,
    })
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// A connection over IPv4 can be a socket's of the family IPv6.
fn as_family(address: SocketAddr, family: u8) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if family == AF_INET6 => {
            SocketAddr::new(ip.to_ipv6_mapped().into(), address.port())
        }
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn own_uid() -> u32 {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata("/proc/self").unwrap().uid()
    }

    #[test]
    fn a_connection_is_found_by_its_ends_and_has_an_owner() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (local, remote) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
            let mut diag = SockDiag::open().unwrap();
            let found = diag.connection(local, remote).unwrap().unwrap();
            assert_eq!((found.local, found.remote), (local, remote));
            assert!(found.is_established());
            assert_eq!(found.uid, own_uid());
            assert!(diag.connections().unwrap().contains(&found));
            drop(client);
            // Closed, it does not count any more.
            let closed = diag.connection(local, remote).unwrap();
            assert!(closed.is_none_or(|socket| !socket.is_established()));
        }
    }

    #[test]
    fn a_listener_is_found_where_it_listens_and_nowhere_else() {
        let mut diag = SockDiag::open().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        assert_eq!(diag.listener(local).unwrap().unwrap().uid, own_uid());
        // An answer of the kernel's for an unknown connection, and not one of a connection.
        let stranger = "127.0.0.1:1".parse().unwrap();
        assert!(!diag.connection(local, stranger).unwrap().unwrap().is_established());
        // One that listens everywhere does not listen there.
        let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = everywhere.local_addr().unwrap().port();
        assert_eq!(diag.listener(SocketAddr::new(local.ip(), port)).unwrap(), None);
        drop(listener);
        assert_eq!(diag.listener(local).unwrap(), None);
    }

    #[test]
    fn an_ipv4_connection_of_an_ipv6_socket_is_found() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let canonical =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (local, remote) =
            (canonical(accepted.local_addr().unwrap()), canonical(accepted.peer_addr().unwrap()));
        let mut diag = SockDiag::open().unwrap();
        assert!(diag.connection(local, remote).unwrap().unwrap().is_established());
        let all = diag.connections().unwrap();
        assert!(all.iter().any(|socket| socket.local == local && socket.remote == remote));
        drop(client);
    }

    #[test]
    fn ending_a_connection_needs_a_privilege() {
        if own_uid() == 0 {
            return; // it would be allowed; the helper's tests show that
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut diag = SockDiag::open().unwrap();
        let found = diag
            .connection(client.local_addr().unwrap(), client.peer_addr().unwrap())
            .unwrap()
            .unwrap();
        let error = diag.destroy(&found).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
