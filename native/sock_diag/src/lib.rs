//! Looks up the owner of a TCP socket by the addresses of both ends, through netlink:
//! <https://man7.org/linux/man-pages/man7/sock_diag.7.html>. Works for sockets of all users and
//! takes microseconds. Linux only; the crate is empty on other systems.
#![cfg(target_os = "linux")]

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::{
    socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, sockopt},
    time::TimeVal,
};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// `struct nlmsghdr`
const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const TCP_ESTABLISHED: u8 = 1;
const TCP_LISTEN: u8 = 10;
/// `INET_DIAG_NOCOOKIE`: matches any socket with these addresses.
const NO_COOKIE: [u8; 8] = [0xff; 8];
/// The kernel answers immediately. The timeout prevents waiting for ever.
const TIMEOUT: TimeVal = TimeVal::new(2, 0);

/// A TCP socket in this network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpSocket {
    /// The owner.
    pub uid: u32,
    /// The local address.
    pub local: SocketAddr,
    /// The remote address; meaningless for a listener.
    pub remote: SocketAddr,
    /// Unique for each socket until reboot (`SO_COOKIE`).
    pub cookie: u64,
    state: u8,
    queue: [u32; 2],
}

impl TcpSocket {
    /// Whether the accept queue of a listener is full. The kernel then drops a SYN.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue[0] > self.queue[1]
    }

    /// Whether the connection is established. Otherwise `uid` is meaningless: it is 0 for a closed
    /// socket.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.state == TCP_ESTABLISHED
    }

    /// Whether it is a listener.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.state == TCP_LISTEN
    }
}

/// A netlink socket for lookups.
pub struct SockDiag {
    descriptor: OwnedFd,
    sequence: u32,
}

impl SockDiag {
    /// Opens the netlink socket. Requires no privilege.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Self> {
        let descriptor = socket::socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkSockDiag,
        )?;
        socket::setsockopt(&descriptor, sockopt::ReceiveTimeout, &TIMEOUT)?;
        Ok(Self { descriptor, sequence: 0 })
    }

    /// Looks up the socket with these addresses. If there is none, the kernel may return the
    /// listener on `local`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn connection(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> io::Result<Option<TcpSocket>> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(self.sequence, local, remote);
        socket::send(self.descriptor.as_raw_fd(), &request, MsgFlags::empty())?;
        let mut buffer = [0; 4096];
        loop {
            let length = socket::recv(self.descriptor.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let datagram = buffer.get(..length).unwrap_or_default();
            // Skips the answer to a request that has timed out.
            if u32_at(datagram, 8) == Some(self.sequence) {
                return read_answer(datagram);
            }
        }
    }

    /// Looks up the listener on exactly this address.
    ///
    /// # Errors
    /// The kernel's.
    pub fn listener(&mut self, local: SocketAddr) -> io::Result<Option<TcpSocket>> {
        let any: IpAddr = match local {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let found = self.connection(local, SocketAddr::new(any, 0))?;
        Ok(found.filter(|socket| socket.is_listening() && socket.local == local))
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`
fn request(sequence: u32, local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut body = vec![family, IPPROTO_TCP, 0, 0];
    body.extend_from_slice(&u32::MAX.to_ne_bytes()); // every state
    body.extend_from_slice(&local.port().to_be_bytes());
    body.extend_from_slice(&remote.port().to_be_bytes());
    for address in [local.ip(), remote.ip()] {
        match address {
            IpAddr::V4(address) => {
                body.extend_from_slice(&address.octets());
                body.extend_from_slice(&[0; 12]);
            }
            IpAddr::V6(address) => body.extend_from_slice(&address.octets()),
        }
    }
    body.extend_from_slice(&[0; 4]); // every interface
    body.extend_from_slice(&NO_COOKIE);

    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    message.extend_from_slice(&sequence.to_ne_bytes());
    message.extend_from_slice(&[0; 4]); // to the kernel
    message.extend_from_slice(&body);
    message
}

/// Parses an answer. All lengths are checked.
///
/// # Errors
/// The error from the kernel, or `InvalidData`.
pub fn read_answer(datagram: &[u8]) -> io::Result<Option<TcpSocket>> {
    let body = datagram.get(HEADER..).unwrap_or_default();
    match u16_at(datagram, 4) {
        Some(SOCK_DIAG_BY_FAMILY) => {
            read_socket(body).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
        }
        Some(NLMSG_ERROR) => {
            let number = u32_at(body, 0).map_or(0, u32::cast_signed);
            let error = io::Error::from_raw_os_error(number.saturating_neg());
            if error.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(error) }
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// `struct inet_diag_msg`
fn read_socket(body: &[u8]) -> Option<TcpSocket> {
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
        uid: u32_at(body, 64)?,
        local: SocketAddr::new(address(8)?, port(4)?),
        remote: SocketAddr::new(address(24)?, port(6)?),
        // For a listener: `sk_ack_backlog` and `sk_max_ack_backlog`.
        queue: [u32_at(body, 56)?, u32_at(body, 60)?],
        cookie: u64::from(u32_at(body, 44)?) | u64::from(u32_at(body, 48)?) << 32,
        state,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
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
            drop(client);
            let closed = diag.connection(local, remote).unwrap();
            assert!(closed.is_none_or(|socket| !socket.is_established()));
        }
    }

    #[test]
    fn a_listener_is_found_on_its_own_address_only() {
        let mut diag = SockDiag::open().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let found = diag.listener(local).unwrap().unwrap();
        assert_eq!(found.uid, own_uid());
        // Without such a connection, the kernel returns the listener.
        let stranger = "127.0.0.1:1".parse().unwrap();
        assert!(!diag.connection(local, stranger).unwrap().unwrap().is_established());
        // A listener on all addresses does not count as a listener on this address.
        let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = everywhere.local_addr().unwrap().port();
        assert_eq!(diag.listener(SocketAddr::new(local.ip(), port)).unwrap(), None);
        drop(listener);
        assert_eq!(diag.listener(local).unwrap(), None);
        // A new socket on the same address has another cookie.
        let successor = TcpListener::bind(local).unwrap();
        assert_ne!(diag.listener(local).unwrap().unwrap().cookie, found.cookie);
        drop(successor);
    }

    #[test]
    fn an_ipv4_connection_to_an_ipv6_listener_is_found() {
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
        drop(client);
    }

    #[test]
    fn a_truncated_answer_is_an_error() {
        let mut answer = vec![0; HEADER + 72];
        answer[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        answer[HEADER] = AF_INET;
        assert!(read_answer(&answer).is_ok());
        for length in 0..HEADER + 68 {
            assert!(read_answer(&answer[..length]).is_err(), "{length}");
        }
    }
}
